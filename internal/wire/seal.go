// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/hpke"
	"errors"
	"fmt"
	"sync/atomic"
)

// Sizes of the HPKE suite MLKEM768-X25519 (0x647a): draft-ietf-hpke-pq.
const (
	PublicKeySize = 1216
	encSize       = 1120
)

// ErrSealed is the one error of opening: not for this key, changed on the way,
// or made for something else.
var ErrSealed = errors.New("sealed message does not open")

// Key is the private half of an HPKE key. It lives in memory only, and whoever
// made it calls Wipe after the last use. It is safe for concurrent use.
//
// What lies on the heap, unprotected: the seed, the X25519 scalar and the
// ML-KEM key expanded from it. The standard library gives no way to place them
// elsewhere, nor to clear more than Wipe does.
type Key struct {
	private atomic.Pointer[hpke.PrivateKey] // nil once wiped
	public  []byte
}

func newKey(private hpke.PrivateKey) *Key {
	k := &Key{public: private.PublicKey().Bytes()}
	k.private.Store(&private)
	return k
}

// Sealed is the outside of every sealed message and all that a carrier sees.
type Sealed struct {
	_    struct{} `cbor:",toarray"`
	Type string
	Enc  []byte // HPKE encapsulated key, 1120 bytes
	CT   []byte // HPKE ciphertext
}

// NewKey makes an HPKE key pair.
func NewKey() *Key {
	private, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		panic("wire: HPKE key generation: " + err.Error())
	}
	return newKey(private)
}

// KeyFromSeed restores the key that Seed came from.
func KeyFromSeed(seed []byte) (*Key, error) {
	private, err := hpke.MLKEM768X25519().NewPrivateKey(seed)
	if err != nil {
		return nil, fmt.Errorf("read HPKE key: %w", err)
	}
	return newKey(private), nil
}

// Seed returns the private half, 32 bytes, for a caller that seals it away;
// ErrSealed once the key is wiped. It is not a copy: Wipe clears it.
func (k *Key) Seed() ([]byte, error) {
	private := k.private.Load()
	if private == nil {
		return nil, ErrSealed
	}
	return (*private).Bytes()
}

// Wipe forgets the private half: nothing opens any more, but what is being
// opened. It clears the seed, from which all else comes; the scalar and the
// ML-KEM key made of it can only be dropped, and stand in memory until the
// collector gives it to somebody else. Wiping twice does nothing.
func (k *Key) Wipe() {
	private := k.private.Swap(nil)
	if private == nil {
		return
	}
	if seed, err := (*private).Bytes(); err == nil { // the key's own, not a copy (crypto/hpke)
		clear(seed)
	}
}

// Public is the public half, 1216 bytes.
func (k *Key) Public() []byte { return k.public }

// Open opens a sealed message of the given type, of at most limit bytes, that
// was sealed with the same info, and takes off padding.
func (k *Key) Open(typ string, info Hash, message []byte, limit int) ([]byte, error) {
	outer, err := ParseSealed(message, limit)
	if err != nil {
		return nil, err
	}
	if outer.Type != typ || len(outer.Enc) != encSize {
		return nil, fmt.Errorf("%w: another message", ErrMalformed)
	}
	private := k.private.Load()
	if private == nil {
		return nil, ErrSealed
	}
	recipient, err := hpke.NewRecipient(outer.Enc, *private, hpke.HKDFSHA256(), hpke.AES256GCM(), sealInfo(typ, info))
	if err != nil {
		return nil, ErrSealed
	}
	plaintext, err := recipient.Open([]byte(typ), outer.CT)
	if err != nil {
		return nil, ErrSealed
	}
	return unpad(typ, plaintext)
}

// Seal seals plaintext to an HPKE public key. Type and info are bound: whoever
// opens must name the same.
func Seal(public []byte, typ string, info Hash, plaintext []byte) ([]byte, error) {
	if len(public) != PublicKeySize {
		return nil, fmt.Errorf("seal %s: %w: public key", typ, ErrMalformed)
	}
	pub, err := hpke.MLKEM768X25519().NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w: public key", typ, ErrMalformed)
	}
	enc, sender, err := hpke.NewSender(pub, hpke.HKDFSHA256(), hpke.AES256GCM(), sealInfo(typ, info))
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", typ, err)
	}
	ct, err := sender.Seal([]byte(typ), plaintext)
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", typ, err)
	}
	return Marshal(Sealed{Type: typ, Enc: enc, CT: ct}), nil
}

// sealInfo is the HPKE info: H(type, what the message answers or is for).
func sealInfo(typ string, info Hash) []byte {
	h := Sum("seal", []byte(typ), info[:])
	return h[:]
}
