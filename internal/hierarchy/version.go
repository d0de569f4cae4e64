// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"

	"claviger/internal/kdf"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// Version is what the log holds of a key version. An erasure changes Segment and
// ErasureEpoch; [Switch.Apply] tells how.
type Version struct {
	_              struct{} `cbor:",toarray"`
	KeyID          [16]byte
	Number         uint64   // from 1
	Algorithm      string   // one of the Alg constants
	Stored         bool     // the key is stored material, not derived
	RootGeneration uint64   // whose DS it is derived from; 0 if stored
	Segment        [16]byte // holds its secret; zero: erased
	ErasureEpoch   uint64   // the segment's key is wrapped under the EEK of this epoch
	VC             [32]byte // version commitment
}

// VersionRef names a version.
type VersionRef struct {
	_      struct{} `cbor:",toarray"`
	KeyID  [16]byte
	Number uint64
}

// Ref names v.
func (v Version) Ref() VersionRef { return VersionRef{KeyID: v.KeyID, Number: v.Number} }

// Purposes of leaves (design §5).
const (
	PurposeData = "data" // encryption of data
	PurposeWrap = "wrap" // wrapping of other keys
	PurposeMAC  = "mac"
	PurposeSign = "sign"

	// PurposeSecret is for versioned secrets, and no purpose of requests: whoever may
	// use the key that backs a secret, or is handed it, can't open the document.
	PurposeSecret = "secret"
)

// MaxPartition is the length of the longest partition in bytes.
const MaxPartition = 256

// NewVersion makes a version of a key and seals its secret into this server's
// segment; the secret is durable when it returns. For the RSA algorithms it
// generates the key pair, which takes up to seconds. The version exists only
// when the log holds it: after a switch the entry would be void, and so would be
// one made by a server that answers ErrSwitched; then the caller makes it anew.
func (h *Hierarchy) NewVersion(ctx context.Context, keyID [16]byte, number uint64, algorithm string) (Version, error) {
	v := Version{KeyID: keyID, Number: number, Algorithm: algorithm}
	alg, err := v.algorithm()
	if err != nil {
		return Version{}, err
	}
	if alg.rsaBits != 0 {
		material, err := generateRSA(alg.rsaBits)
		if err != nil {
			return Version{}, err
		}
		defer material.Wipe()
		return h.addStored(ctx, v, material)
	}
	v.RootGeneration = h.o.Generation
	r := secret.Random(keySize)
	defer r.Wipe()
	k, err := h.derive(&v, r)
	if err != nil {
		return Version{}, err
	}
	defer k.Wipe()
	v.VC = kdf.VersionCommit(k, h.o.Domain)
	return h.add(ctx, v, r)
}

// Import makes a version from material that was made elsewhere: 32 bytes for
// aes256, 16 to 1,024 bytes for hmac-sha256, PKCS #8 (RFC 5958) for the
// signature algorithms. The caller keeps and wipes material.
func (h *Hierarchy) Import(ctx context.Context, keyID [16]byte, number uint64, algorithm string, material *secret.Bytes) (Version, error) {
	v := Version{KeyID: keyID, Number: number, Algorithm: algorithm}
	alg, err := v.algorithm()
	if err != nil {
		return Version{}, err
	}
	if err := alg.checkMaterial(material); err != nil {
		return Version{}, err
	}
	return h.addStored(ctx, v, material)
}

// addStored seals R and the material beside it as one item.
func (h *Hierarchy) addStored(ctx context.Context, v Version, material *secret.Bytes) (Version, error) {
	v.Stored = true
	r := secret.Random(keySize)
	defer r.Wipe()
	item := secret.New(keySize + material.Len())
	defer item.Wipe()
	copy(item.Expose()[copy(item.Expose(), r.Expose()):], material.Expose())
	k := storedKey(item)
	defer k.Wipe()
	v.VC = kdf.VersionCommit(k, h.o.Domain)
	return h.add(ctx, v, item)
}

// add seals the item of a new version into the open segment.
func (h *Hierarchy) add(ctx context.Context, v Version, item *secret.Bytes) (Version, error) {
	h.openMu.Lock()
	defer h.openMu.Unlock()
	s, err := h.snapshot()
	if err != nil {
		return Version{}, err
	}
	defer s.wipe()
	open, err := h.openForWriting(ctx, s)
	if err != nil {
		return Version{}, err
	}
	v.Segment, v.ErasureEpoch = open.id, s.at.Number
	open.count++ // also if Put fails: it may have landed
	if err := h.putItem(ctx, open.id, open.key, &v, item); err != nil {
		return Version{}, err
	}
	if !h.current(s) {
		return Version{}, ErrSwitched
	}
	return v, nil
}

// Leaf derives the key of a version for a purpose and a partition: what a
// release carries. 32 bytes; the caller wipes it. Stored versions have none
// (ErrStored): what is released of them is [Hierarchy.Material].
func (h *Hierarchy) Leaf(ctx context.Context, v Version, purpose string, partition []byte) (*secret.Bytes, error) {
	if v.Stored {
		return nil, ErrStored
	}
	if err := v.checkUse(purpose, partition); err != nil {
		return nil, err
	}
	k, err := h.versionKey(ctx, &v)
	if err != nil {
		return nil, err
	}
	defer k.Wipe()
	return kdf.Leaf(k, h.o.Domain, purpose, partition), nil
}

