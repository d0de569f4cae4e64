// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package secret

import (
	"errors"
	"unsafe"
)

// systemMapper uses the Go heap: on these systems secrets are wiped and
// redacted, but not kept out of swap or dumps, and Protection says "none".
func systemMapper() mapper {
	return mapper{
		strong: func(int) (unsafe.Pointer, level, error) { return nil, levelNone, errors.ErrUnsupported },
		weak:   func(n int) (unsafe.Pointer, error) { return unsafe.Pointer(unsafe.SliceData(make([]byte, n))), nil },
		unmap:  func(unsafe.Pointer, int) {}, // the garbage collector takes it
	}
}
