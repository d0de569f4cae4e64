// SPDX-License-Identifier: Apache-2.0

package secret_test

import (
	"fmt"

	"claviger/internal/secret"
)

func Example() {
	key := secret.Random(secret.KeySize)
	defer key.Wipe()
	aead, err := secret.NewAEAD(key)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer aead.Wipe()

	nonce := make([]byte, secret.NonceSize) // the first message under this key
	sealed := aead.Seal(nil, nonce, []byte("attack at dawn"), []byte("context"))
	text, err := aead.Open(nil, nonce, sealed, []byte("context"))
	fmt.Printf("%s %v %v\n", text, err, key)
	// Output: attack at dawn <nil> [redacted]
}

// A secret that arrives wrapped goes straight into protected memory.
func ExampleAEAD_Open() {
	wrapping := secret.Random(secret.KeySize)
	defer wrapping.Wipe()
	aead, err := secret.NewAEAD(wrapping)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer aead.Wipe()
	inner := secret.Random(32)
	defer inner.Wipe()
	nonce := make([]byte, secret.NonceSize)
	wrapped := aead.Seal(nil, nonce, inner.Expose(), nil)

	opened := secret.New(len(wrapped) - secret.Overhead)
	defer opened.Wipe()
	_, err = aead.Open(opened.Expose()[:0], nonce, wrapped, nil)
	fmt.Println(err, opened.Equal(inner))
	// Output: <nil> true
}