// Material returns the stored material of a version, checked against its
// commitment; the caller wipes it. ErrInvalid for a derived version.
func (h *Hierarchy) Material(ctx context.Context, v Version) (*secret.Bytes, error) {
	if !v.Stored {
		return nil, fmt.Errorf("%w: version is derived, it has no stored material", ErrInvalid)
	}
	item, k, err := h.storedItem(ctx, &v)
	if err != nil {
		return nil, err
	}
	defer item.Wipe()
	defer k.Wipe()
	out := secret.New(item.Len() - keySize)
	copy(out.Expose(), item.Expose()[keySize:])
	return out, nil
}

// Commit computes kc, which stands in the release and the audit leaf: of the
// leaf for a derived version, of R and the material for a stored one, which has
// no purpose or partition in it.
func (h *Hierarchy) Commit(ctx context.Context, v Version, purpose string, partition []byte) ([32]byte, error) {
	if v.Stored {
		item, k, err := h.storedItem(ctx, &v)
		if err != nil {
			return [32]byte{}, err
		}
		defer item.Wipe()
		defer k.Wipe()
		return kdf.Commit(k, h.o.Domain), nil
	}
	leaf, err := h.Leaf(ctx, v, purpose, partition)
	if err != nil {
		return [32]byte{}, err
	}
	defer leaf.Wipe()
	return kdf.Commit(leaf, h.o.Domain), nil
}

// versionKey returns K of a derived version, from the cache or the slots.
func (h *Hierarchy) versionKey(ctx context.Context, v *Version) (*secret.Bytes, error) {
	if v.Segment == [16]byte{} {
		return nil, ErrErased
	}
	// The name holds everything that K depends on, so that a version with one
	// field changed doesn't find the key of the right one.
	name := wire.Sum("cache version", v.VC[:], v.KeyID[:], u64(v.Number), u64(v.RootGeneration), []byte(v.Algorithm))
	if k := h.cache.get(name); k != nil {
		return k, nil
	}
	s, err := h.snapshot()
	if err != nil {
		return nil, err
	}
	defer s.wipe()
	r, err := h.item(ctx, s, v)
	if err != nil {
		return nil, err
	}
	defer r.Wipe()
	k, err := h.derive(v, r)
	if err != nil {
		return nil, err
	}
	if err := h.checkCommitment(v, k); err != nil {
		k.Wipe()
		return nil, err
	}
	h.remember(s, name, k)
	return k, nil
}

// storedItem returns item (R, material) and the key of a stored version. Both
// are the caller's to wipe.
func (h *Hierarchy) storedItem(ctx context.Context, v *Version) (item, k *secret.Bytes, err error) {
	s, err := h.snapshot()
	if err != nil {
		return nil, nil, err
	}
	defer s.wipe()
	if item, err = h.item(ctx, s, v); err != nil {
		return nil, nil, err
	}
	if item.Len() <= keySize {
		item.Wipe()
		return nil, nil, fmt.Errorf("%w item of a stored version", ErrInvalid)
	}
	k = storedKey(item)
	if err := h.checkCommitment(v, k); err != nil {
		item.Wipe()
		k.Wipe()
		return nil, nil, err
	}
	return item, k, nil
}

// item unwraps what a version's segment holds for it.
func (h *Hierarchy) item(ctx context.Context, s *epochState, v *Version) (*secret.Bytes, error) {
	if v.Segment == [16]byte{} {
		return nil, ErrErased
	}
	if v.ErasureEpoch > s.at.Number {
		return nil, fmt.Errorf("%w: version lies in erasure epoch %d, this server in %d", ErrSwitched, v.ErasureEpoch, s.at.Number)
	}
	key, err := h.segmentKey(ctx, s, v.Segment)
	if errors.Is(err, ErrErased) && v.ErasureEpoch == s.at.Number {
		return nil, fmt.Errorf("%w: no key of its segment", ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	defer key.Wipe()
	return h.loadItem(ctx, v.Segment, key, v)
}

// checkCommitment compares k with the commitment in the log.
func (h *Hierarchy) checkCommitment(v *Version, k *secret.Bytes) error {
	vc := kdf.VersionCommit(k, h.o.Domain)
	if subtle.ConstantTimeCompare(vc[:], v.VC[:]) != 1 {
		return ErrCommitment
	}
	return nil
}

// derive computes K of a derived version from DS and R.
func (h *Hierarchy) derive(v *Version, r *secret.Bytes) (*secret.Bytes, error) {
	ds, ok := h.roots[v.RootGeneration]
	if !ok {
		return nil, fmt.Errorf("%w: no custody of root generation %d", ErrInvalid, v.RootGeneration)
	}
	if r.Len() != keySize {
		return nil, fmt.Errorf("%w version secret", ErrInvalid)
	}
	return kdf.Version(ds, r, h.o.Domain, v.KeyID, v.Number, v.Algorithm), nil
}

// storedKey is Extract(salt R, material) over an item that holds both.
func storedKey(item *secret.Bytes) *secret.Bytes {
	material := secret.New(item.Len() - keySize)
	defer material.Wipe()
	copy(material.Expose(), item.Expose()[keySize:])
	r := secret.New(keySize)
	defer r.Wipe()
	copy(r.Expose(), item.Expose())
	return kdf.Material(r, material)
}
