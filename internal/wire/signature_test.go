// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"io"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"

	"claviger/internal/wire"
)

// rawSignature lets a test write every part of a COSE_Signature.
type rawSignature struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected map[any]any
	Value       []byte
}

type rawMessage struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected map[any]any
	Payload     []byte
	Signatures  []rawSignature
}

func (m rawMessage) bytes() []byte { return wire.Marshal(cbor.Tag{Number: 98, Content: m}) }

func rawOf(t *testing.T, msg []byte) rawMessage {
	t.Helper()
	var m rawMessage
	if err := cbor.Unmarshal(msg[2:], &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestES256Edges gives r and s the values that a verifier must not take.
func TestES256Edges(t *testing.T) {
	_, key := newKeys(t)
	msg, err := wire.Sign("t", []byte("p"), key)
	if err != nil {
		t.Fatal(err)
	}
	good := rawOf(t, msg).Signatures[0].Value
	n := elliptic.P256().Params().N
	number := func(v *big.Int) []byte { return v.FillBytes(make([]byte, 32)) }
	r, s := good[:32], good[32:]
	zero, order, ones := make([]byte, 32), number(n), bytes.Repeat([]byte{0xff}, 32)
	verify := func(value []byte) error {
		m := rawOf(t, msg)
		m.Signatures[0].Value = value
		parsed, err := wire.ParseSigned("t", m.bytes(), 1<<16)
		if err != nil {
			return err
		}
		return parsed.Verify(key.Public())
	}
	for name, value := range map[string][]byte{
		"r = 0": slices.Concat(zero, s), "s = 0": slices.Concat(r, zero), "both 0": slices.Concat(zero, zero),
		"r = n": slices.Concat(order, s), "s = n": slices.Concat(r, order), "all ones": slices.Concat(ones, ones),
		"swapped": slices.Concat(s, r), "s + 1": slices.Concat(r, number(new(big.Int).Add(new(big.Int).SetBytes(s), big.NewInt(1)))),
	} {
		if err := verify(value); !errors.Is(err, wire.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, value := range map[string][]byte{"short": good[1:], "long": append(bytes.Clone(good), 0), "none": nil, "DER": der(r, s)} {
		if err := verify(value); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := verify(good); err != nil {
		t.Error(err)
	}
	// ECDSA lets anybody write n - s for s. What is applied is told apart by the
	// body's id and hash, which no signature is part of.
	if err := verify(slices.Concat(r, number(new(big.Int).Sub(n, new(big.Int).SetBytes(s))))); err != nil {
		t.Errorf("n - s: %v", err)
	}
}

func der(r, s []byte) []byte {
	out, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(r), new(big.Int).SetBytes(s)})
	if err != nil {
		panic(err)
	}
	return out
}

// TestSignedRefuses changes what is around a good signature.
func TestSignedRefuses(t *testing.T) {
	ed, ec := newKeys(t)
	msg, err := wire.Sign("t", []byte("p"), ed)
	if err != nil {
		t.Fatal(err)
	}
	kid := wire.KeyHash(ed.Public())
	protected := func(alg int64, kid []byte) []byte {
		return wire.Marshal(struct {
			Algorithm int64  `cbor:"1,keyasint"`
			KID       []byte `cbor:"4,keyasint"`
		}{alg, kid})
	}
	for name, edit := range map[string]func(*rawMessage){
		"protected body header":   func(m *rawMessage) { m.Protected = []byte{0xa0} },
		"unprotected body header": func(m *rawMessage) { m.Unprotected = map[any]any{int64(4): int64(1)} },
		"unprotected header":      func(m *rawMessage) { m.Signatures[0].Unprotected = map[any]any{int64(4): int64(1)} },
		"text key in a header":    func(m *rawMessage) { m.Unprotected = map[any]any{"a": int64(1)} },
		"unknown algorithm":       func(m *rawMessage) { m.Signatures[0].Protected = protected(-37, kid[:]) },
		"short key id":            func(m *rawMessage) { m.Signatures[0].Protected = protected(-8, kid[1:]) },
		"no header":               func(m *rawMessage) { m.Signatures[0].Protected = nil },
		"empty header":            func(m *rawMessage) { m.Signatures[0].Protected = []byte{0xa0} },
		"further header": func(m *rawMessage) {
			m.Signatures[0].Protected = wire.Marshal(map[int64]any{1: int64(-8), 2: []int64{99}, 4: kid[:]})
		},
		"header with a tail": func(m *rawMessage) { m.Signatures[0].Protected = append(m.Signatures[0].Protected, 0) },
		"header in another order": func(m *rawMessage) {
			m.Signatures[0].Protected = slices.Concat([]byte{0xa2, 0x04, 0x58, 0x20}, kid[:], []byte{0x01, 0x27})
		},
		"header key twice": func(m *rawMessage) {
			m.Signatures[0].Protected = slices.Concat([]byte{0xa3, 0x01, 0x27, 0x01, 0x27, 0x04, 0x58, 0x20}, kid[:])
		},
		"33 signatures": func(m *rawMessage) {
			for i := range 32 {
				other := kid
				other[0] ^= byte(i + 1)
				m.Signatures = append(m.Signatures, rawSignature{Protected: protected(-8, other[:]), Value: make([]byte, 64)})
			}
		},
	} {
		m := rawOf(t, msg)
		edit(&m)
		if _, err := wire.ParseSigned("t", m.bytes(), 1<<20); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, bad := range map[string][]byte{
		"no tag": msg[2:], "another tag": append([]byte{0xd8, 97}, msg[2:]...), "long tag": append([]byte{0xd9, 0, 98}, msg[2:]...),
		"two tags": append([]byte{0xd8, 98}, msg...), "a tail": append(bytes.Clone(msg), 0), "empty": nil, "one byte": {0xd8},
	} {
		if _, err := wire.ParseSigned("t", bad, 1<<20); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The right key under the other algorithm is no signature.
	m := rawOf(t, msg)
	m.Signatures[0].Protected = protected(-7, kid[:])
	parsed, err := wire.ParseSigned("t", m.bytes(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := parsed.Verify(ed.Public()); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("Ed25519 key, ES256 header: %v", err)
	}
	if err := parsed.Verify(ec.Public()); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("another key: %v", err)
	}
}

// TestKeyUnderAnotherAlgorithm has a key sign a header that names the other
// algorithm: the signature is right, and is none.
func TestKeyUnderAnotherAlgorithm(t *testing.T) {
	ed, _ := newKeys(t)
	kid := wire.KeyHash(ed.Public())
	header := slices.Concat([]byte{0xa2, 0x01, 0x26, 0x04, 0x58, 0x20}, kid[:]) // 1: -7
	tbs := wire.Marshal([]any{"Signature", []byte{}, header, []byte("t"), []byte("p")})
	msg := rawMessage{Payload: []byte("p"), Signatures: []rawSignature{{Protected: header, Value: ed25519.Sign(ed, tbs)}}}
	parsed, err := wire.ParseSigned("t", msg.bytes(), 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	if err := parsed.Verify(ed.Public()); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("got %v", err)
	}
}

func TestChains(t *testing.T) {
	ed, _ := newKeys(t)
	sign := func(chain [][]byte) []byte {
		msg, err := wire.SignChain("t", []byte("p"), chain, ed)
		if err != nil {
			t.Fatal(err)
		}
		return msg
	}
	chain := [][]byte{[]byte("leaf"), []byte("issuer")}
	parsed, err := wire.ParseSigned("t", sign(chain), 1<<20)
	if err != nil || parsed.Verify(ed.Public()) != nil || len(parsed.Signatures[0].Chain) != 2 || string(parsed.Signatures[0].Chain[0]) != "leaf" {
		t.Fatalf("chain: %+v, %v", parsed, err)
	}
	for name, bad := range map[string][][]byte{
		"eleven certificates":  make([][]byte, wire.MaxChain+1),
		"a large one":          {make([]byte, wire.MaxCertificate+1)},
		"more than the header": {make([]byte, 16000), make([]byte, 16000), make([]byte, 16000), make([]byte, 16000), make([]byte, 16000)},
	} {
		if _, err := wire.ParseSigned("t", sign(bad), 1<<20); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The chain is signed: another one doesn't go with the signature.
	m := rawOf(t, sign(chain))
	m.Signatures[0].Protected = bytes.Replace(m.Signatures[0].Protected, []byte("leaf"), []byte("LEAF"), 1)
	parsed, err = wire.ParseSigned("t", m.bytes(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := parsed.Verify(ed.Public()); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("another chain: %v", err)
	}
}

// TestGoCoseSigns has the other implementation sign what ParseSigned reads.
func TestGoCoseSigns(t *testing.T) {
	ed, ec := newKeys(t)
	msg := cose.NewSignMessage()
	msg.Payload = []byte("payload")
	var signers []cose.Signer
	for _, k := range []struct {
		alg cose.Algorithm
		key crypto.Signer
	}{{cose.AlgorithmEdDSA, ed}, {cose.AlgorithmES256, ec}} {
		signer, err := cose.NewSigner(k.alg, k.key)
		if err != nil {
			t.Fatal(err)
		}
		kid := wire.KeyHash(k.key.Public())
		sig := cose.NewSignature()
		sig.Headers.Protected.SetAlgorithm(k.alg)
		sig.Headers.Protected[cose.HeaderLabelKeyID] = kid[:]
		msg.Signatures, signers = append(msg.Signatures, sig), append(signers, signer)
	}
	if err := msg.Sign(rand.Reader, []byte("type"), signers...); err != nil {
		t.Fatal(err)
	}
	data, err := msg.MarshalCBOR()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := wire.ParseSigned("type", data, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(parsed.Verify(ed.Public()), parsed.Verify(ec.Public())); err != nil {
		t.Error(err)
	}
}

// oddSigner is a key whose signatures a test chooses.
type oddSigner struct {
	public crypto.PublicKey
	value  []byte
	err    error
}

func (o oddSigner) Public() crypto.PublicKey { return o.public }

func (o oddSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return o.value, o.err }

func TestKeysThatCannotSign(t *testing.T) {
	ed, ec := newKeys(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	asn := func(r, s *big.Int) []byte {
		out, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	big257 := new(big.Int).Lsh(big.NewInt(1), 256)
	one := big.NewInt(1)
	for name, key := range map[string]crypto.Signer{
		"P-384": p384, "RSA": rsaKey, "broken token": oddSigner{ed.Public(), nil, errors.New("token is gone")},
		"no DER": oddSigner{ec.Public(), []byte("x"), nil}, "DER and more": oddSigner{ec.Public(), append(asn(one, one), 0), nil},
		"r too large": oddSigner{ec.Public(), asn(big257, one), nil}, "s too large": oddSigner{ec.Public(), asn(one, big257), nil},
		"r negative": oddSigner{ec.Public(), asn(big.NewInt(-1), one), nil}, "s zero": oddSigner{ec.Public(), asn(one, new(big.Int)), nil},
	} {
		if _, err := wire.Sign("t", []byte("p"), key); err == nil {
			t.Errorf("%s signed", name)
		}
		if _, err := wire.SignChain("t", []byte("p"), nil, key); err == nil {
			t.Errorf("%s signed with a chain", name)
		}
	}
	for name, pub := range map[string]crypto.PublicKey{
		"P-384": p384.Public(), "RSA": rsaKey.Public(), "nil": nil, "short": ed25519.PublicKey("short"), "typed nil": (*ecdsa.PublicKey)(nil),
	} {
		if !wire.KeyHash(pub).IsZero() {
			t.Errorf("%s has a hash", name)
		}
		msg, err := wire.Sign("t", []byte("p"), ed)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := wire.ParseSigned("t", msg, 1<<16)
		if err != nil {
			t.Fatal(err)
		}
		if err := parsed.Verify(pub); !errors.Is(err, wire.ErrSignature) {
			t.Errorf("verified by %s: %v", name, err)
		}
	}
}

func TestTooManySigners(t *testing.T) {
	var keys []crypto.Signer
	for range wire.MaxSignatures + 1 {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	if _, err := wire.Sign("t", []byte("p"), keys...); err == nil {
		t.Error("signed by 33")
	}
	full, err := wire.Sign("t", []byte("p"), keys[:32]...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wire.ParseSigned("t", full, 1<<16); err != nil {
		t.Errorf("32 signatures: %v", err)
	}
	if _, err := wire.AddSignature(full, "t", 1<<16, keys[32]); err == nil {
		t.Error("added a 33rd signature")
	}
	last, err := wire.Sign("t", []byte("p"), keys[32])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wire.Merge("t", full, last, 1<<16); err == nil {
		t.Error("merged a 33rd signature")
	}
	for _, bad := range [][2][]byte{{full, nil}, {nil, full}} {
		if _, err := wire.Merge("t", bad[0], bad[1], 1<<16); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("merged garbage: %v", err)
		}
	}
	if _, err := wire.AddSignature([]byte("x"), "t", 1<<16, keys[0]); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("signed garbage: %v", err)
	}
	added, err := wire.AddSignature(last, "t", 1<<16, keys[0])
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := wire.ParseSigned("t", added, 1<<16)
	if err != nil || parsed.Verify(keys[0].Public()) != nil || parsed.Verify(keys[32].Public()) != nil {
		t.Errorf("added: %v", err)
	}
}

func TestSealRefuses(t *testing.T) {
	key := wire.NewKey()
	for name, public := range map[string][]byte{
		"short": key.Public()[1:], "long": append(bytes.Clone(key.Public()), 0), "none": nil,
		"no ML-KEM key": bytes.Repeat([]byte{0xff}, wire.PublicKeySize),
	} {
		if _, err := wire.Seal(public, "t", wire.Hash{}, nil); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("sealed to a key that is %s: %v", name, err)
		}
	}
	if _, err := wire.KeyFromSeed([]byte("short")); err == nil {
		t.Error("a key from a short seed")
	}
	sealed, err := wire.Seal(key.Public(), "t", wire.Hash{}, []byte(strings.Repeat("x", 100)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := key.Open("t", wire.Hash{}, sealed, len(sealed)-1); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("over the limit: %v", err)
	}
	short := wire.Marshal(wire.Sealed{Type: "t", Enc: make([]byte, 1119), CT: make([]byte, 40)})
	if _, err := key.Open("t", wire.Hash{}, short, 1<<16); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("a short encapsulation: %v", err)
	}
}
