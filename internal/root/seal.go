// SPDX-License-Identifier: Apache-2.0

package root

import (
	"crypto/fips140"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/crypto/argon2"

	"claviger/internal/secret"
)

const (
	saltSize   = 32
	sealedSize = Size + secret.Overhead
)

// Bounds of passphrases and key files in bytes. The least passphrase is not a
// promise of strength: the file can be attacked offline, so take six random
// words or more. Key files hold random bytes, all of which count, a final line
// break included.
const (
	MinPassphrase = 12
	MaxPassphrase = 1024
	MinKey        = 32
	MaxKey        = 4096
)

var (
	// ErrWrongPassphrase says that the passphrase is not the one the root was
	// sealed with.
	ErrWrongPassphrase = errors.New("wrong passphrase")
	// ErrWrongKey says that the key file is not the one the root was sealed with.
	ErrWrongKey = errors.New("wrong key file")
	// ErrFIPS says that an algorithm outside FIPS 140-3 would be needed while
	// the program runs with GODEBUG=fips140=only.
	ErrFIPS = errors.New("not allowed under GODEBUG=fips140=only")
)

// Cost is what one try of a passphrase costs: the parameters of Argon2id
// (RFC 9106). The zero value means DefaultCost.
type Cost struct {
	MemoryKiB uint32 `json:"memory_kib"` // 19,456 (19 MiB) to 1,048,576 (1 GiB)
	Passes    uint32 `json:"passes"`     // 2 to 16
	Lanes     uint8  `json:"lanes"`      // 1 to 16
}

// DefaultCost returns the second recommended option of RFC 9106, section 4:
// 64 MiB, 3 passes, 4 lanes. The first one's 2 GiB would not fit on small
// servers, on which the root has to be opened as well.
func DefaultCost() Cost { return Cost{MemoryKiB: 64 << 10, Passes: 3, Lanes: 4} }

// check bounds a cost from below, so that no root is sealed weakly, and from
// above, so that a changed file can't take all memory or an hour.
func (c Cost) check() error {
	if c.MemoryKiB < 19<<10 || c.MemoryKiB > 1<<20 || c.Passes < 2 || c.Passes > 16 || c.Lanes < 1 || c.Lanes > 16 {
		return fmt.Errorf("cost of %d KiB, %d passes, %d lanes is out of bounds for Argon2id", c.MemoryKiB, c.Passes, c.Lanes)
	}
	return nil
}

// passphraseSeal is the root secret under a passphrase.
type passphraseSeal struct {
	Cost
	keyFileSeal
}

// keyFileSeal is the root secret under a key that Salt makes fresh for this
// file. Check commits to that key: AES-GCM alone opens under more than one, and
// with it a wrong key is told from a changed file.
type keyFileSeal struct {
	Salt   hexBytes `json:"salt"`             // 32 random bytes
	Check  hexBytes `json:"key_check"`        // 32 bytes
	Sealed hexBytes `json:"sealed,omitempty"` // AES-256-GCM, nonce 0, AAD the file's header
}

func (p *passphraseSeal) check() error {
	if err := p.Cost.check(); err != nil {
		return err
	}
	return p.keyFileSeal.check()
}

func (s *keyFileSeal) check() error {
	if len(s.Salt) != saltSize || len(s.Check) != Size || len(s.Sealed) != sealedSize {
		return errors.New("salt, key check or seal of a wrong size")
	}
	return nil
}

func newSalt() hexBytes {
	salt := make([]byte, saltSize)
	rand.Read(salt)
	return salt
}

// sealPassphrase fills f's passphrase seal with root under passphrase.
func (f *custodyFile) sealPassphrase(root, passphrase *secret.Bytes, cost Cost) error {
	if cost == (Cost{}) {
		cost = DefaultCost()
	}
	if err := cost.check(); err != nil {
		return err
	}
	if n := passphrase.Len(); n < MinPassphrase || n > MaxPassphrase {
		return fmt.Errorf("passphrase of %d bytes (%d to %d allowed)", n, MinPassphrase, MaxPassphrase)
	}
	f.Passphrase = &passphraseSeal{Cost: cost, keyFileSeal: keyFileSeal{Salt: newSalt()}}
	key, err := f.Passphrase.stretch(passphrase)
	if err != nil {
		return err
	}
	defer key.Wipe()
	return f.seal(&f.Passphrase.keyFileSeal, key, root)
}

