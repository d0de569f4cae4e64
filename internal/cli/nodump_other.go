// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package cli

// forbidDumps does nothing here: docs/threat-model.md says so of systems other
// than Linux.
func forbidDumps() error { return nil }
