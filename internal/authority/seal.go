// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"crypto/rand"
	"errors"

	"claviger/internal/kdf"
	"claviger/internal/secret"
)

const saltSize = 32

var errSeal = errors.New("it does not open with this root: changed, or of another installation")

// box seals small values under one long-lived key. Each value gets a key of its
// own, from 32 random bytes of salt, so that the nonce is always zero and never
// met twice (SP 800-38D, section 8.2.1). Layout: salt ‖ ciphertext ‖ tag.
type box struct {
	key    *secret.Bytes
	domain [32]byte
	label  string
}

func (b box) seal(plaintext, aad []byte) []byte {
	out := make([]byte, saltSize, saltSize+len(plaintext)+16)
	rand.Read(out)
	aead := b.messageKey(out)
	defer aead.Wipe()
	return aead.Seal(out, make([]byte, 12), plaintext, aad)
}

func (b box) open(sealed, aad []byte) ([]byte, error) {
	if len(sealed) < saltSize+16 {
		return nil, errSeal
	}
	aead := b.messageKey(sealed[:saltSize])
	defer aead.Wipe()
	plaintext, err := aead.Open(nil, make([]byte, 12), sealed[saltSize:], aad)
	if err != nil {
		return nil, errSeal
	}
	return plaintext, nil
}

func (b box) messageKey(salt []byte) *secret.AEAD {
	key := kdf.Expand(b.key, b.domain, b.label, salt)
	defer key.Wipe()
	aead, err := secret.NewAEAD(key)
	if err != nil {
		panic("authority: message key: " + err.Error())
	}
	return aead
}
