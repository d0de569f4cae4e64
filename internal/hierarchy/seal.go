// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"

	"claviger/internal/kdf"
	"claviger/internal/secret"
)

// Sizes of a sealed blob:
//
//	version (1) | salt (32) | commitment (32) | AES-256-GCM ciphertext and tag
//
// Every blob has a key of its own, expanded from the sealing key, a random salt
// and everything the blob is bound to; so the nonce is zero and can't repeat,
// and there is no bound on the number of blobs under one sealing key. The
// commitment comes out of the same expansion: no blob opens under two keys or in
// two places (AES-GCM alone doesn't promise that).
const (
	sealVersion  = 1
	saltSize     = 32
	commitSize   = 32
	tagSize      = 16
	sealHeader   = 1 + saltSize + commitSize
	sealOverhead = sealHeader + tagSize
	keySize      = 32
	nonceSize    = 12
)

// Kinds of sealed blobs. A blob of one kind never opens as another.
const (
	kindEpochFile   = "epoch file"
	kindJoinFile    = "join file"
	kindEEK         = "eek"
	kindSegmentKey  = "segment key"
	kindVersion     = "version secret"
	kindMaterial    = "material"
	kindBackupKeys  = "backup keys"
	kindBackupChunk = "backup chunk"
)

// errSealed says that a blob doesn't open: another key, another place, or
// changed bytes. Which of them is not told.
var errSealed = errors.New("sealed value does not open")

// place is all that a blob is bound to besides its sealing key.
type place struct {
	domain [32]byte
	kind   string
	fields [][]byte
}

// seal seals plaintext in its place under key, which is 32 bytes. The result is
// sealOverhead bytes longer than plaintext.
func seal(key *secret.Bytes, at place, plaintext []byte) []byte {
	blob := make([]byte, sealHeader, len(plaintext)+sealOverhead)
	blob[0] = sealVersion
	salt := blob[1 : 1+saltSize]
	rand.Read(salt)
	okm := sealKey(key, at, salt)
	defer okm.Wipe()
	copy(blob[1+saltSize:], okm.Expose()[keySize:])
	aead := blobAEAD(okm)
	defer aead.Wipe()
	return aead.Seal(blob, make([]byte, nonceSize), plaintext, nil)
}

// unseal opens what seal made. The plaintext is written straight into protected
// memory; the caller wipes it.
func unseal(key *secret.Bytes, at place, blob []byte) (*secret.Bytes, error) {
	if len(blob) <= sealOverhead {
		return nil, fmt.Errorf("%w: too short", errSealed)
	}
	if blob[0] != sealVersion {
		return nil, fmt.Errorf("%w: unknown version %d", errSealed, blob[0])
	}
	okm := sealKey(key, at, blob[1:1+saltSize])
	defer okm.Wipe()
	// Security: without this comparison a blob could be made that opens under
	// two keys (TestBlobCommitsToKey).
	if subtle.ConstantTimeCompare(okm.Expose()[keySize:], blob[1+saltSize:sealHeader]) != 1 {
		return nil, errSealed
	}
	aead := blobAEAD(okm)
	defer aead.Wipe()
	plaintext := secret.New(len(blob) - sealOverhead)
	opened, err := aead.Open(plaintext.Expose()[:0], make([]byte, nonceSize), blob[sealHeader:], nil)
	if err != nil || len(opened) != plaintext.Len() {
		plaintext.Wipe()
		return nil, errSealed
	}
	return plaintext, nil
}

// sealKey expands what one blob needs: its key, then its commitment. The caller
// wipes it.
func sealKey(key *secret.Bytes, at place, salt []byte) *secret.Bytes {
	fields := append([][]byte{[]byte(at.kind), salt}, at.fields...)
	return secret.Expand(key, kdf.Info("seal", at.domain, fields...), keySize+commitSize)
}

// blobAEAD is the AEAD of one blob. It takes the key out of okm, the result of
// sealKey, and so can be called once.
func blobAEAD(okm *secret.Bytes) *secret.AEAD {
	blobKey := secret.Take(okm.Expose()[:keySize])
	defer blobKey.Wipe()
	aead, err := secret.NewAEAD(blobKey)
	if err != nil {
		panic("hierarchy: AEAD refuses a 32-byte key: " + err.Error())
	}
	return aead
}
