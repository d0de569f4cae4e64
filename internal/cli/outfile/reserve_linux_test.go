// SPDX-License-Identifier: Apache-2.0

package outfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLacksRoom: where nothing can be reserved, files are written as ever.
func TestLacksRoom(t *testing.T) {
	for err, want := range map[error]bool{
		unix.ENOSPC: true, unix.EDQUOT: true, unix.EFBIG: true,
		unix.EOPNOTSUPP: false, unix.ENOSYS: false, unix.EPERM: false, unix.EINVAL: false, nil: false,
	} {
		if lacksRoom(err) != want {
			t.Errorf("%v: %v", err, !want)
		}
	}
}

// TestReserve: on ext4 a file has its size and its blocks at once, and what no disk
// can hold is refused; elsewhere nothing happens.
func TestReserve(t *testing.T) {
	dir := t.TempDir()
	out, err := Options{Path: filepath.Join(dir, "out")}.Create(nil, false)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Abort()
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	ext4 := fs.Type == unix.EXT4_SUPER_MAGIC
	const size = 1<<20 + 5
	for _, n := range []int64{0, size} {
		if err := out.Reserve(n); err != nil {
			t.Fatalf("reserve %d bytes: %v", n, err)
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(out.file.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if reserved := st.Size == size && st.Blocks*512 >= size; reserved != ext4 {
		t.Errorf("ext4 %v: %d bytes in %d blocks", ext4, st.Size, st.Blocks)
	}
	if err := out.Reserve(1 << 43); errors.Is(err, unix.ENOSPC) != ext4 {
		t.Errorf("ext4 %v: a reservation of 8 TiB: %v", ext4, err)
	}
	if _, err := out.WriteAt([]byte("whole"), size-5); err != nil {
		t.Fatal(err)
	}
	if err := out.Commit(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(out.target); err != nil || ext4 && (len(got) != size || string(got[size-5:]) != "whole") {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
