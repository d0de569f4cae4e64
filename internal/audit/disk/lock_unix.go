// SPDX-License-Identifier: Apache-2.0

//go:build unix

package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFile takes flock(2), which the kernel gives back when the process ends,
// however it ends.
func lockFile(f *os.File) error {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}
