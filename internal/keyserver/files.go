// SPDX-License-Identifier: Apache-2.0

package keyserver

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

// Names within a data directory (design, section 12).
const (
	fileStore   = "state.db"
	fileHead    = "head"
	dirRoot     = "root"
	dirAudit    = "audit"
	dirPKI      = "pki"
	fileSigning = "server.key"
)

// ErrForeign means that a file of the data directory belongs to another
// installation, or was changed.
var ErrForeign = errors.New("file of another installation, or changed")

// seals are the root-derived sealing keys of one domain.
type seals struct{ body, slot, local, ca *secret.Bytes }

func deriveSeals(c hierarchy.Custody, domain wire.DomainID) (*seals, error) {
	var s seals
	for _, d := range []struct {
		to   **secret.Bytes
		from func(hierarchy.Custody, [32]byte, uint64) (*secret.Bytes, error)
	}{
		{&s.body, hierarchy.BodySeal}, {&s.slot, hierarchy.SlotSeal}, {&s.local, hierarchy.LocalSeal}, {&s.ca, hierarchy.CASeed},
	} {
		key, err := d.from(c, domain, 1)
		if err != nil {
			s.wipe()
			return nil, fmt.Errorf("derive sealing keys: %w", err)
		}
		*d.to = key
	}
	return &s, nil
}

func (s *seals) wipe() {
	for _, key := range []*secret.Bytes{s.body, s.slot, s.local, s.ca} {
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

// read returns the signing key.
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
