// SPDX-License-Identifier: Apache-2.0

package authkey

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/fips140"
	"crypto/rand"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/crypto/argon2"

	"claviger/internal/members"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// ErrFile means that an authority key file is damaged, changed, or of a
// version that only a newer program reads.
var ErrFile = errors.New("authority key file is damaged or was changed")

// MaxFile bounds a key file in bytes.
const MaxFile = 4 << 10

const (
	typeFile = "claviger/v1/authority-key"

	methodPassphrase = "passphrase"
	methodKeyFile    = "key-file"
)

// Unlock is what opens an authority key: exactly one of the two.
type Unlock struct {
	Passphrase *secret.Bytes // what a person types: root.MinPassphrase bytes or more
	Key        *secret.Bytes // the content of a key file: root.MinKey random bytes or more
}

// Key is an authority key. It is a crypto.Signer over Ed25519 (RFC 8032). Safe
// for concurrent use, except Wipe.
type Key struct {
	seed   *secret.Bytes
	public ed25519.PublicKey
}

// Generate makes a new authority key.
func Generate() *Key { return newKey(secret.Random(ed25519.SeedSize)) }

func newKey(seed *secret.Bytes) *Key {
	private := ed25519.NewKeyFromSeed(seed.Expose())
	defer secret.Wipe(private)
	public := bytes.Clone(private[ed25519.SeedSize:])
	return &Key{seed: seed, public: public}
}

// Member is the public key as the member chain names it.
func (k *Key) Member(name string) (members.Key, error) {
	der, err := x509.MarshalPKIXPublicKey(k.public)
	if err != nil {
		return members.Key{}, fmt.Errorf("encode public key: %w", err)
	}
	return members.Key{Name: name, Public: der}, nil
}

// Public returns the ed25519.PublicKey.
func (k *Key) Public() crypto.PublicKey { return k.public }

// Sign signs message itself; opts must name no hash.
func (k *Key) Sign(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	private := ed25519.NewKeyFromSeed(k.seed.Expose())
	defer secret.Wipe(private)
	return private.Sign(nil, message, opts)
}

// Wipe makes the key unusable.
func (k *Key) Wipe() { k.seed.Wipe() }

// sealedKey is the file: deterministic CBOR. The seal covers all but itself.
type sealedKey struct {
	_      struct{} `cbor:",toarray"`
	Type   string   // typeFile
	Name   string   // the admin's
	Public []byte   // PKIX SubjectPublicKeyInfo in DER
	Method string   // methodPassphrase or methodKeyFile
	Memory uint32   // KiB of Argon2id; 0 with a key file
	Passes uint32
	Lanes  uint8
	Salt   [32]byte
	Check  [32]byte // commits to the key: AES-GCM alone opens under more than one
	Sealed []byte   // AES-256-GCM over the Ed25519 seed, nonce 0: the salt makes the key fresh
}

// Seal returns the key file of an admin's key. A zero cost is
// root.DefaultCost.
func Seal(name string, key *Key, u Unlock, cost root.Cost) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key.public)
	if err != nil {
		return nil, fmt.Errorf("seal authority key: %w", err)
	}
	if cost == (root.Cost{}) {
		cost = root.DefaultCost()
	}
	f := sealedKey{Type: typeFile, Name: name, Public: der, Method: methodKeyFile}
	if u.Passphrase != nil {
		f.Method, f.Memory, f.Passes, f.Lanes = methodPassphrase, cost.MemoryKiB, cost.Passes, cost.Lanes
	}
	rand.Read(f.Salt[:])
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("seal authority key: %w", err)
	}
	prk, err := f.stretch(u)
	if err != nil {
		return nil, fmt.Errorf("seal authority key: %w", err)
	}
	defer prk.Wipe()
	f.Check = keyCheck(prk)
	aead, err := keyAEAD(prk)
	if err != nil {
		return nil, fmt.Errorf("seal authority key: %w", err)
	}
	defer aead.Wipe()
	f.Sealed = aead.Seal(nil, make([]byte, secret.NonceSize), key.seed.Expose(), wire.Marshal(f))
	return wire.Marshal(f), nil
}

