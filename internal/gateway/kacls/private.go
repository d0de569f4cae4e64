// SPDX-License-Identifier: Apache-2.0

package kacls

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"

	"claviger/internal/authn"
	"claviger/internal/gateway"
	"claviger/internal/secret"
)

// Sizes of users' keys that are taken, in bits.
const (
	minRSA = 2048
	maxRSA = 4096
)

// parsePEM reads a private key as tools write it, and returns it in PKCS #8 with the
// hash of its public half. The caller wipes the key.
func parsePEM(text []byte) (pkcs8, spki []byte, err error) {
	block, rest := pem.Decode(text)
	if block == nil || len(block.Headers) > 0 || len(trimmed(rest)) > 0 {
		return nil, nil, invalid("private_key is not one PEM block without headers")
	}
	defer secret.Wipe(block.Bytes)
	var key any
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, nil, invalid("private_key is no unencrypted private key")
	}
	if err != nil {
		return nil, nil, invalid("private_key can't be read")
	}
	signer, ok := usable(key)
	defer forget(key)
	if !ok {
		return nil, nil, invalid("private_key is neither RSA of 2,048 to 4,096 bits nor EC of P-256, P-384 or P-521")
	}
	if spki, err = spkiHash(signer.Public()); err != nil {
		return nil, nil, err
	}
	if pkcs8, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		return nil, nil, invalid("private_key can't be kept")
	}
	return pkcs8, spki, nil
}

func trimmed(p []byte) []byte {
	for len(p) > 0 && (p[0] == '\n' || p[0] == '\r' || p[0] == ' ' || p[0] == '\t') {
		p = p[1:]
	}
	return p
}

// usable is a key of a kind and size that is taken.
func usable(key any) (crypto.Signer, bool) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return k, k.N.BitLen() >= minRSA && k.N.BitLen() <= maxRSA
	case *ecdsa.PrivateKey:
		return k, k.Curve.Params().BitSize >= 256
	}
	return nil, false
}

// forget wipes what can be reached of an RSA key; the standard library keeps copies
// that can't, and those of an EC key.
func forget(key any) {
	k, ok := key.(*rsa.PrivateKey)
	if !ok {
		return
	}
	for _, n := range append(k.Primes, k.D, k.Precomputed.Dp, k.Precomputed.Dq, k.Precomputed.Qinv) {
		if n != nil {
			clear(n.Bits())
		}
	}
}

// spkiHash is the SHA-256 of a public key (SubjectPublicKeyInfo, DER).
func spkiHash(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, invalid("the public half of private_key can't be written")
	}
	sum := sha256.Sum256(der)
	return sum[:], nil
}

// readSPKI reads the hash that says which private key is meant.
func readSPKI(hash, algorithm string) ([]byte, error) {
	sum, err := unpadded("spki_hash", hash, sha256.Size)
	if err != nil || len(sum) != sha256.Size || algorithm != "SHA-256" {
		return nil, invalid("spki_hash is no SHA-256 of a public key")
	}
	return sum, nil
}

// wrapPrivateKey wraps a user's key, for an admin who then gives it to Google.
func (d *door) wrapPrivateKey(ctx context.Context, r *asked) (*gateway.Response, error) {
	caller, err := d.admin(ctx, r)
	if err != nil {
		return nil, err
	}
	if !named(r.Perimeter, true) || len(r.PrivateKey) > maxPrivatePEM {
		return nil, invalid("perimeter_id or private_key is too long")
	}
	text := []byte(r.PrivateKey)
	defer secret.Wipe(text)
	pkcs8, spki, err := parsePEM(text)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(pkcs8)
	r.Note("spki_hash", encode(spki))
	wrapped, err := d.seal(ctx, caller, r, thing{label: labelPrivate, name: encode(spki), perimeter: r.Perimeter, key: pkcs8})
	if err != nil {
		return nil, err
	}
	return d.answer(r.Request.Request, struct {
		Wrapped []byte `json:"wrapped_private_key"`
	}{wrapped}, false)
}

