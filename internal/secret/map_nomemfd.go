// SPDX-License-Identifier: Apache-2.0

//go:build linux && !amd64 && !arm64 && !riscv64

package secret

import (
	"errors"
	"unsafe"
)

// mapSecret has no system call to use on this architecture.
func mapSecret(int) (unsafe.Pointer, error) { return nil, errors.ErrUnsupported }
