// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64 || riscv64)

package secret

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapSecret maps memory that the kernel itself has no mapping of: not in core
// dumps, swap or hibernation, and a read of /proc/PID/mem fails, root's too.
func mapSecret(n int) (unsafe.Pointer, error) {
	fd, err := unix.MemfdSecret(unix.O_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make secret memory: %w", err)
	}
	defer unix.Close(fd) // the mapping keeps the memory
	if err := unix.Ftruncate(fd, int64(n)); err != nil {
		return nil, fmt.Errorf("size secret memory: %w", err)
	}
	p, err := unix.MmapPtr(fd, 0, nil, uintptr(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map secret memory: %w", err)
	}
	if err := unix.Madvise(unsafe.Slice((*byte)(p), n), unix.MADV_DONTFORK); err != nil {
		unmap(p, n)
		return nil, fmt.Errorf("advise kernel on secret memory: %w", err)
	}
	return p, nil
}
