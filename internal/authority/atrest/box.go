// SPDX-License-Identifier: Apache-2.0

// Package atrest keeps what the authority log leaves lying about: values sealed
// under a root-derived key ([Box]), and one small file that is replaced whole
// ([File]). Records and waiting bodies are boxes in the store; the head file is
// a box in a file.
//
// A box hides its content and shows every change of it, and that it was made for
// another place (the associated data), label or domain. It doesn't show that it
// is an old one: that is for the chain, and for the head file. Whoever has the
// root, or a server, can make any.
package atrest

import (
	"crypto/rand"
	"errors"

	"claviger/internal/kdf"
	"claviger/internal/secret"
)

const (
	saltSize = 32
	tagSize  = 16
)

// ErrSeal means that a value does not open: it was changed, made for another
// place, or under another root or domain.
var ErrSeal = errors.New("it does not open with this root: changed, or of another installation")

// Box seals small values under one long-lived key of 32 bytes, which its owner
// keeps and wipes. Each value gets a key of its own: HKDF-Expand of Key with
// info = kdf.Info(Label, Domain, salt) over 32 random bytes of salt. So the
// nonce of AES-256-GCM is always zero and never met twice under one key (SP
// 800-38D, section 8.2.1). Layout: salt ‖ ciphertext ‖ tag.
type Box struct {
	Key    *secret.Bytes
	Domain [32]byte
	Label  string
}

// Seal returns plaintext sealed for the place that aad names.
func (b Box) Seal(plaintext, aad []byte) []byte {
	out := make([]byte, saltSize, saltSize+len(plaintext)+tagSize)
	rand.Read(out)
	aead := b.messageKey(out)
	defer aead.Wipe()
	return aead.Seal(out, make([]byte, 12), plaintext, aad)
}

// Open returns what was sealed for the place that aad names, or ErrSeal.
func (b Box) Open(sealed, aad []byte) ([]byte, error) {
	if len(sealed) < saltSize+tagSize {
		return nil, ErrSeal
	}
	aead := b.messageKey(sealed[:saltSize])
	defer aead.Wipe()
	plaintext, err := aead.Open(nil, make([]byte, 12), sealed[saltSize:], aad)
	if err != nil {
		return nil, ErrSeal
	}
	return plaintext, nil
}

func (b Box) messageKey(salt []byte) *secret.AEAD {
	key := kdf.Expand(b.Key, b.Domain, b.Label, salt)
	defer key.Wipe()
	aead, err := secret.NewAEAD(key)
	if err != nil {
		panic("atrest: message key: " + err.Error())
	}
	return aead
}