// withPrivateKey opens the private key whose public half has a hash, and does one
// thing with it.
func (d *door) withPrivateKey(ctx context.Context, caller *authn.Caller, r *asked, spki []byte, do func(crypto.Signer) error) error {
	r.Note("spki_hash", encode(spki))
	if len(r.WrappedPrivate) > maxPrivate {
		return invalid("wrapped_private_key is longer than 8 KB")
	}
	wrapped, err := binary("wrapped_private_key", r.WrappedPrivate, maxPrivate)
	if err != nil {
		return err
	}
	t := thing{label: labelPrivate, name: encode(spki)}
	if err := d.open(ctx, caller, r, &t, wrapped); err != nil {
		return err
	}
	defer secret.Wipe(t.key)
	key, err := x509.ParsePKCS8PrivateKey(t.key)
	if err != nil {
		return invalid("the wrapped private key can't be read")
	}
	defer forget(key)
	signer, ok := usable(key)
	if !ok {
		return invalid("the wrapped private key is of a kind that is not used")
	}
	return do(signer)
}

// mail judges the tokens of a user of Gmail. Google's says which private key it is.
func (d *door) mail(ctx context.Context, r *asked, role string) (*authn.Caller, []byte, error) {
	g, caller, err := d.user(ctx, r, role)
	if err != nil {
		return nil, nil, err
	}
	spki, err := readSPKI(g.spki, g.spkiAlgorithm)
	if err != nil {
		return nil, nil, forbidden("the authorization names no private key")
	}
	if g.perimeter != "" {
		if err := d.inPerimeter(g.perimeter); err != nil {
			return nil, nil, err
		}
	}
	return caller, spki, nil
}

// privateKeySign signs the digest of a message as its sender.
func (d *door) privateKeySign(ctx context.Context, r *asked) (*gateway.Response, error) {
	caller, spki, err := d.mail(ctx, r, roleSigner)
	if err != nil {
		return nil, err
	}
	digest, err := unpadded("digest", r.Digest, maxDigest)
	if err != nil {
		return nil, err
	}
	scheme, err := signatureOf(r.Algorithm, len(digest), r.Salt)
	if err != nil {
		return nil, err
	}
	var signature []byte
	err = d.withPrivateKey(ctx, caller, r, spki, func(key crypto.Signer) (err error) {
		signature, err = scheme.sign(key, digest)
		return err
	})
	if err != nil {
		return nil, err
	}
	return d.answer(r.Request.Request, struct {
		Signature []byte `json:"signature"`
	}{signature}, false)
}

// privateKeyDecrypt opens the key of a message for its recipient.
func (d *door) privateKeyDecrypt(ctx context.Context, r *asked) (*gateway.Response, error) {
	caller, spki, err := d.mail(ctx, r, roleDecrypter)
	if err != nil {
		return nil, err
	}
	return d.decryptFor(ctx, caller, r, spki)
}

// privilegedPrivateKeyDecrypt does so for an admin who exports mail.
func (d *door) privilegedPrivateKeyDecrypt(ctx context.Context, r *asked) (*gateway.Response, error) {
	caller, err := d.admin(ctx, r)
	if err != nil {
		return nil, err
	}
	spki, err := readSPKI(r.SPKIHash, r.SPKIAlgorithm)
	if err != nil {
		return nil, err
	}
	return d.decryptFor(ctx, caller, r, spki)
}

func (d *door) decryptFor(ctx context.Context, caller *authn.Caller, r *asked, spki []byte) (*gateway.Response, error) {
	text, err := binary("encrypted_data_encryption_key", r.Encrypted, maxEncrypted)
	if err != nil {
		return nil, err
	}
	scheme, err := encryptionOf(r.Algorithm, r.Label)
	if err != nil {
		return nil, err
	}
	var key []byte
	err = d.withPrivateKey(ctx, caller, r, spki, func(private crypto.Signer) (err error) {
		key, err = scheme.decrypt(private, text)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(key)
	return d.answer(r.Request.Request, struct {
		Key []byte `json:"data_encryption_key"`
	}{key}, true)
}
