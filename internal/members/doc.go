// SPDX-License-Identifier: Apache-2.0

// Package members folds the member chain of a trust domain: the genesis and
// every signed change of who may sign and who may serve. Servers fold it as part
// of the authority log, clients from the copy that descriptors staple, both with
// this code, so that they can't disagree on it.
//
// The chain is a list of signed bodies (wire.Body inside COSE_Sign). Each names
// the hash of the one before in Replaces, and the hash of the genesis body is
// the domain id that every party pins. [Verify] takes a whole chain and a pin;
// [State.Apply] takes one further link. Both check signatures and thresholds
// against the state before the change: nothing of a link counts until then.
//
// What is not checked here, because a client can't: that a body was recorded in
// time, and that its base lies on the log. Servers do that (package authority)
// before a link enters the chain.
//
// Threats: a forged or cut chain is refused ([ErrChain]); a chain that is merely
// old is well formed, so callers keep the newest they accepted and ask
// [State.Contains] of every other (threat T-33 in docs/threat-model.md).
package members
