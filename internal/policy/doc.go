// SPDX-License-Identifier: Apache-2.0

// Package policy decides who may do what with which key: Cedar policies over a
// closed schema (design section 9).
//
// Which function for which need:
//
//   - [Parse] turns a source into a [Set], or says with policy and line what is
//     wrong with it. Do it before people are asked to sign the source.
//   - [Set.Decide] answers a [Request]. Build its principal with [Workload],
//     [Admin], [Endpoint] or [Subject] and add proved claims with
//     [Principal.Prove].
//   - [Set.Explain] says why, [Set.WhoCan] for whom, [LocksOut] what a change would
//     take away.
//   - [Allow] writes the permit of `claviger policy allow`; [Diff] shows a change
//     to those who have to sign it.
//   - [Schema] is the vocabulary; docs/policy.md explains it with examples.
//
// What makes it refuse, beyond what Cedar does by itself:
//
//   - An evaluation error anywhere is a refusal and an alarm. Cedar skips a policy
//     that fails, which would turn a broken forbid into none.
//   - A claim that wasn't proved is absent. Empty strings and sets are errors,
//     because an empty set contains only accepted values.
//   - A word the schema doesn't know is refused when the source is parsed, also
//     where Cedar takes it for a claim that happens to be absent.
//   - A request that doesn't fit the schema (wrong type, unknown claim, two claims
//     that disagree) is refused before any policy is looked at.
//
// The package holds no state, reads no clock and knows no trust domain. It does
// not verify claims (internal/attest, internal/authn), doesn't check who may
// change a set (internal/authority) and records nothing (internal/audit). It is
// the only one that imports cedar-go's x/exp.
//
// Threats: whoever can change the set can open every key, so the set is signed by
// a quorum; whoever issues names or claims decides what the set is applied to.
// context.reason is the caller's own text and proves nothing. A policy that
// matches on names alone is as good as the CA.
package policy
