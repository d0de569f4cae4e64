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
	// expand makes the AEAD of a message's key.
	expand func(key *secret.Bytes) (*secret.AEAD, error)
	// places recycles the 32 protected bytes in which a message's key waits to
	// become an AEAD, and messages the Messages of Seal and Open: each anew
	// would be much of the cost of a short message.
	places, messages sync.Pool
}

// NewKey prepares an input key of exactly 32 uniformly random bytes. The
// caller keeps input and wipes it; it isn't needed any more after the call.
func NewKey(input *secret.Bytes) (*Key, error) { return newKeyOf(input, secret.NewAEAD) }

// NewValueKey is NewKey for short values that lie in memory themselves while
// they are sealed and opened, and protect nothing else: no keys. It is faster
// as secret.NewBriefAEAD is.
func NewValueKey(input *secret.Bytes) (*Key, error) { return newKeyOf(input, secret.NewBriefAEAD) }

func newKeyOf(input *secret.Bytes, expand func(*secret.Bytes) (*secret.AEAD, error)) (*Key, error) {
	if input.Len() != KeySize {
		return nil, errors.New("input key is not 32 bytes")
	}
	return &Key{mac: secret.NewHMAC(input), expand: expand}, nil
}

// Wipe forgets the key. Messages made from it stay usable.
func (k *Key) Wipe() {
	k.mac.Wipe()
	// Left to the garbage collector, each place would stay taken for a while.
	for p := k.places.Get(); p != nil; p = k.places.Get() {
		p.(*secret.Bytes).Wipe()
	}
}

// New begins a message with a fresh random salt. The message may seal each
// chunk number once; sealing two plaintexts under one number gives both away.
func (k *Key) New(context []byte) *Message {
	m := &Message{}
	k.begin(m, context)
	return m
}

func (k *Key) begin(m *Message, context []byte) {
	rand.Read(m.prefix[:saltSize])
	k.derive(m, context)
}

// Parse takes up a message from its first PrefixSize bytes. It returns
// ErrMessage unless the commitment matches this key, salt and context; this is
// what keeps a message from opening under two keys.
func (k *Key) Parse(prefix, context []byte) (*Message, error) {
	m := &Message{}
	if err := k.parse(m, prefix, context); err != nil {
		return nil, err
	}
	return m, nil
}

func (k *Key) parse(m *Message, prefix, context []byte) error {
	if len(prefix) != PrefixSize {
		return ErrMessage
	}
	copy(m.prefix[:saltSize], prefix)
	k.derive(m, context)
	if subtle.ConstantTimeCompare(m.prefix[saltSize:], prefix[saltSize:]) != 1 {
		m.Wipe()
		return ErrMessage
	}
	return nil
}

// Seal appends to dst the message that holds plaintext. Plaintext and dst must
// not overlap.
func (k *Key) Seal(dst, plaintext, context []byte) ([]byte, error) {
	m := k.borrow()
	defer k.giveBack(m)
	k.begin(m, context)
	dst = append(dst, m.prefix[:]...)
	return m.SealRun(dst, 0, plaintext, true)
}

// Open appends the plaintext of a whole message to dst, or returns ErrMessage.
func (k *Key) Open(dst, message, context []byte) ([]byte, error) {
	if len(message) < PrefixSize {
		return nil, ErrMessage
	}
	m := k.borrow()
	defer k.giveBack(m)
	if err := k.parse(m, message[:PrefixSize], context); err != nil {
		return nil, err
	}
	return m.OpenRun(dst, 0, message[PrefixSize:], true)
}

// borrow returns an empty Message that doesn't leave this package.
func (k *Key) borrow() *Message {
	if m, ok := k.messages.Get().(*Message); ok {
		return m
	}
	return &Message{}
}

// giveBack ends a borrowed Message.
func (k *Key) giveBack(m *Message) {
	m.Wipe()
	*m = Message{}
	k.messages.Put(m)
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
	aead, err := k.expand(place)
	secret.Wipe(place.Expose())
	if err != nil {
		panic("cobblestone: " + err.Error()) // only for a key that isn't 32 bytes
	}
	return aead
}
