// SPDX-License-Identifier: Apache-2.0

//go:build unix

package transport

import "syscall"

// dontBlock makes opening a pipe return at once, so that it can be refused.
const dontBlock = syscall.O_NONBLOCK
