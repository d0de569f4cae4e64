// SPDX-License-Identifier: Apache-2.0

// Package doors tests what all doors promise together: one key, many protocols, and
// one switch.
package doors
