// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package secret

// quietly runs f, which expands a key, and clears the vector registers. A
// signal in between may still store them.
func quietly(f func()) {
	defer clearVectors()
	f()
}
