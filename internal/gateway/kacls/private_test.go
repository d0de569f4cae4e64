// SPDX-License-Identifier: Apache-2.0

package kacls

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"hash"
	"strings"
	"testing"

	"claviger/internal/gateway/gatewaytest"
)

// kept is a private key that was wrapped.
type kept struct {
	wrapped, spki []byte
}

func (k *workspace) keep(r *gatewaytest.Rig, text string, public crypto.PublicKey) kept {
	r.T.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		r.T.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return kept{k.must(r, "wrapprivatekey", "wrapped_private_key", k.asAdmin(map[string]any{"private_key": text, "perimeter_id": "us"})), sum[:]}
}

// using is a request of alice's with a private key.
func (k *workspace) using(role string, key kept, more map[string]any) map[string]any {
	return k.asUser(role, with(map[string]any{
		"authorization":       k.authorized(role, map[string]any{"spki_hash": encode(key.spki), "message_id": "m1"}),
		"wrapped_private_key": key.wrapped,
	}, more))
}

// TestSignatures: every algorithm is what it says, by the standard library.
func TestSignatures(t *testing.T) {
	k, r := serve(t, everything)
	mine := userKey()
	key := k.keep(r, pemOf(mine), mine.Public())
	curve := curveKey(t)
	der, _ := x509.MarshalECPrivateKey(curve)
	curved := k.keep(r, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})), curve.Public())
	for _, c := range []struct {
		name string
		hash crypto.Hash
		key  kept
		salt any
		ok   func(digest, signature []byte) bool
	}{
		{"SHA256withRSA", crypto.SHA256, key, nil, func(d, s []byte) bool { return rsa.VerifyPKCS1v15(&mine.PublicKey, crypto.SHA256, d, s) == nil }},
		{"SHA384withRSA", crypto.SHA384, key, 20, func(d, s []byte) bool { return rsa.VerifyPKCS1v15(&mine.PublicKey, crypto.SHA384, d, s) == nil }},
		{"SHA512withRSA", crypto.SHA512, key, nil, func(d, s []byte) bool { return rsa.VerifyPKCS1v15(&mine.PublicKey, crypto.SHA512, d, s) == nil }},
		{"SHA256withRSA/PSS", crypto.SHA256, key, nil, pss(mine, crypto.SHA256, 32)},
		{"SHA256withRSAandMGF1", crypto.SHA256, key, 20, pss(mine, crypto.SHA256, 20)},
		{"SHA512withRSA/PSS", crypto.SHA512, key, 64, pss(mine, crypto.SHA512, 64)},
		{"SHA256withECDSA", crypto.SHA256, curved, nil, func(d, s []byte) bool { return ecdsa.VerifyASN1(&curve.PublicKey, d, s) }},
	} {
		h := c.hash.New()
		h.Write([]byte("signed attributes"))
		digest := h.Sum(nil)
		members := k.using(roleSigner, c.key, map[string]any{"algorithm": c.name, "digest": strings.TrimRight(encode(digest), "=")})
		if c.salt != nil {
			members["rsa_pss_salt_length"] = c.salt
		}
		if signature := k.must(r, "privatekeysign", "signature", members); !c.ok(digest, signature) {
			t.Errorf("%s: the signature doesn't verify", c.name)
		}
	}
	good := map[string]any{"algorithm": "SHA256withRSA", "digest": make([]byte, 32)}
	for name, change := range map[string]map[string]any{
		"SHA-1": {"algorithm": "SHA1withRSA", "digest": make([]byte, 20)}, "no algorithm": {"algorithm": ""}, "an unknown one": {"algorithm": "SHA256withDSA"},
		"an unknown hash": {"algorithm": "MD5withRSA"}, "a short digest": {"digest": make([]byte, 31)}, "no digest": {"digest": ""},
		"a long digest": {"digest": make([]byte, 129)}, "ECDSA of an RSA key": {"algorithm": "SHA256withECDSA"},
		"no salt":         {"algorithm": "SHA256withRSA/PSS", "rsa_pss_salt_length": 0},
		"a negative salt": {"algorithm": "SHA256withRSA/PSS", "rsa_pss_salt_length": -1},
		"a huge salt":     {"algorithm": "SHA256withRSA/PSS", "rsa_pss_salt_length": 400},
		"a salt too long": {"algorithm": "SHA256withRSA/PSS", "rsa_pss_salt_length": 250},
		"RSA of a curve":  {"wrapped_private_key": curved.wrapped, "authorization": k.authorized(roleSigner, map[string]any{"spki_hash": encode(curved.spki)})},
	} {
		claim{name, nil, 400, ""}.judge(t, "privatekeysign", k.send(r, post("privatekeysign", k.using(roleSigner, key, with(good, change)))))
	}
}

