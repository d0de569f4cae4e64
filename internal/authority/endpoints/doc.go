// SPDX-License-Identifier: Apache-2.0

// Package endpoints holds what the authority log says of endpoints: the doors
// through which foreign services (AWS KMS, Google Workspace, Microsoft 365, …)
// reach keys. It is the part of package authority that decodes, bounds and folds
// the endpoint.* kinds.
//
// # Which function for which need
//
//   - An admin's program makes a record and asks [Endpoint.Check] (its shape, as
//     the fold asks) and [Endpoint.Vet] (what only parsers can tell) before
//     anybody signs it.
//   - A server asks the state by name ([Registry.Get]) or by the host of a
//     connection ([Registry.At]), for each request: what is removed or disabled is
//     so from the next request on.
//   - The sweeper of credentials asks [Registry.Materials] what is still in use.
//
// # What it deliberately does not do
//
// It knows no protocol: which kinds there are and which options one takes is for
// internal/gateway. A kind that no door serves answers nothing. It holds no
// secret: a credential is named by the hash of what lies in a slot.
//
// # Threats
//
// One admin may make an endpoint under a name that never was, and may switch one
// off; everything else takes the quorum, because whoever changes a credential or
// an issuer speaks with the rights that policy gave to the endpoint's name. So
// a name is taken for ever: a new endpoint must not inherit what an old one was
// permitted. The checks of the fold read bytes only, with no parser of the
// standard library behind them: servers of different builds must agree on what
// is void.
package endpoints
