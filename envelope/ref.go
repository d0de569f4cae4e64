// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

const (
	// MaxPartition is the largest partition in bytes.
	MaxPartition = 256

	flagHidden  = 1 << 0
	labelPrefix = "claviger/v1/"

	refFixed = 1 + 16 + 8 + 2 // flags, key id, version, size of the partition
)

// Ref names one leaf key: which key of which domain, in which version, for which
// partition. Domain is no part of a ciphertext, so it is zero in a Ref that
// comes from one.
type Ref struct {
	Domain    [32]byte // the trust domain's id
	KeyID     [16]byte
	Version   uint64 // from 1
	Partition []byte // 0 to MaxPartition bytes, compared as they are
	// HidePartition leaves the partition out of the ciphertext: the reader has
	// to know it. In a Ref from a ciphertext it means that Partition is unknown.
	HidePartition bool
}

// check refuses what a ciphertext could not express.
func (r Ref) check() error {
	switch {
	case r.Domain == [32]byte{}:
		return errors.New("ref names no domain")
	case r.Version == 0:
		return errors.New("ref names no key version")
	case len(r.Partition) > MaxPartition:
		return errors.New("partition is longer than 256 bytes")
	}
	return nil
}

func (r Ref) flags() byte {
	if r.HidePartition {
		return flagHidden
	}
	return 0
}

// shown is the partition as it stands in the ciphertext.
func (r Ref) shown() []byte {
	if r.HidePartition {
		return nil
	}
	return r.Partition
}

// public is the Ref as a reader of the ciphertext sees it.
func (r Ref) public() Ref {
	return Ref{KeyID: r.KeyID, Version: r.Version, Partition: r.shown(), HidePartition: r.HidePartition}
}

// sameWritten reports whether both look the same in a header, so that a reader
// couldn't choose between them.
func (r Ref) sameWritten(o Ref) bool {
	return r.HidePartition == o.HidePartition && r.names(o.KeyID, o.Version) && bytes.Equal(r.shown(), o.shown())
}

func (r Ref) names(key [16]byte, version uint64) bool {
	return r.KeyID == key && r.Version == version
}

// opens reports whether the leaf named r is the one that a written Ref asks
// for. A hidden partition is taken to be the leaf's: the key then tells.
func (r Ref) opens(written Ref) bool {
	return r.names(written.KeyID, written.Version) && (written.HidePartition || bytes.Equal(r.Partition, written.Partition))
}

// append writes the Ref as it begins a slot and follows a field's version.
func (r Ref) append(dst []byte) []byte {
	dst = append(dst, r.flags())
	dst = append(dst, r.KeyID[:]...)
	dst = binary.BigEndian.AppendUint64(dst, r.Version)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.shown())))
	return append(dst, r.shown()...)
}

// parseRef reads a Ref off the front of b and returns the rest. The Partition
// refers to b. An unknown flag is ErrFormat, a broken rule ErrIntegrity.
func parseRef(b []byte) (Ref, []byte, error) {
	if len(b) == 0 {
		return Ref{}, nil, ErrIntegrity
	}
	if b[0]&^flagHidden != 0 {
		return Ref{}, nil, ErrFormat
	}
	if len(b) < refFixed {
		return Ref{}, nil, ErrIntegrity
	}
	r := Ref{HidePartition: b[0] == flagHidden, Version: binary.BigEndian.Uint64(b[17:25])}
	copy(r.KeyID[:], b[1:17])
	size := int(binary.BigEndian.Uint16(b[25:refFixed]))
	b = b[refFixed:]
	if r.Version == 0 || size > MaxPartition || size > len(b) || (r.HidePartition && size > 0) {
		return Ref{}, nil, ErrIntegrity
	}
	if size > 0 {
		r.Partition = b[:size:size]
	}
	return r, b[size:], nil
}

// context is the Cobblestone context of a message sealed under the key that r
// names: all of r, with the true partition also when it is hidden. A field has
// the caller's context as one part more.
func (r Ref) context(label string, more ...[]byte) [32]byte {
	var version [8]byte
	binary.BigEndian.PutUint64(version[:], r.Version)
	flags := [1]byte{r.flags()}
	parts := [6][]byte{r.Domain[:], r.KeyID[:], version[:], flags[:], r.Partition}
	n := 5 + copy(parts[5:], more)
	return hash(label, parts[:n]...)
}

// hash is H of the specification: SHA-256 over label and parts, each behind its
// length, so that no two lists share an input.
func hash(label string, parts ...[]byte) [32]byte {
	buf := make([]byte, 0, 512) // on the stack: enough for nearly every Ref
	buf = binary.BigEndian.AppendUint64(buf, uint64(len(labelPrefix)+len(label)))
	buf = append(append(buf, labelPrefix...), label...)
	for _, p := range parts {
		buf = binary.BigEndian.AppendUint64(buf, uint64(len(p)))
		buf = append(buf, p...)
	}
	return sha256.Sum256(buf)
}
