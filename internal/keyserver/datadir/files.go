// SPDX-License-Identifier: Apache-2.0

package datadir

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"claviger/internal/hierarchy"
	"claviger/internal/kdf"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// Dir is the path of a data directory (design, section 12).
type Dir string

// Store is the file of the embedded store.
func (d Dir) Store() string { return d.in("state.db") }

// Head is the head file, which stands outside the store.
func (d Dir) Head() string { return d.in("head") }

// Root is the directory of custody file and epoch files.
func (d Dir) Root() string { return d.in("root") }

// Audit is the directory of the audit logs.
func (d Dir) Audit() string { return d.in("audit") }

// Proofs is the directory of contradictions between servers: two signed words that
// can't both be of one log.
func (d Dir) Proofs() string { return d.in("proofs") }

// PKI is the directory of what signs and certifies: the server's signing key and
// the revocation lists that operators put there.
func (d Dir) PKI() string { return d.in("pki") }

func (d Dir) signing() string { return filepath.Join(d.PKI(), "server.key") }

func (d Dir) in(name string) string { return filepath.Join(string(d), name) }

// ErrForeign means that a file of the data directory belongs to another
// installation, or was changed.
var ErrForeign = errors.New("file of another installation, or changed")

// Seals are the root-derived sealing keys of one domain, 32 bytes each.
type Seals struct {
	Body  *secret.Bytes // of the authority log's bodies
	Slot  *secret.Bytes // of the store's slots
	Local *secret.Bytes // of files of this server
	CA    *secret.Bytes // from which the embedded CA's key comes
}

// DeriveSeals derives them; whoever asks wipes them.
func DeriveSeals(c hierarchy.Custody, domain wire.DomainID) (*Seals, error) {
	var s Seals
	for _, d := range []struct {
		to   **secret.Bytes
		from func(hierarchy.Custody, [32]byte, uint64) (*secret.Bytes, error)
	}{
		{&s.Body, hierarchy.BodySeal}, {&s.Slot, hierarchy.SlotSeal}, {&s.Local, hierarchy.LocalSeal}, {&s.CA, hierarchy.CASeed},
	} {
		key, err := d.from(c, domain, 1)
		if err != nil {
			s.Wipe()
			return nil, fmt.Errorf("derive sealing keys: %w", err)
		}
		*d.to = key
	}
	return &s, nil
}

// Wipe wipes what is there of them.
func (s *Seals) Wipe() {
	for _, key := range []*secret.Bytes{s.Body, s.Slot, s.Local, s.CA} {
		key.Wipe()
	}
}

// signingFile keeps the server's signing key, which is random, sealed under the
// local seal: salt (32 bytes) ‖ AES-256-GCM of the Ed25519 seed under a key
// derived for that salt.
type signingFile struct {
	path   string
	domain wire.DomainID
	local  *secret.Bytes
}

func (f signingFile) aead(salt []byte) (*secret.AEAD, error) {
	key := kdf.Expand(f.local, f.domain, "server-key", salt)
	defer key.Wipe()
	return secret.NewAEAD(key)
}

// write keeps a new signing key.
func (f signingFile) write(key ed25519.PrivateKey) error {
	salt := make([]byte, 32)
	rand.Read(salt)
	aead, err := f.aead(salt)
	if err != nil {
		return err
	}
	defer aead.Wipe()
	sealed := aead.Seal(salt, make([]byte, secret.NonceSize), key.Seed(), f.domain[:])
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return fmt.Errorf("keep signing key: %w", err)
	}
	return writeSynced(f.path, sealed)
}

// Signer returns the server's signing key, opened with the local seal. It is an
// ed25519.PrivateKey in ordinary memory, which the caller wipes.
func (d Dir) Signer(domain wire.DomainID, local *secret.Bytes) (crypto.Signer, error) {
	return signingFile{d.signing(), domain, local}.read()
}

func (f signingFile) read() (crypto.Signer, error) {
	sealed, err := os.ReadFile(f.path)
	if err != nil {
		return nil, fmt.Errorf("read signing key: %w", err)
	}
	if len(sealed) != 32+ed25519.SeedSize+secret.Overhead {
		return nil, fmt.Errorf("%w: %s", ErrForeign, f.path)
	}
	aead, err := f.aead(sealed[:32])
	if err != nil {
		return nil, err
	}
	defer aead.Wipe()
	seed, err := aead.Open(nil, make([]byte, secret.NonceSize), sealed[32:], f.domain[:])
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrForeign, f.path)
	}
	defer secret.Wipe(seed)
	return ed25519.NewKeyFromSeed(seed), nil
}

// writeSynced makes a new file, 0600, and syncs it and its directory.
func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
