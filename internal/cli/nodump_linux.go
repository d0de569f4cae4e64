// SPDX-License-Identifier: Apache-2.0

package cli

import "golang.org/x/sys/unix"

// forbidDumps keeps this process out of core files and other users' debuggers
// (prctl(2), setrlimit(2)). Key bytes lie outside dumps already; this covers
// what the standard library keeps in ordinary memory.
func forbidDumps() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}