func pss(key *rsa.PrivateKey, hash crypto.Hash, salt int) func(d, s []byte) bool {
	return func(d, s []byte) bool {
		return rsa.VerifyPSS(&key.PublicKey, hash, d, s, &rsa.PSSOptions{SaltLength: salt}) == nil
	}
}

// TestDecryptions: every algorithm opens what others encrypted, and nothing else.
func TestDecryptions(t *testing.T) {
	k, r := serve(t, everything)
	mine := userKey()
	der := x509.MarshalPKCS1PrivateKey(mine)
	key := k.keep(r, "\n"+string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der}))+"\n", mine.Public())
	cek := r.Canary()
	oaep := func(h func() hash.Hash, label string) []byte {
		out, err := rsa.EncryptOAEP(h(), rand.Reader, &mine.PublicKey, cek, []byte(label))
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	//lint:ignore SA1019 mail programs still do so
	old, err := rsa.EncryptPKCS1v15(rand.Reader, &mine.PublicKey, cek)
	if err != nil {
		t.Fatal(err)
	}
	for name, members := range map[string]map[string]any{
		"RSA/ECB/PKCS1Padding":                  {"encrypted_data_encryption_key": old, "rsa_oaep_label": "ignored"},
		"RSA/ECB/OAEPwithSHA-1andMGF1Padding":   {"encrypted_data_encryption_key": oaep(sha1.New, "")},
		"RSA/ECB/OAEPwithSHA-256andMGF1Padding": {"encrypted_data_encryption_key": oaep(sha256.New, "x"), "rsa_oaep_label": []byte("x")},
		"RSA/ECB/OAEPWithSHA-384AndMGF1Padding": {"encrypted_data_encryption_key": oaep(sha512.New384, ""), "rsa_oaep_label": ""},
		"RSA/ECB/OAEPwithSHA-512andMGF1Padding": {"encrypted_data_encryption_key": oaep(sha512.New, "")},
	} {
		members["algorithm"] = name
		if got := k.must(r, "privatekeydecrypt", "data_encryption_key", k.using(roleDecrypter, key, members)); !bytes.Equal(got, cek) {
			t.Errorf("%s: %x", name, got)
		}
		export := k.asAdmin(with(members, map[string]any{"wrapped_private_key": key.wrapped, "spki_hash": key.spki, "spki_hash_algorithm": "SHA-256"}))
		if got := k.must(r, "privilegedprivatekeydecrypt", "data_encryption_key", export); !bytes.Equal(got, cek) {
			t.Errorf("%s, for export: %x", name, got)
		}
	}
	good := map[string]any{"algorithm": "RSA/ECB/OAEPwithSHA-256andMGF1Padding", "encrypted_data_encryption_key": oaep(sha256.New, "x"), "rsa_oaep_label": []byte("x")}
	for name, change := range map[string]map[string]any{
		"another label": {"rsa_oaep_label": []byte("y")}, "no label": {"rsa_oaep_label": ""}, "another hash": {"algorithm": "RSA/ECB/OAEPwithSHA-1andMGF1Padding"},
		"another padding": {"algorithm": "RSA/ECB/PKCS1Padding"}, "no padding": {"algorithm": "RSA/ECB/NoPadding"}, "no algorithm": {"algorithm": ""},
		"MD5": {"algorithm": "RSA/ECB/OAEPwithMD5andMGF1Padding"}, "nothing": {"encrypted_data_encryption_key": ""}, "a label that is none": {"rsa_oaep_label": "!"},
		"another ciphertext": {"encrypted_data_encryption_key": make([]byte, 256)}, "a short one": {"encrypted_data_encryption_key": make([]byte, 255)},
		"too long a one": {"encrypted_data_encryption_key": make([]byte, 1025)},
	} {
		claim{name, nil, 400, ""}.judge(t, "privatekeydecrypt", k.send(r, post("privatekeydecrypt", k.using(roleDecrypter, key, with(good, change)))))
	}
}

