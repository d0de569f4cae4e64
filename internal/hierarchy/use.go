// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"claviger/internal/kdf"
	"claviger/internal/secret"
)

// Signature schemes. Every one hashes the message itself.
const (
	SchemeEd25519 = "ed25519"             // RFC 8032, 64 bytes
	SchemeECDSA   = "ecdsa-p256-sha256"   // FIPS 186-5, ASN.1 DER
	SchemePSS     = "rsa-pss-sha256"      // RFC 8017, salt of 32 bytes
	SchemePKCS1   = "rsa-pkcs1v15-sha256" // RFC 8017
)

// ErrSignature: a signature or MAC does not verify.
var ErrSignature = errors.New("signature does not verify")

// Use says which key of a version signs or authenticates, and how.
type Use struct {
	Partition []byte // 0 to MaxPartition bytes; empty for stored versions
	Scheme    string // "": the algorithm's default
	Prehashed bool   // the message is a SHA-256 digest already, 32 bytes
}

// Sign signs a message with the signing key of a version and partition.
func (h *Hierarchy) Sign(ctx context.Context, v Version, u Use, message []byte) ([]byte, error) {
	scheme, err := v.scheme(u)
	if err != nil {
		return nil, err
	}
	key, err := h.signer(ctx, &v, u.Partition)
	if err != nil {
		return nil, err
	}
	defer wipeSigner(key)
	digest, err := u.digest(scheme, message)
	if err != nil {
		return nil, err
	}
	var signature []byte
	switch scheme {
	case SchemeEd25519:
		signature, err = key.Sign(rand.Reader, message, crypto.Hash(0))
	case SchemePSS:
		signature, err = key.Sign(rand.Reader, digest, pssOptions())
	default:
		signature, err = key.Sign(rand.Reader, digest, crypto.SHA256)
	}
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return signature, nil
}

// PublicKey returns the public half of the signing key of a version and
// partition: ed25519.PublicKey, *ecdsa.PublicKey or *rsa.PublicKey.
func (h *Hierarchy) PublicKey(ctx context.Context, v Version, partition []byte) (crypto.PublicKey, error) {
	key, err := h.signer(ctx, &v, partition)
	if err != nil {
		return nil, err
	}
	defer wipeSigner(key)
	if pub, ok := key.Public().(ed25519.PublicKey); ok {
		return slices.Clone(pub), nil // it shares memory with what is wiped
	}
	return key.Public(), nil
}

// Verify checks a signature that [Hierarchy.Sign] made. ErrSignature if it is
// not one.
func (h *Hierarchy) Verify(ctx context.Context, v Version, u Use, message, signature []byte) error {
	scheme, err := v.scheme(u)
	if err != nil {
		return err
	}
	public, err := h.PublicKey(ctx, v, u.Partition)
	if err != nil {
		return err
	}
	digest, err := u.digest(scheme, message)
	if err != nil {
		return err
	}
	ok := false
	switch pub := public.(type) {
	case ed25519.PublicKey:
		ok = ed25519.Verify(pub, message, signature)
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(pub, digest, signature)
	case *rsa.PublicKey:
		if scheme == SchemePSS {
			ok = rsa.VerifyPSS(pub, crypto.SHA256, digest, signature, pssOptions()) == nil
		} else {
			ok = rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest, signature) == nil
		}
	}
	if !ok {
		return ErrSignature
	}
	return nil
}

// digest is what the scheme signs of a message, SHA-256 of it; Ed25519 takes the
// message itself, and nothing that was hashed before (RFC 8032).
func (u Use) digest(scheme string, message []byte) ([]byte, error) {
	switch {
	case !u.Prehashed:
		sum := sha256.Sum256(message)
		return sum[:], nil
	case scheme == SchemeEd25519:
		return nil, fmt.Errorf("%w: %s signs messages, not digests", ErrInvalid, scheme)
	case len(message) != sha256.Size:
		return nil, fmt.Errorf("%w: a digest of %d bytes, not %d", ErrInvalid, len(message), sha256.Size)
	}
	return message, nil
}

// MAC computes HMAC-SHA256 (RFC 2104) of a message under the mac leaf of an
// hmac-sha256 version and partition, or under its stored material.
func (h *Hierarchy) MAC(ctx context.Context, v Version, partition, message []byte) ([32]byte, error) {
	if err := v.checkUse(PurposeMAC, partition); err != nil {
		return [32]byte{}, err
	}
	key, err := h.useKey(ctx, &v, PurposeMAC, partition)
	if err != nil {
		return [32]byte{}, err
	}
	defer key.Wipe()
	return secret.HMACSHA256(key, message), nil
}

// VerifyMAC checks what [Hierarchy.MAC] computed, in constant time. ErrSignature
// if it is another.
func (h *Hierarchy) VerifyMAC(ctx context.Context, v Version, partition, message, mac []byte) error {
	want, err := h.MAC(ctx, v, partition, message)
	if err != nil {
		return err
	}
	if !hmac.Equal(want[:], mac) {
		return ErrSignature
	}
	return nil
}

// scheme picks the signature scheme.
func (v *Version) scheme(u Use) (string, error) {
	alg, err := v.algorithm()
	if err != nil {
		return "", err
	}
	if len(alg.schemes) == 0 {
		return "", fmt.Errorf("%w: algorithm %s doesn't sign", ErrInvalid, alg.name)
	}
	if u.Scheme == "" {
		return alg.schemes[0], nil
	}
	if !slices.Contains(alg.schemes, u.Scheme) {
		return "", fmt.Errorf("%w: algorithm %s has no such scheme", ErrInvalid, alg.name)
	}
	return u.Scheme, nil
}

// useKey returns the leaf or the material that an operation uses.
func (h *Hierarchy) useKey(ctx context.Context, v *Version, purpose string, partition []byte) (*secret.Bytes, error) {
	if v.Stored {
		return h.Material(ctx, *v)
	}
	return h.Leaf(ctx, *v, purpose, partition)
}

// signer builds the private key of a version and partition.
func (h *Hierarchy) signer(ctx context.Context, v *Version, partition []byte) (crypto.Signer, error) {
	if err := v.checkUse(PurposeSign, partition); err != nil {
		return nil, err
	}
	key, err := h.useKey(ctx, v, PurposeSign, partition)
	if err != nil {
		return nil, err
	}
	defer key.Wipe()
	if v.Stored {
		alg, err := v.algorithm()
		if err != nil {
			return nil, err
		}
		return alg.parse(key)
	}
	if v.Algorithm == AlgEd25519 {
		return ed25519.NewKeyFromSeed(key.Expose()), nil
	}
	return h.p256(key)
}

// p256 derives a P-256 key from a seed by testing candidates (FIPS 186-5, A.2.2):
// the first of Expand(seed, "ecdsa-p256", counter) that lies in [1, n-1]. All but
// one in 2^32 seeds give it at counter 0.
func (h *Hierarchy) p256(seed *secret.Bytes) (*ecdsa.PrivateKey, error) {
	for counter := range uint32(8) {
		candidate := kdf.Expand(seed, h.o.Domain, "ecdsa-p256", binary.BigEndian.AppendUint32(nil, counter))
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), candidate.Expose())
		candidate.Wipe()
		if err == nil {
			return key, nil
		}
	}
	return nil, errors.New("derive ecdsa-p256 key: no candidate fits")
}

func pssOptions() *rsa.PSSOptions {
	return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
}