func (f *custodyFile) openPassphrase(passphrase *secret.Bytes) (*secret.Bytes, error) {
	key, err := f.Passphrase.stretch(passphrase)
	if err != nil {
		return nil, err
	}
	defer key.Wipe()
	return f.unseal(&f.Passphrase.keyFileSeal, key, ErrWrongPassphrase)
}

// stretch runs Argon2id. Its working memory is ordinary and not wiped.
func (p *passphraseSeal) stretch(passphrase *secret.Bytes) (*secret.Bytes, error) {
	if fips140.Enforced() {
		return nil, fmt.Errorf("passphrase (Argon2id): %w: use a key file or an HSM", ErrFIPS)
	}
	key := secret.Take(argon2.IDKey(passphrase.Expose(), p.Salt, p.Passes, p.MemoryKiB, p.Lanes, Size))
	runtime.KeepAlive(passphrase)
	return key, nil
}

// sealKey fills f's key file seal with root under key.
func (f *custodyFile) sealKey(root, key *secret.Bytes) error {
	if n := key.Len(); n < MinKey || n > MaxKey {
		return fmt.Errorf("key file of %d bytes (%d to %d allowed)", n, MinKey, MaxKey)
	}
	f.KeyFile = &keyFileSeal{Salt: newSalt()}
	prk := secret.Extract(f.KeyFile.Salt, key)
	defer prk.Wipe()
	return f.seal(f.KeyFile, prk, root)
}

func (f *custodyFile) openKey(key *secret.Bytes) (*secret.Bytes, error) {
	prk := secret.Extract(f.KeyFile.Salt, key)
	defer prk.Wipe()
	return f.unseal(f.KeyFile, prk, ErrWrongKey)
}

// seal encrypts root under keys expanded from prk. The nonce is fixed: prk
// depends on a fresh salt, so that no key seals twice.
func (f *custodyFile) seal(into *keyFileSeal, prk, root *secret.Bytes) error {
	into.Check = keyCheck(prk)
	header, err := f.header()
	if err != nil {
		return err
	}
	aead, err := sealingAEAD(prk)
	if err != nil {
		return err
	}
	defer aead.Wipe()
	into.Sealed = aead.Seal(nil, make([]byte, secret.NonceSize), root.Expose(), header)
	return nil
}

// unseal returns the root secret; wrong is the error for another key than the
// one that sealed.
func (f *custodyFile) unseal(from *keyFileSeal, prk *secret.Bytes, wrong error) (*secret.Bytes, error) {
	if subtle.ConstantTimeCompare(keyCheck(prk), from.Check) != 1 {
		return nil, wrong
	}
	header, err := f.header()
	if err != nil {
		return nil, err
	}
	aead, err := sealingAEAD(prk)
	if err != nil {
		return nil, err
	}
	defer aead.Wipe()
	root := secret.New(Size)
	if _, err := aead.Open(root.Expose()[:0], make([]byte, secret.NonceSize), from.Sealed, header); err != nil {
		root.Wipe()
		return nil, fmt.Errorf("%w: its seal does not cover it", ErrDamaged)
	}
	return root, nil
}

func keyCheck(prk *secret.Bytes) []byte {
	check := secret.Expand(prk, info("seal check"), Size)
	defer check.Wipe()
	return append([]byte(nil), check.Expose()...)
}

func sealingAEAD(prk *secret.Bytes) (*secret.AEAD, error) {
	key := secret.Expand(prk, info("seal key"), Size)
	defer key.Wipe()
	return secret.NewAEAD(key)
}

// ReadKey reads a key file, or a systemd credential, into protected memory. The
// file must be regular and closed to other users (its group may read it: so
// systemd hands out credentials to a service's dynamic user).
func ReadKey(path string) (*secret.Bytes, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	defer file.Close()
	stat, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	if mode := stat.Mode(); !mode.IsRegular() || mode.Perm()&0o007 != 0 {
		return nil, fmt.Errorf("read key file %s: mode %v: a regular file closed to other users is wanted", path, mode)
	}
	if size := stat.Size(); size < MinKey || size > MaxKey {
		return nil, fmt.Errorf("read key file %s: %d bytes (%d to %d allowed)", path, size, MinKey, MaxKey)
	}
	key := secret.New(int(stat.Size()))
	if _, err := io.ReadFull(file, key.Expose()); err != nil {
		key.Wipe()
		return nil, fmt.Errorf("read key file: %w", err)
	}
	return key, nil
}
