// SPDX-License-Identifier: Apache-2.0

package cobblestone

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"sync"

	"claviger/internal/secret"
)

var (
	// ErrMessage is returned for every message that isn't authentic under the
	// key and context at hand, whatever is wrong with it. It doesn't say what,
	// so that nobody learns from it.
	ErrMessage = errors.New("message is not authentic")
	// ErrTooLong is returned when a plaintext would take more than 2^38 chunks.
	ErrTooLong = errors.New("message is longer than 2^38 chunks")
)

// infoPrefix begins every HKDF info of this format: its name, the AEAD by its
// IANA registry name, and a terminator.
const infoPrefix = "c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"

// Key is an input key ready for use. It is safe for concurrent use, except
// Wipe. It may seal up to 2^55 messages of at most 32 MiB; the specification
// has the table.
type Key struct {
	mac *secret.HMAC
	// places recycles the 32 protected bytes in which a message's key waits to
	// become an AEAD: a place of its own for each message would be most of the
	// cost of a short one.
	places sync.Pool
}

// NewKey prepares an input key of exactly 32 uniformly random bytes. The
// caller keeps input and wipes it; it isn't needed any more after the call.
func NewKey(input *secret.Bytes) (*Key, error) {
	if input.Len() != KeySize {
		return nil, errors.New("input key is not 32 bytes")
	}
	return &Key{mac: secret.NewHMAC(input)}, nil
}

// Wipe forgets the key. Messages made from it stay usable.
func (k *Key) Wipe() { k.mac.Wipe() }

// New begins a message with a fresh random salt. The message may seal each
// chunk number once; sealing two plaintexts under one number gives both away.
func (k *Key) New(context []byte) *Message {
	m := &Message{}
	rand.Read(m.prefix[:saltSize])
	k.derive(m, context)
	return m
}

// Parse takes up a message from its first PrefixSize bytes. It returns
// ErrMessage unless the commitment matches this key, salt and context; this is
// what keeps a message from opening under two keys.
func (k *Key) Parse(prefix, context []byte) (*Message, error) {
	if len(prefix) != PrefixSize {
		return nil, ErrMessage
	}
	m := &Message{}
	copy(m.prefix[:saltSize], prefix)
	k.derive(m, context)
	if subtle.ConstantTimeCompare(m.prefix[saltSize:], prefix[saltSize:]) != 1 {
		m.Wipe()
		return nil, ErrMessage
	}
	return m, nil
}

// Seal appends to dst the message that holds plaintext. Plaintext and dst must
// not overlap.
func (k *Key) Seal(dst, plaintext, context []byte) ([]byte, error) {
	m := k.New(context)
	defer m.Wipe()
	dst = append(dst, m.prefix[:]...)
	return m.SealRun(dst, 0, plaintext, true)
}

// Open appends the plaintext of a whole message to dst, or returns ErrMessage.
func (k *Key) Open(dst, message, context []byte) ([]byte, error) {
	if len(message) < PrefixSize {
		return nil, ErrMessage
	}
	m, err := k.Parse(message[:PrefixSize], context)
	if err != nil {
		return nil, err
	}
	defer m.Wipe()
	return m.OpenRun(dst, 0, message[PrefixSize:], true)
}

// derive makes key, base nonce and commitment from the salt in m.prefix, by
// HKDF-Expand (RFC 5869, section 2.3) written out over the placed HMAC: 76 bytes
// are two blocks, the key lies in the first alone.
func (k *Key) derive(m *Message, context []byte) {
	salt := m.prefix[:saltSize]
	prefix := []byte(infoPrefix)
	first := k.mac.Sum(prefix, salt, context, []byte{1})
	second := k.mac.Sum(first[:], prefix, salt, context, []byte{2})

	copy(m.base[:], first[KeySize:KeySize+nonceSize])
	n := copy(m.prefix[saltSize:], first[KeySize+nonceSize:])
	copy(m.prefix[saltSize+n:], second[:commitmentSize-n])
	m.aead = k.newAEAD(first[:KeySize])
	secret.Wipe(first[:])
	secret.Wipe(second[:])
}

// newAEAD makes a protected AEAD of key.
func (k *Key) newAEAD(key []byte) *secret.AEAD {
	place, ok := k.places.Get().(*secret.Bytes)
	if !ok {
		place = secret.New(KeySize)
	}
	defer k.places.Put(place)
	copy(place.Expose(), key)
	aead, err := secret.NewAEAD(place)
	secret.Wipe(place.Expose())
	if err != nil {
		panic("cobblestone: " + err.Error()) // only for a key that isn't 32 bytes
	}
	return aead
}