// Open opens a key file. A wrong passphrase or key gives
// root.ErrWrongPassphrase or root.ErrWrongKey, a changed file ErrFile.
func Open(data []byte, u Unlock) (*Key, error) {
	f, err := parse(data)
	if err != nil {
		return nil, err
	}
	prk, err := f.stretch(u)
	if err != nil {
		return nil, fmt.Errorf("open authority key: %w", err)
	}
	defer prk.Wipe()
	if check := keyCheck(prk); subtle.ConstantTimeCompare(check[:], f.Check[:]) != 1 {
		if f.Method == methodPassphrase {
			return nil, fmt.Errorf("open authority key: %w", root.ErrWrongPassphrase)
		}
		return nil, fmt.Errorf("open authority key: %w", root.ErrWrongKey)
	}
	aead, err := keyAEAD(prk)
	if err != nil {
		return nil, fmt.Errorf("open authority key: %w", err)
	}
	defer aead.Wipe()
	sealed := f.Sealed
	f.Sealed = nil
	seed := secret.New(ed25519.SeedSize)
	if _, err := aead.Open(seed.Expose()[:0], make([]byte, secret.NonceSize), sealed, wire.Marshal(*f)); err != nil {
		seed.Wipe()
		return nil, fmt.Errorf("%w: its seal does not cover it", ErrFile)
	}
	key := newKey(seed)
	// Security: who shows another public key than the one inside would have
	// people add a stranger's key under this name.
	if der, err := x509.MarshalPKIXPublicKey(key.public); err != nil || !bytes.Equal(der, f.Public) {
		key.Wipe()
		return nil, fmt.Errorf("%w: it names another public key", ErrFile)
	}
	return key, nil
}

// Info is what a key file says without being opened. Only Open shows that it is
// true.
type Info struct {
	Name   string // the admin's
	Public []byte // PKIX SubjectPublicKeyInfo in DER
}

// Read reads a key file without opening it.
func Read(data []byte) (Info, error) {
	f, err := parse(data)
	if err != nil {
		return Info{}, err
	}
	return Info{f.Name, f.Public}, nil
}

// Looks reports whether data may be a key file, damaged perhaps: by its content.
func Looks(data []byte) bool { return bytes.Contains(data, []byte(typeFile)) }

func parse(data []byte) (*sealedKey, error) {
	var f sealedKey
	if err := wire.Unmarshal(data, &f, MaxFile); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	if len(f.Sealed) != ed25519.SeedSize+secret.Overhead {
		return nil, fmt.Errorf("%w: size of the seal", ErrFile)
	}
	return &f, nil
}

// check bounds everything before it is used: a changed file must not take all
// memory or an hour, and no key is sealed weakly.
func (f *sealedKey) check() error {
	if f.Type != typeFile {
		return errors.New("it is no authority key, or one of a newer version")
	}
	if !wire.ValidNamePart(f.Name) {
		return errors.New("the admin's name is not usable: a-z 0-9 . _ - only")
	}
	if pub, err := x509.ParsePKIXPublicKey(f.Public); err != nil || wire.KeyHash(pub).IsZero() {
		return errors.New("its public key is not usable")
	}
	cost := root.Cost{MemoryKiB: f.Memory, Passes: f.Passes, Lanes: f.Lanes}
	switch f.Method {
	case methodKeyFile:
		if cost != (root.Cost{}) {
			return errors.New("a key file has no cost")
		}
	case methodPassphrase:
		if f.Memory < 19<<10 || f.Memory > 1<<20 || f.Passes < 2 || f.Passes > 16 || f.Lanes < 1 || f.Lanes > 16 {
			return errors.New("the cost of a passphrase is out of bounds")
		}
	default:
		return errors.New("it is sealed in an unknown way")
	}
	return nil
}

// stretch turns what unlocks into a pseudorandom key. Argon2id's working memory
// is ordinary and not wiped.
func (f *sealedKey) stretch(u Unlock) (*secret.Bytes, error) {
	switch {
	case (u.Passphrase == nil) == (u.Key == nil):
		return nil, errors.New("either a passphrase or a key file opens an authority key")
	case u.Key != nil && f.Method != methodKeyFile:
		return nil, errors.New("this key is sealed under a passphrase, not under a key file")
	case u.Passphrase != nil && f.Method != methodPassphrase:
		return nil, errors.New("this key is sealed under a key file, not under a passphrase")
	case u.Key != nil:
		if n := u.Key.Len(); n < root.MinKey || n > root.MaxKey {
			return nil, fmt.Errorf("key file of %d bytes (%d to %d allowed)", n, root.MinKey, root.MaxKey)
		}
		return secret.Extract(f.Salt[:], u.Key), nil
	case fips140.Enforced():
		return nil, fmt.Errorf("passphrase (Argon2id): %w: use a key file", root.ErrFIPS)
	}
	if n := u.Passphrase.Len(); n < root.MinPassphrase || n > root.MaxPassphrase {
		return nil, fmt.Errorf("passphrase of %d bytes (%d to %d allowed)", n, root.MinPassphrase, root.MaxPassphrase)
	}
	prk := secret.Take(argon2.IDKey(u.Passphrase.Expose(), f.Salt[:], f.Passes, f.Memory, f.Lanes, 32))
	runtime.KeepAlive(u.Passphrase)
	return prk, nil
}

func keyCheck(prk *secret.Bytes) [32]byte {
	check := secret.Expand(prk, []byte(typeFile+"/check"), 32)
	defer check.Wipe()
	return [32]byte(check.Expose())
}

func keyAEAD(prk *secret.Bytes) (*secret.AEAD, error) {
	key := secret.Expand(prk, []byte(typeFile+"/seal"), secret.KeySize)
	defer key.Wipe()
	return secret.NewAEAD(key)
}
