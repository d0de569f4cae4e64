// SPDX-License-Identifier: Apache-2.0

//go:build !amd64 && !arm64

package secret

// clearVectors does nothing here: what AES and SHA-512 leave in registers may
// be stored with the thread.
func clearVectors() {}
