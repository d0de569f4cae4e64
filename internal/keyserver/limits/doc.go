// SPDX-License-Identifier: Apache-2.0

// Package limits holds what a key server bounds, so that a flood costs whoever
// sends it more than the server: each bound is one small type here, with its
// number beside it.
//
//   - [Gate]: requests with public-key work in flight, enrolments among them, and
//     how many of them compute at once.
//   - [Replays]: the memory of requests that were answered, and of the answers.
//   - [Sources]: enrolments of one network address.
//   - [Listener]: open connections.
//
// All of it is safe for concurrent use and all of it says [ErrBusy] at once
// instead of waiting, so that shedding load is cheap.
//
// # Not here
//
// Budgets of refused leaves (internal/audit), sizes of messages (internal/wire)
// and of request bodies (the route table of internal/keyserver/api).
package limits
