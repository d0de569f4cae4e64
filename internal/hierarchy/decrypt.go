// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // OAEP's mask and label hash, not a signature: collisions don't matter to it
	"crypto/sha256"
	"fmt"
	"hash"
)

// Schemes of public-key encryption (RFC 8017, section 7.1), with an empty label.
const (
	SchemeOAEP256 = "oaep-sha256"
	SchemeOAEP1   = "oaep-sha1" // for protocols that know nothing else; refused under GODEBUG=fips140=only
)

// Decrypt opens what was encrypted to the public half of an RSA version. Scheme
// "" means SchemeOAEP256. The plaintext lies in ordinary memory; the caller wipes
// it. ErrInvalid, which doesn't say why, if it does not open.
func (h *Hierarchy) Decrypt(ctx context.Context, v Version, scheme string, ciphertext []byte) ([]byte, error) {
	var hashed func() hash.Hash
	switch scheme {
	case "", SchemeOAEP256:
		hashed = sha256.New
	case SchemeOAEP1:
		hashed = sha1.New
	default:
		return nil, fmt.Errorf("%w: there is no encryption scheme of this name", ErrInvalid)
	}
	alg, err := v.algorithm()
	if err != nil {
		return nil, err
	}
	if alg.rsaBits == 0 {
		return nil, fmt.Errorf("%w: algorithm %s has no private key that decrypts", ErrInvalid, alg.name)
	}
	material, err := h.Material(ctx, v)
	if err != nil {
		return nil, err
	}
	defer material.Wipe()
	key, err := alg.parse(material)
	if err != nil {
		return nil, err
	}
	defer wipeSigner(key)
	plain, err := rsa.DecryptOAEP(hashed(), rand.Reader, key.(*rsa.PrivateKey), ciphertext, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: the ciphertext does not open", ErrInvalid)
	}
	return plain, nil
}
