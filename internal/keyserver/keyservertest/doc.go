// SPDX-License-Identifier: Apache-2.0

// Package keyservertest runs a real key server on loopback, with a data directory
// of its own and one admin, for the tests of the packages around it. A [Rig]
// speaks the API as it stands in docs/api.md and docs/spec, message by message,
// so that tests can send what no program of ours would.
//
// Tests of what stands above the API use internal/testkit, which has clients.
package keyservertest
