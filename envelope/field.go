// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"errors"

	"claviger/envelope/internal/cobblestone"
)

const (
	// MaxField is the largest plaintext of a field in bytes.
	MaxField = cobblestone.ChunkSize - 1
	// FieldOverhead is what sealing adds to a field whose partition is empty or
	// hidden, in bytes; else the partition comes on top.
	FieldOverhead = fieldFixed + refFixed + cobblestone.PrefixSize + cobblestone.TagSize

	fieldMagic = 0xcf
	fieldFixed = 2 // magic and version
)

// SealField seals a short value, such as a database column, directly under the
// key: no DEK, no header, at most MaxField bytes. The context is for a field what
// Options.Context is for an object; without the row's id in it, values can be
// moved from row to row. Sealing the same value twice gives different bytes.
func (k *LeafKey) SealField(plaintext, context []byte) ([]byte, error) {
	if len(plaintext) > MaxField {
		return nil, errors.New("field is longer than 16383 bytes")
	}
	out := make([]byte, 0, FieldOverhead+len(k.ref.shown())+len(plaintext))
	out = k.ref.append(append(out, fieldMagic, version))
	bound := k.ref.context("field", context)
	out, err := k.field.Seal(out, plaintext, bound[:])
	return out, sealed(err)
}

// OpenField opens a field of this very key. Errors: ErrFormat; ErrNoKey if it
// names another key, version or partition; ErrIntegrity.
func (k *LeafKey) OpenField(ciphertext, context []byte) ([]byte, error) {
	written, message, err := parseField(ciphertext)
	if err != nil {
		return nil, err
	}
	if !k.ref.opens(written) {
		return nil, ErrNoKey
	}
	bound := k.as(written).context("field", context)
	plain, err := k.field.Open(nil, message, bound[:])
	return plain, opened(err)
}

// InspectField says which key a field names. Nothing is verified. Errors:
// ErrFormat, ErrIntegrity.
func InspectField(ciphertext []byte) (Ref, error) {
	r, _, err := parseField(ciphertext)
	return r.clone(), err
}

// parseField returns a Ref that refers to b.
func parseField(b []byte) (Ref, []byte, error) {
	if len(b) < fieldFixed || b[0] != fieldMagic {
		return Ref{}, nil, ErrFormat
	}
	if b[1] != version {
		return Ref{}, nil, ErrVersion
	}
	r, message, err := parseRef(b[fieldFixed:])
	if err != nil {
		return Ref{}, nil, err
	}
	size := len(message) - cobblestone.PrefixSize - cobblestone.TagSize
	if size < 0 || size > MaxField {
		return Ref{}, nil, ErrIntegrity
	}
	return r, message, nil
}
