// SPDX-License-Identifier: Apache-2.0

//go:build unix

package keep

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lockFile takes flock(2) and waits for it. Signals of the runtime interrupt the
// wait, so it begins again.
func lockFile(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
