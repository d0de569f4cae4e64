// SPDX-License-Identifier: Apache-2.0

package kacls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // OAEP of older mail programs
	_ "crypto/sha256"
	_ "crypto/sha512"
	"strings"

	"claviger/internal/gateway"
)

// signature is how a digest is signed.
type signature struct {
	hash  crypto.Hash
	curve bool // ECDSA, in ASN.1; else RSA
	pss   *rsa.PSSOptions
}

// hashOf finds a hash function by the name that Java gives it, with and without the
// dash.
func hashOf(name string) (crypto.Hash, bool) {
	switch strings.ReplaceAll(strings.ToUpper(name), "-", "") {
	case "SHA1":
		return crypto.SHA1, true
	case "SHA256":
		return crypto.SHA256, true
	case "SHA384":
		return crypto.SHA384, true
	case "SHA512":
		return crypto.SHA512, true
	}
	return 0, false
}

// signatureOf reads the name of a signature algorithm: SHA256withRSA, with SHA384 and
// SHA512 too, for PSS followed by /PSS or andMGF1, or withECDSA.
func signatureOf(name string, digest int, salt *int) (*signature, error) {
	first, rest, ok := strings.Cut(strings.ToUpper(name), "WITH")
	hash, known := hashOf(first)
	// Security: two documents with one SHA-1 digest can be made.
	if !ok || !known || hash == crypto.SHA1 {
		return nil, invalid("algorithm is no signature algorithm that is used here")
	}
	if digest != hash.Size() {
		return nil, invalid("digest is not as long as the algorithm's")
	}
	s := &signature{hash: hash}
	switch rest {
	case "RSA":
	case "ECDSA":
		s.curve = true
	case "RSA/PSS", "RSAANDMGF1", "RSASSA-PSS":
		s.pss = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
		if salt == nil {
			break
		}
		// No salt at all is what nobody uses, and Go's library calls something else.
		if *salt < 1 || *salt > maxRSA/8 {
			return nil, invalid("rsa_pss_salt_length is not one that is used")
		}
		s.pss.SaltLength = *salt
	default:
		return nil, invalid("algorithm is no signature algorithm that is used here")
	}
	return s, nil
}

// sign signs a digest.
func (s *signature) sign(key crypto.Signer, digest []byte) ([]byte, error) {
	var opts crypto.SignerOpts = s.hash
	if s.pss != nil {
		opts = s.pss
	}
	if _, curve := key.(*ecdsa.PrivateKey); curve != s.curve {
		return nil, invalid("algorithm is not one of the private key's")
	}
	out, err := key.Sign(rand.Reader, digest, opts)
	if err != nil {
		return nil, invalid("this can't be signed so with this key")
	}
	return out, nil
}

// encryption is how the key of a message is encrypted.
type encryption struct {
	hash  crypto.Hash // 0: PKCS #1 version 1.5
	label []byte
}

// encryptionOf reads the name of an encryption algorithm: RSA/ECB/PKCS1Padding, or
// RSA/ECB/OAEPwithSHA-256andMGF1Padding with SHA-1, SHA-384 and SHA-512 too; MGF1 has
// the same hash.
func encryptionOf(name string, label *string) (*encryption, error) {
	upper := strings.ToUpper(name)
	if upper == "RSA/ECB/PKCS1PADDING" {
		return &encryption{}, nil // which has no label
	}
	inner, ok := strings.CutPrefix(upper, "RSA/ECB/OAEPWITH")
	inner, end := strings.CutSuffix(inner, "ANDMGF1PADDING")
	hash, known := hashOf(inner)
	if !ok || !end || !known {
		return nil, invalid("algorithm is no encryption algorithm that is used here")
	}
	e := &encryption{hash: hash}
	if label != nil && *label != "" {
		var err error
		if e.label, err = gateway.Base64("rsa_oaep_label", *label, maxEncrypted); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// decrypt opens a ciphertext. Security: whatever is wrong with it is one error; and
// only who may have what is in it gets here at all.
func (e *encryption) decrypt(key crypto.Signer, text []byte) ([]byte, error) {
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, invalid("algorithm is not one of the private key's")
	}
	var opts crypto.DecrypterOpts // none: PKCS #1 version 1.5
	if e.hash != 0 {
		opts = &rsa.OAEPOptions{Hash: e.hash, Label: e.label}
	}
	out, err := private.Decrypt(rand.Reader, text, opts)
	if err != nil || len(out) == 0 || len(out) > maxKey {
		return nil, invalid("encrypted_data_encryption_key doesn't open")
	}
	return out, nil
}
