// SPDX-License-Identifier: Apache-2.0

package keep

import (
	"os"

	"golang.org/x/sys/windows"
)

// lockFile waits for a lock over the whole file.
func lockFile(f *os.File) error {
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK, 0, 1, 0, new(windows.Overlapped))
}
