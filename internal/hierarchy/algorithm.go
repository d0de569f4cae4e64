// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"

	"claviger/internal/secret"
)

// Algorithms of keys (design §5).
const (
	AlgAES256  = "aes256"      // leaves for data and wrap
	AlgHMAC    = "hmac-sha256" // leaves for mac
	AlgEd25519 = "ed25519"     // leaves for sign are RFC 8032 seeds
	AlgP256    = "ecdsa-p256"  // leaves for sign are seeds of a scalar
	AlgRSA2048 = "rsa-2048"    // always stored
	AlgRSA3072 = "rsa-3072"
	AlgRSA4096 = "rsa-4096"
)

// Limits of imported HMAC keys and of any material, in bytes. The PKCS #8 form
// of a 4,096-bit RSA key takes about 2,400.
const (
	minHMACMaterial = 16
	maxHMACMaterial = 1024
	maxMaterial     = 4096
)

// algorithm is what a key may be used for and how its material looks.
type algorithm struct {
	name     string
	purposes []string
	schemes  []string // the first is the default
	rsaBits  int      // 0: not RSA
}

// algorithm looks up the algorithm of v and checks its number.
func (v *Version) algorithm() (algorithm, error) {
	if v.Number == 0 {
		return algorithm{}, fmt.Errorf("%w version number: the first is 1", ErrInvalid)
	}
	a := algorithm{name: v.Algorithm, purposes: []string{PurposeSign}}
	switch v.Algorithm {
	case AlgAES256:
		a.purposes = []string{PurposeData, PurposeWrap, PurposeSecret}
	case AlgHMAC:
		a.purposes = []string{PurposeMAC}
	case AlgEd25519:
		a.schemes = []string{SchemeEd25519}
	case AlgP256:
		a.schemes = []string{SchemeECDSA}
	case AlgRSA2048, AlgRSA3072, AlgRSA4096:
		a.schemes = []string{SchemePSS, SchemePKCS1}
		a.purposes = []string{PurposeSign, PurposeWrap}
		a.rsaBits = map[string]int{AlgRSA2048: 2048, AlgRSA3072: 3072, AlgRSA4096: 4096}[v.Algorithm]
	default:
		return algorithm{}, fmt.Errorf("%w: unknown algorithm", ErrInvalid)
	}
	return a, nil
}

// checkUse reports whether a version may be used so. Stored versions have no
// partitions.
func (v *Version) checkUse(purpose string, partition []byte) error {
	alg, err := v.algorithm()
	if err != nil {
		return err
	}
	if !slices.Contains(alg.purposes, purpose) {
		return fmt.Errorf("%w: algorithm %s has no such purpose", ErrInvalid, alg.name)
	}
	if len(partition) > MaxPartition {
		return fmt.Errorf("%w: partition of %d bytes, at most %d", ErrInvalid, len(partition), MaxPartition)
	}
	if v.Stored && len(partition) > 0 {
		return fmt.Errorf("%w: stored material has no partitions", ErrInvalid)
	}
	return nil
}

// checkMaterial reports whether material is a key of this algorithm.
func (a *algorithm) checkMaterial(material *secret.Bytes) error {
	n := material.Len()
	switch {
	case n > maxMaterial:
		return fmt.Errorf("%w: material of %d bytes, at most %d", ErrInvalid, n, maxMaterial)
	case a.name == AlgAES256 && n != keySize:
		return fmt.Errorf("%w: %s material has %d bytes, not %d", ErrInvalid, a.name, n, keySize)
	case a.name == AlgHMAC && (n < minHMACMaterial || n > maxHMACMaterial):
		return fmt.Errorf("%w: %s material has %d bytes, not %d to %d", ErrInvalid, a.name, n, minHMACMaterial, maxHMACMaterial)
	case a.name == AlgAES256 || a.name == AlgHMAC:
		return nil
	}
	key, err := a.parse(material)
	if err != nil {
		return err
	}
	wipeSigner(key)
	return nil
}

// parse reads the PKCS #8 form of a private key of this algorithm. The parser's
// error could quote key bytes, so it is not passed on.
func (a *algorithm) parse(material *secret.Bytes) (crypto.Signer, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(material.Expose())
	if err != nil {
		return nil, fmt.Errorf("%w: material is not PKCS #8", ErrInvalid)
	}
	switch key := parsed.(type) {
	case ed25519.PrivateKey:
		if a.name == AlgEd25519 {
			return key, nil
		}
	case *ecdsa.PrivateKey:
		if a.name == AlgP256 && key.Curve == elliptic.P256() {
			return key, nil
		}
	case *rsa.PrivateKey:
		if a.rsaBits == key.N.BitLen() {
			return key, nil
		}
	}
	return nil, fmt.Errorf("%w: material is not a key of algorithm %s", ErrInvalid, a.name)
}

// generateRSA makes a key pair in PKCS #8.
func generateRSA(bits int) (*secret.Bytes, error) {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return nil, fmt.Errorf("generate RSA key: %w", err)
	}
	defer wipeSigner(key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode RSA key: %w", err)
	}
	return secret.Take(der), nil
}

// wipeSigner overwrites what the standard library lets us reach of a parsed
// private key. Precomputed values and copies inside its packages stay until the
// garbage collector reuses them; the specification says so.
func wipeSigner(key crypto.Signer) {
	switch k := key.(type) {
	case ed25519.PrivateKey:
		secret.Wipe(k)
	case *ecdsa.PrivateKey:
		//lint:ignore SA1019 what replaces D gives copies, and only the original is worth wiping
		clear(k.D.Bits())
	case *rsa.PrivateKey:
		clear(k.D.Bits())
		for _, p := range k.Primes {
			clear(p.Bits())
		}
	}
}
