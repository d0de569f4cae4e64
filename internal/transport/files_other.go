// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package transport

// dontBlock is nothing where files can't be pipes.
const dontBlock = 0
