// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"claviger/envelope/internal/cobblestone"
	"claviger/internal/kdf"
	"claviger/internal/secret"
)

const (
	// MaxSlots is the largest number of slots in a header.
	MaxSlots = 32
	// MaxHeaderSize is the largest size of a header in bytes: MaxSlots slots,
	// each with the longest partition.
	MaxHeaderSize = headerFixed + MaxSlots*(refFixed+MaxPartition+SlotMessageSize) + macSize
	// DEKSize is the size of a data key in bytes.
	DEKSize = 32
	// SlotMessageSize is the size of a DEK sealed in a slot, in bytes.
	SlotMessageSize = cobblestone.PrefixSize + DEKSize + cobblestone.TagSize

	magic       = "\xcbCLVG\r\n\x1a"
	version     = 1
	suite       = 1
	anyOf       = 0                  // the one opening rule
	headerFixed = len(magic) + 4 + 2 // magic, version, suite, rule, count, size of the slots
	macSize     = 32
	minSlot     = refFixed + SlotMessageSize
	maxSlot     = minSlot + MaxPartition
)

// Slot is one wrapping of a DEK: for whom, and the sealed DEK.
type Slot struct {
	Ref     Ref
	Message [SlotMessageSize]byte // Cobblestone-256 under the slot key
}

// Header is what anyone can read of an object: ids, no secrets, and nothing of
// it authentic.
type Header struct {
	Version int   // of the format: 1
	Suite   int   // of the algorithms: 1
	Slots   []Ref // whose leaf opens it; Domain is zero, a hidden Partition nil
	Size    int   // of the encoded header, in bytes
}

// Inspect reads the header off the front of an object, or a detached one, and
// says which keys open it. Nothing is verified: take it as a hint for which key
// to ask for. Errors: ErrFormat, ErrIntegrity, those of r.
func Inspect(r io.Reader) (Header, error) {
	raw, err := ReadHeader(r)
	if err != nil {
		return Header{}, err
	}
	slots, err := parseHeader(raw)
	if err != nil {
		return Header{}, err
	}
	h := Header{Version: version, Suite: suite, Size: len(raw)}
	for _, s := range slots {
		h.Slots = append(h.Slots, s.Ref)
	}
	return h, nil
}

// ReadHeader reads exactly the header off the front of an object and checks its
// form. It reads at most MaxHeaderSize bytes. Errors: ErrFormat, ErrIntegrity (the
// object ends within its header, or the header breaks a rule), those of r.
func ReadHeader(r io.Reader) ([]byte, error) {
	fixed := make([]byte, headerFixed)
	n, err := readFull(r, fixed)
	if err != nil {
		return nil, fmt.Errorf("read header: %w", err)
	}
	size, err := parseFixed(fixed[:n])
	if err != nil {
		return nil, err
	}
	raw := make([]byte, headerFixed+size+macSize)
	copy(raw, fixed)
	n, err = readFull(r, raw[headerFixed:])
	if err != nil {
		return nil, fmt.Errorf("read header: %w", err)
	}
	if n < size+macSize {
		return nil, ErrIntegrity
	}
	if _, err := parseHeader(raw); err != nil {
		return nil, err
	}
	return raw, nil
}

// parseFixed checks the first 14 bytes and returns the size of all slots, which
// is below 2^14 whatever the input.
func parseFixed(b []byte) (int, error) {
	known := len(magic) + 3 // up to here: is it this format at all?
	if len(b) < known || string(b[:len(magic)]) != magic {
		return 0, ErrFormat
	}
	if b[len(magic)] != version || b[len(magic)+1] != suite || b[len(magic)+2] != anyOf {
		return 0, ErrVersion
	}
	if len(b) < headerFixed {
		return 0, ErrIntegrity
	}
	count := int(b[known])
	size := int(binary.BigEndian.Uint16(b[known+1:]))
	if count < 1 || count > MaxSlots || size < count*minSlot || size > count*maxSlot {
		return 0, ErrIntegrity
	}
	return size, nil
}

// parseHeader takes a whole header apart, strictly: every byte has its one
// meaning and none is left over.
func parseHeader(raw []byte) ([]Slot, error) {
	size, err := parseFixed(raw)
	if err != nil {
		return nil, err
	}
	if len(raw) != headerFixed+size+macSize {
		return nil, ErrIntegrity
	}
	rest := raw[headerFixed : headerFixed+size]
	slots := make([]Slot, raw[len(magic)+3])
	for i := range slots {
		slots[i].Ref, rest, err = parseRef(rest)
		if err != nil {
			return nil, err
		}
		slots[i].Ref = slots[i].Ref.clone() // raw may change while they are in use
		if len(rest) < SlotMessageSize {
			return nil, ErrIntegrity
		}
		rest = rest[copy(slots[i].Message[:], rest):]
	}
	if len(rest) != 0 || ambiguous(slots) {
		return nil, ErrIntegrity
	}
	return slots, nil
}

// ambiguous reports whether two slots look the same, so that a reader had to
// try both.
func ambiguous(slots []Slot) bool {
	for i := range slots {
		for j := range i {
			if slots[i].Ref.sameWritten(slots[j].Ref) {
				return true
			}
		}
	}
	return false
}

// encodeHeader writes the header of slots and its MAC under the DEK. All slots
// have to be of one domain.
func encodeHeader(slots []Slot, dek *secret.Bytes) ([]byte, error) {
	if err := checkSlots(slots); err != nil {
		return nil, err
	}
	raw := append(make([]byte, 0, MaxHeaderSize), magic...)
	raw = append(raw, version, suite, anyOf, byte(len(slots)), 0, 0)
	for _, s := range slots {
		raw = s.Ref.append(raw)
		raw = append(raw, s.Message[:]...)
	}
	binary.BigEndian.PutUint16(raw[headerFixed-2:], uint16(len(raw)-headerFixed))
	mac := headerMAC(raw, slots[0].Ref.Domain, dek)
	return bytes.Clone(append(raw, mac...)), nil
}

func checkSlots(slots []Slot) error {
	if len(slots) < 1 || len(slots) > MaxSlots {
		return fmt.Errorf("%d slots, want 1 to %d", len(slots), MaxSlots)
	}
	for _, s := range slots {
		if err := s.Ref.check(); err != nil {
			return err
		}
		if s.Ref.Domain != slots[0].Ref.Domain {
			return errors.New("slots are of different domains")
		}
	}
	if ambiguous(slots) {
		return errors.New("two slots name the same key")
	}
	return nil
}

// headerMAC is the MAC over all of the header that stands before it.
func headerMAC(before []byte, domain [32]byte, dek *secret.Bytes) []byte {
	key := kdf.HeaderKey(dek, domain)
	defer key.Wipe()
	mac := secret.NewHMAC(key)
	defer mac.Wipe()
	sum := mac.Sum(before)
	return sum[:macSize]
}

// checkMAC returns ErrIntegrity unless whoever wrote the header had the DEK.
func checkMAC(raw []byte, domain [32]byte, dek *secret.Bytes) error {
	before, got := raw[:len(raw)-macSize], raw[len(raw)-macSize:]
	if subtle.ConstantTimeCompare(headerMAC(before, domain, dek), got) != 1 {
		return ErrIntegrity
	}
	return nil
}
