// SPDX-License-Identifier: Apache-2.0

package xks

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"

	"claviger/internal/keyserver/keywork"
)

// The metadata that goes with a ciphertext, the most that the API has room for:
//
//	format (1) ‖ key version (4, big-endian) ‖ salt (15)
const (
	formatRaw    = 1
	metadataSize = 1 + 4 + keywork.RawSalt
)

// sealed is a ciphertext in the parts that KMS keeps.
type sealed struct {
	ciphertext, iv, tag, metadata []byte
}

var errCiphertext = errors.New("it is no ciphertext of this door")

// split takes apart what Use seal gives: salt ‖ nonce ‖ ciphertext ‖ tag.
func split(raw []byte, version uint64) (sealed, error) {
	if len(raw) < keywork.RawOverhead || version > math.MaxUint32 {
		return sealed{}, errCiphertext
	}
	metadata := append(make([]byte, 0, metadataSize), formatRaw)
	metadata = binary.BigEndian.AppendUint32(metadata, uint32(version))
	metadata = append(metadata, raw[:keywork.RawSalt]...)
	rest, tag := raw[keywork.RawSalt:len(raw)-keywork.RawTag], raw[len(raw)-keywork.RawTag:]
	return sealed{ciphertext: rest[keywork.RawNonce:], iv: rest[:keywork.RawNonce], tag: tag, metadata: metadata}, nil
}

// join puts together what Use open takes, and says which version it is of.
func (s sealed) join() (raw []byte, version uint64, err error) {
	if len(s.metadata) != metadataSize || s.metadata[0] != formatRaw || len(s.iv) != keywork.RawNonce || len(s.tag) != keywork.RawTag {
		return nil, 0, errCiphertext
	}
	version = uint64(binary.BigEndian.Uint32(s.metadata[1:5]))
	if version == 0 {
		return nil, 0, errCiphertext
	}
	raw = make([]byte, 0, keywork.RawOverhead+len(s.ciphertext))
	raw = append(append(raw, s.metadata[5:]...), s.iv...)
	return append(append(raw, s.ciphertext...), s.tag...), version, nil
}

// bound is what a ciphertext is bound to: what KMS gave as additional data. Format,
// version and salt need no place in it, for they decide the key. The length in
// front keeps what may follow in a later format apart.
func bound(aad []byte) []byte {
	out := append(make([]byte, 0, 16+len(aad)), "claviger xks 1\x00"...)
	return append(binary.BigEndian.AppendUint16(out, uint16(len(aad))), aad...)
}

// integrity is the ciphertext data integrity value, computed before the trial
// decryption that it vouches for.
func (s sealed) integrity(aad []byte) string {
	h := sha256.New()
	for _, part := range [][]byte{aad, s.metadata, s.iv, s.ciphertext, s.tag} {
		h.Write(part)
	}
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}
