// SPDX-License-Identifier: Apache-2.0

package secret

// clearVectors zeroes the vector registers. AES, GHASH and SHA-512 leave round
// keys and message words there, and whatever interrupts the goroutine later (a
// signal, the scheduler) stores them in ordinary memory.
func clearVectors() { clearNEON() }

func clearNEON()
