// SPDX-License-Identifier: Apache-2.0

// Package gatewaytest tries on every route of a door what must not work.
//
// A door's test brings a [Suite]: its kind, an endpoint, a policy that permits its
// requests, how its protocol gives each failure, and one valid request per route.
// [Run] serves it with a real key server behind a real TLS port and derives the
// rest:
//
//   - what is valid works and leaves its leaf; what no policy permits is denied,
//     and that is audited; a stranger is told so; a disabled key, a
//     revoked subject, a key that the endpoint may not touch, an endpoint that
//     is disabled, removed or beyond its rate, a sealed server and an audit log that
//     can't be written each have the protocol's own error, and nothing is answered;
//   - bodies: too large, cut, not JSON, nested 10,000 deep, with a member twice, of
//     another type or charset, slow, with another content type; other methods and
//     paths. Memory stays bounded;
//   - canaries of [Rig.Canary], and whatever [Rig.Hide] was told, stand in no log
//     line, metric or error.
//
// A route without a case fails. Doors that speak something else than HTTP, or tests
// that want the bad bodies alone, use [BadJSON] and set [Suite.Call].
//
// [FuzzBodies] hands any body to every route.
package gatewaytest
