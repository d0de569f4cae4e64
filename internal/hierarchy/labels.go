// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"encoding/binary"
	"fmt"

	"claviger/internal/secret"
)

// Labels of the keys that custody derives; each takes the domain id (32 bytes)
// and the root generation (8 bytes, big-endian) as its fields.
const (
	labelDomain = "domain"
	labelLocal  = "local seal"
	labelBody   = "body seal"
	labelSlot   = "slot seal"
	labelBackup = "backup seal"
	labelCA     = "embedded ca"
)

// Custody holds a root secret of one generation, or stands before a device that
// does. Derive gives 32 bytes that depend on the label and every field; package
// root implements it.
type Custody interface {
	Derive(label string, fields ...[]byte) (*secret.Bytes, error)
}

// DomainSecret derives DS, the root's half of every key version (design §5). It
// is 32 bytes; the caller wipes it.
func DomainSecret(c Custody, domain [32]byte, generation uint64) (*secret.Bytes, error) {
	return derive(c, labelDomain, domain, generation)
}

// LocalSeal derives the key that seals what a server keeps for itself: its head
// file, snapshots and epoch file. 32 bytes; the caller wipes it.
func LocalSeal(c Custody, domain [32]byte, generation uint64) (*secret.Bytes, error) {
	return derive(c, labelLocal, domain, generation)
}

// BodySeal derives the key that seals the bodies of the authority log. 32 bytes;
// the caller wipes it.
func BodySeal(c Custody, domain [32]byte, generation uint64) (*secret.Bytes, error) {
	return derive(c, labelBody, domain, generation)
}

// SlotSeal derives the key that seals slots which servers share. 32 bytes; the
// caller wipes it. It never seals version secrets: a root-derived seal can't be
// erased.
func SlotSeal(c Custody, domain [32]byte, generation uint64) (*secret.Bytes, error) {
	return derive(c, labelSlot, domain, generation)
}

// BackupSeal derives the key that seals backups. 32 bytes; the caller wipes it.
func BackupSeal(c Custody, domain [32]byte, generation uint64) (*secret.Bytes, error) {
	return derive(c, labelBackup, domain, generation)
}

// CASeed derives the seed of the embedded certificate authority's key. 32 bytes;
// the caller wipes it.
func CASeed(c Custody, domain [32]byte, generation uint64) (*secret.Bytes, error) {
	return derive(c, labelCA, domain, generation)
}

func derive(c Custody, label string, domain [32]byte, generation uint64) (*secret.Bytes, error) {
	key, err := c.Derive(label, domain[:], u64(generation))
	if err != nil {
		return nil, fmt.Errorf("derive %s key: %w", label, err)
	}
	if key.Len() != keySize {
		key.Wipe()
		return nil, fmt.Errorf("derive %s key: custody gave another size than %d bytes", label, keySize)
	}
	return key, nil
}

func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
