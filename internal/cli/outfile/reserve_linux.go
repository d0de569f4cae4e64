// SPDX-License-Identifier: Apache-2.0

package outfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// reserve is fallocate(2) on ext4. Without it each block is booked, and its place
// recorded, when it is written. What isn't written afterwards reads as zeros.
// ext4 takes what there is before it says that there is too little, so whether it
// can be enough is asked first: others on a nearly full disk keep their room.
func reserve(f *os.File, size int64) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = conn.Control(func(fd uintptr) {
		var fs unix.Statfs_t
		if unix.Fstatfs(int(fd), &fs) != nil || fs.Type != unix.EXT4_SUPER_MAGIC || size == 0 {
			return
		}
		if uint64(size)/uint64(fs.Bsize) > fs.Bfree {
			result = unix.ENOSPC
			return
		}
		for {
			if result = unix.Fallocate(int(fd), 0, 0, size); !errors.Is(result, unix.EINTR) {
				return
			}
		}
	})
	if !lacksRoom(result) {
		result = nil
	}
	return errors.Join(err, result)
}

// lacksRoom tells what writing would run into, too. Anything else, such as a file
// of ext3, or a sandbox without this call, only means that nothing is reserved.
func lacksRoom(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG)
}