// TestWhichPrivateKey: Google's word says which it is, and a wrapped key is what it
// was wrapped as.
func TestWhichPrivateKey(t *testing.T) {
	k, r := serve(t, everything)
	other := curveKey(t)
	spare := k.keep(r, pemOf(other), other.Public())
	key := kept{k.private, k.spki}
	good := map[string]any{"algorithm": "SHA256withRSA", "digest": make([]byte, 32)}
	for _, c := range []claim{
		{"as it is", nil, 200, ""},
		{"unpadded", map[string]any{"spki_hash": strings.TrimRight(encode(k.spki), "=")}, 200, ""},
		{"another key", map[string]any{"spki_hash": encode(spare.spki)}, 400, "not of this"},
		{"no key", map[string]any{"spki_hash": nil}, 403, "names no private key"},
		{"a hash that is none", map[string]any{"spki_hash": "AAAA"}, 403, "names no private key"},
		{"another hash function", map[string]any{"spki_hash_algorithm": "SHA-1"}, 403, "names no private key"},
		{"no hash function", map[string]any{"spki_hash_algorithm": nil}, 403, "names no private key"},
		{"another perimeter", map[string]any{"perimeter_id": "moon"}, 403, "outside of the perimeter"},
		{"no perimeter", map[string]any{"perimeter_id": nil}, 200, ""},
	} {
		members := k.using(roleSigner, key, with(good, map[string]any{"authorization": k.authorized(roleSigner, c.change)}))
		c.judge(t, "privatekeysign", k.send(r, post("privatekeysign", members)))
	}
	for name, wrapped := range map[string][]byte{
		"a document's key": k.wrapped, "nothing": nil, "cut": k.private[:len(k.private)-1], "too long": make([]byte, 8<<10), "another's": spare.wrapped,
	} {
		members := k.using(roleSigner, key, with(good, map[string]any{"wrapped_private_key": wrapped}))
		claim{name, nil, 400, ""}.judge(t, "privatekeysign", k.send(r, post("privatekeysign", members)))
	}
	// A private key comes out of no operation for documents: not by the name that it is
	// bound to either.
	short := k.keep(r, pemOf(other), other.Public())
	for _, name := range []string{resource, encode(short.spki)} {
		members := k.asAdmin(map[string]any{"wrapped_key": short.wrapped, "resource_name": name})
		claim{name, nil, 400, ""}.judge(t, "privilegedunwrap", k.send(r, post("privilegedunwrap", members)))
	}
	if string(bound("a", "bc")) == string(bound("ab", "c")) {
		t.Error("two things have one context")
	}
}

// TestPrivateKeyForms: what is no private key that is used isn't wrapped.
func TestPrivateKeyForms(t *testing.T) {
	k, r := serve(t, everything)
	small, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // to be refused
	if err != nil {
		t.Fatal(err)
	}
	_, edwards, _ := ed25519.GenerateKey(rand.Reader)
	p224, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	good := pemOf(userKey())
	for name, text := range map[string]string{
		"nothing": "", "no PEM": "key", "two": good + good, "something behind it": good + "x", "small": pemOf(small), "Ed25519": pemOf(edwards), "P-224": pemOf(p224),
		"a public key":   string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})),
		"encrypted":      strings.ReplaceAll(good, "PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
		"another kind":   strings.ReplaceAll(good, "PRIVATE KEY", "EC PRIVATE KEY"),
		"PKCS #1 inside": strings.ReplaceAll(good, "PRIVATE KEY", "RSA PRIVATE KEY"),
		"with headers":   strings.Replace(good, "KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\n\n", 1),
		"too long":       good + strings.Repeat("\n", maxPrivatePEM),
	} {
		members := k.asAdmin(map[string]any{"private_key": text, "perimeter_id": "eu"})
		reply := k.send(r, post("wrapprivatekey", members))
		claim{name, nil, 400, ""}.judge(t, "wrapprivatekey", reply)
	}
	for name, perimeter := range map[string]string{"long": strings.Repeat("p", 129), "another": "moon"} {
		if reply := k.send(r, post("wrapprivatekey", k.asAdmin(map[string]any{"private_key": good, "perimeter_id": perimeter}))); reply.Status != 400 && reply.Status != 403 {
			t.Errorf("%s perimeter: %d", name, reply.Status)
		}
	}
}

func FuzzPrivateKey(f *testing.F) {
	f.Add([]byte(pemOf(userKey())))
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		pkcs8, spki, err := parsePEM(text)
		if err == nil && (len(pkcs8) == 0 || len(spki) != sha256.Size) {
			t.Error("a key of nothing")
		}
	})
}

func FuzzAlgorithms(f *testing.F) {
	f.Add("SHA256withRSA/PSS", 32, 20, "")
	f.Add("RSA/ECB/OAEPwithSHA-256andMGF1Padding", 32, 0, "AAAA")
	f.Fuzz(func(t *testing.T, name string, digest, salt int, label string) {
		if s, err := signatureOf(name, digest, &salt); err == nil && (s.hash == crypto.SHA1 || s.hash.Size() != digest) {
			t.Errorf("%q with %d bytes", name, digest)
		}
		if e, err := encryptionOf(name, &label); err == nil && e.hash == 0 && len(e.label) > 0 {
			t.Errorf("%q has a label", name)
		}
	})
}
