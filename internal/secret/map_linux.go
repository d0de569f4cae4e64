// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// systemMapper takes memory from memfd_secret(2) where the kernel has it, else
// from an anonymous mapping under mlock(2). Both count against RLIMIT_MEMLOCK.
//
// All of it is MADV_DONTFORK: a child of a raw fork has no business with keys.
// (os/exec is unaffected; its child shares the address space until it execs.)
// That is stronger than MADV_WIPEONFORK, which shared mappings don't allow.
func systemMapper() mapper {
	return mapper{strong: mapStrong, weak: mapWeak, unmap: unmap}
}

func mapStrong(n int) (unsafe.Pointer, level, error) {
	if p, err := mapSecret(n); err == nil {
		return p, levelSecret, nil
	}
	p, err := mapLocked(n)
	if err != nil {
		return nil, levelNone, err
	}
	return p, levelLocked, nil
}

// mapLocked maps memory that is neither swapped nor dumped, but that whoever
// may trace the process can read.
func mapLocked(n int) (unsafe.Pointer, error) {
	p, err := mapWeak(n)
	if err != nil {
		return nil, err
	}
	if err := unix.Mlock(unsafe.Slice((*byte)(p), n)); err != nil {
		unmap(p, n)
		return nil, fmt.Errorf("lock memory: %w", err)
	}
	return p, nil
}

// mapWeak maps memory that may be swapped but stays out of core dumps.
func mapWeak(n int) (unsafe.Pointer, error) {
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("map memory: %w", err)
	}
	view := unsafe.Slice((*byte)(p), n)
	for _, advice := range []int{unix.MADV_DONTDUMP, unix.MADV_DONTFORK} {
		if err := unix.Madvise(view, advice); err != nil {
			unmap(p, n)
			return nil, fmt.Errorf("advise kernel on memory: %w", err)
		}
	}
	return p, nil
}

func unmap(p unsafe.Pointer, n int) {
	// It fails only for an address that was never mapped.
	if err := unix.MunmapPtr(p, uintptr(n)); err != nil {
		panic(fmt.Sprintf("secret: unmap: %v", err))
	}
}
