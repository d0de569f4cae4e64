// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// Bounds of a key set.
const (
	maxSet   = 512 << 10 // bytes
	maxKeys  = 100
	maxKID   = 256 // bytes
	minRSA   = 2048
	maxRSA   = 8192
	minPower = 1 << 16 // of an RSA key's public exponent, which is odd
	maxPower = 1<<31 - 1
)

// The algorithms (RFC 7518 section 3.1, RFC 8037 section 3.1).
const (
	rs256 = "RS256"
	ps256 = "PS256"
	es256 = "ES256"
	eddsa = "EdDSA"
)

// verificationKey is one key of a set.
type verificationKey struct {
	kid    string
	only   string // algorithm that it is for; "": any of its kind
	public crypto.PublicKey
}

// verify holds that a signature of an algorithm is the key's. Security: the key's
// kind says which algorithms there are, never the token (T-79).
func (k *verificationKey) verify(algorithm, signed string, signature []byte) bool {
	if k.only != "" && k.only != algorithm {
		return false
	}
	sum := sha256.Sum256([]byte(signed))
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		switch algorithm {
		case rs256:
			return rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature) == nil
		case ps256:
			return rsa.VerifyPSS(public, crypto.SHA256, sum[:], signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
	case *ecdsa.PublicKey:
		if algorithm != es256 || len(signature) != 64 {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		return ecdsa.Verify(public, sum[:], r, s)
	case ed25519.PublicKey:
		return algorithm == eddsa && ed25519.Verify(public, []byte(signed), signature)
	}
	return false
}

// readSet reads a key set. Keys of kinds or uses that are not ours are left out: a
// set may hold others. One that holds none of ours is an error.
func readSet(data []byte) ([]verificationKey, error) {
	set, err := readObject(data)
	if err != nil {
		return nil, fmt.Errorf("the key set is malformed: %w", err)
	}
	var all []object
	if err := json.Unmarshal(set["keys"], &all); err != nil || len(all) > maxKeys {
		return nil, errors.New("the key set is malformed, or has too many keys")
	}
	var keys []verificationKey
	for _, o := range all {
		if k, err := readKey(o); err == nil {
			keys = append(keys, *k)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set has no key for signatures that are taken here")
	}
	return keys, nil
}

// errOther says that a key isn't for this.
var errOther = errors.New("another kind of key")

func readKey(o object) (*verificationKey, error) {
	var kind, use string
	k := &verificationKey{}
	for name, to := range map[string]*string{"kty": &kind, "use": &use, "kid": &k.kid, "alg": &k.only} {
		var err error
		if *to, err = o.text(name); err != nil {
			return nil, err
		}
	}
	if use != "" && use != "sig" || k.kid == "" || len(k.kid) > maxKID || !forVerifying(o) {
		return nil, errOther
	}
	// Security: who publishes a private key has lost it.
	if o["d"] != nil || o["k"] != nil {
		return nil, errOther
	}
	var err error
	var algorithms []string
	switch kind {
	case "RSA":
		k.public, err = readRSA(o)
		algorithms = []string{rs256, ps256}
	case "EC":
		k.public, err = readEC(o)
		algorithms = []string{es256}
	case "OKP":
		k.public, err = readEd25519(o)
		algorithms = []string{eddsa, "Ed25519"}
	default:
		return nil, errOther
	}
	if err != nil || k.only != "" && !slices.Contains(algorithms, k.only) {
		return nil, errOther
	}
	if k.only == "Ed25519" { // RFC 9864 names it so; tokens mostly say EdDSA
		k.only = eddsa
	}
	return k, nil
}

// forVerifying reports whether key_ops, if it is there, says "verify".
func forVerifying(o object) bool {
	if o["key_ops"] == nil {
		return true
	}
	ops, err := o.list("key_ops", maxAudiences)
	return err == nil && slices.Contains(ops, "verify")
}

func (o object) bytes(name string) ([]byte, error) {
	s, err := o.text(name)
	if err != nil {
		return nil, err
	}
	data, err := decode(s)
	if err != nil || len(data) == 0 {
		return nil, errOther
	}
	return data, nil
}

func readRSA(o object) (*rsa.PublicKey, error) {
	n, err := o.bytes("n")
	if err != nil {
		return nil, err
	}
	e, err := o.bytes("e")
	if err != nil || len(e) > 4 || len(n) > maxRSA/8 {
		return nil, errOther
	}
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	bits := public.N.BitLen()
	if n[0] == 0 || bits < minRSA || bits > maxRSA || public.N.Bit(0) == 0 || public.E < minPower || public.E > maxPower || public.E%2 == 0 {
		return nil, errOther
	}
	return public, nil
}

func readEC(o object) (*ecdsa.PublicKey, error) {
	curve, err := o.text("crv")
	if err != nil || curve != "P-256" {
		return nil, errOther
	}
	x, err := o.bytes("x")
	if err != nil {
		return nil, err
	}
	y, err := o.bytes("y")
	if err != nil || len(x) != 32 || len(y) != 32 {
		return nil, errOther
	}
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), bytes.Join([][]byte{{4}, x, y}, nil))
}

func readEd25519(o object) (ed25519.PublicKey, error) {
	curve, err := o.text("crv")
	if err != nil || curve != "Ed25519" {
		return nil, errOther
	}
	x, err := o.bytes("x")
	if err != nil || len(x) != ed25519.PublicKeySize {
		return nil, errOther
	}
	return x, nil
}
