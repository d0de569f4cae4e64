// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/fxamacker/cbor/v2"
)

// Bounds of a COSE_Sign message, checked before anything is verified.
const (
	MaxSignatures   = 32        // signers of one message
	MaxChain        = 10        // certificates stapled to one signature
	MaxCertificate  = 16 << 10  // bytes of one certificate
	maxProtected    = 64 << 10  // bytes of one protected header
	coseSignTag     = 98        // RFC 9052, table 1
	algEdDSA        = int64(-8) // RFC 9053, section 2.2
	algES256        = int64(-7) // RFC 9053, section 2.1
	es256Bytes      = 64        // r ‖ s
	headerAlgorithm = 1         // RFC 9052, table 3
	headerKID       = 4
	headerChain     = 33 // RFC 9360, section 2
)

// ErrSignature means that the wanted signature is not there or does not verify.
var ErrSignature = errors.New("signature missing or wrong")

var errTooMany = fmt.Errorf("more than %d signatures", MaxSignatures)

// Signed is a parsed COSE_Sign message. Nothing of it is verified until Verify
// says so for a key that the caller has reason to trust.
type Signed struct {
	Type       string      // the type string that was asked for; it is part of what is signed
	Payload    []byte      // the message inside
	Signatures []Signature // in the message's order

	verified Verified
}

// Verified tells which signatures of a message were found good: bit i stands for
// Signatures[i], so it says nothing without the very bytes of its message.
type Verified uint32

// Signature is one signature of a [Signed] message.
type Signature struct {
	KID       Hash     // KeyHash of the signing key
	Algorithm int64    // COSE algorithm: -8 EdDSA, -7 ES256
	Chain     [][]byte // stapled certificates in DER, leaf first; nil without
	Value     []byte   // 64 bytes

	protected []byte
}

type coseSign struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected map[int64]int64
	Payload     []byte
	Signatures  []coseSignature
}

type coseSignature struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected map[int64]int64
	Value       []byte
}

type protectedHeader struct {
	Algorithm int64    `cbor:"1,keyasint"`
	KID       []byte   `cbor:"4,keyasint"`
	Chain     [][]byte `cbor:"33,keyasint,omitempty"`
}

// sigStructure is what is signed: RFC 9052, section 4.4.
type sigStructure struct {
	_               struct{} `cbor:",toarray"`
	Context         string
	BodyProtected   []byte
	SignerProtected []byte
	External        []byte
	Payload         []byte
}

// Sign returns a COSE_Sign message over payload with one signature of each key.
// Keys are Ed25519 or ECDSA P-256.
func Sign(typ string, payload []byte, keys ...crypto.Signer) ([]byte, error) {
	msg := coseSign{Payload: payload}
	for _, key := range keys {
		sig, err := sign(typ, payload, nil, key)
		if err != nil {
			return nil, err
		}
		msg.Signatures = append(msg.Signatures, sig)
	}
	if len(msg.Signatures) > MaxSignatures {
		return nil, errTooMany
	}
	return marshalSign(msg), nil
}

// SignChain is Sign with one key and its certificate chain (DER, leaf first) in
// the signature's protected header.
func SignChain(typ string, payload []byte, chain [][]byte, key crypto.Signer) ([]byte, error) {
	sig, err := sign(typ, payload, chain, key)
	if err != nil {
		return nil, err
	}
	return marshalSign(coseSign{Payload: payload, Signatures: []coseSignature{sig}}), nil
}

// AddSignature returns msg, of at most limit bytes, with a further signature of
// each key. A key that has signed already is refused: it would never count
// twice.
func AddSignature(msg []byte, typ string, limit int, keys ...crypto.Signer) ([]byte, error) {
	parsed, err := ParseSigned(typ, msg, limit)
	if err != nil {
		return nil, err
	}
	raw := parsed.raw()
	for _, key := range keys {
		kid := KeyHash(key.Public())
		if parsed.place(kid) >= 0 {
			return nil, errors.New("add signature: this key has signed already")
		}
		sig, err := sign(typ, parsed.Payload, nil, key)
		if err != nil {
			return nil, err
		}
		raw.Signatures = append(raw.Signatures, sig)
	}
	if len(raw.Signatures) > MaxSignatures {
		return nil, errTooMany
	}
	return marshalSign(raw), nil
}

// Merge returns a with the signatures of b that a lacks. Both must carry the
// same payload.
func Merge(typ string, a, b []byte, limit int) ([]byte, error) {
	pa, err := ParseSigned(typ, a, limit)
	if err != nil {
		return nil, err
	}
	pb, err := ParseSigned(typ, b, limit)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(pa.Payload, pb.Payload) {
		return nil, errors.New("merge signatures: the signed bytes differ")
	}
	raw := pa.raw()
	for i, s := range pb.raw().Signatures {
		if pa.place(pb.Signatures[i].KID) < 0 {
			raw.Signatures = append(raw.Signatures, s)
		}
	}
	if len(raw.Signatures) > MaxSignatures {
		return nil, errTooMany
	}
	return marshalSign(raw), nil
}

// raw is s as it is encoded.
func (s *Signed) raw() coseSign {
	out := coseSign{Payload: s.Payload}
	for _, sig := range s.Signatures {
		out.Signatures = append(out.Signatures, coseSignature{Protected: sig.protected, Value: sig.Value})
	}
	return out
}

// Verify reports nil if the message carries a signature whose key id is that of
// pub and which verifies over type and payload.
func (s *Signed) Verify(pub crypto.PublicKey) error {
	i := s.by(KeyHash(pub))
	if i < 0 {
		return ErrSignature
	}
	if s.verified&(1<<i) != 0 {
		return nil
	}
	return s.check(s.Signatures[i], pub)
}

// by finds the signature of a key: its place, or -1.
func (s *Signed) by(kid Hash) int {
	if kid.IsZero() { // of a key that isn't accepted here
		return -1
	}
	return s.place(kid)
}

// place finds the signature with a key id.
func (s *Signed) place(kid Hash) int {
	return slices.IndexFunc(s.Signatures, func(sig Signature) bool { return sig.KID == kid })
}

// VerifyAhead is Verify that remembers a good signature, so that every later
// Verify with this key costs next to nothing: for who has a processor to spare
// before the message's turn comes. The key id is the hash of the key, so what is
// remembered can't serve another one. The message must not be changed afterwards,
// nor read by others meanwhile.
func (s *Signed) VerifyAhead(pub crypto.PublicKey) error {
	if err := s.Verify(pub); err != nil {
		return err
	}
	s.verified |= 1 << s.by(KeyHash(pub))
	return nil
}

// Verified tells which signatures VerifyAhead or Trust has marked as good.
func (s *Signed) Verified() Verified { return s.verified }

// Trust marks signatures as good without a look at them. The caller knows that
// VerifyAhead marked them on a message of the same type and the same bytes;
// whoever can bring a mark here from elsewhere can forge the signature.
func (s *Signed) Trust(v Verified) { s.verified |= v }

func (s *Signed) check(sig Signature, pub crypto.PublicKey) error {
	tbs := toBeSigned(s.Type, sig.protected, s.Payload)
	switch key := pub.(type) {
	case ed25519.PublicKey:
		if sig.Algorithm == algEdDSA && ed25519.Verify(key, tbs, sig.Value) {
			return nil
		}
	case *ecdsa.PublicKey:
		digest := sha256.Sum256(tbs)
		if sig.Algorithm == algES256 && ecdsa.VerifyASN1(key, digest[:], rawToASN1(sig.Value)) {
			return nil
		}
	}
	return ErrSignature
}

func sign(typ string, payload []byte, chain [][]byte, key crypto.Signer) (coseSignature, error) {
	kid := KeyHash(key.Public())
	header := protectedHeader{KID: kid[:], Chain: chain}
	switch key.Public().(type) {
	case ed25519.PublicKey:
		header.Algorithm = algEdDSA
	default:
		header.Algorithm = algES256
	}
	if kid.IsZero() {
		return coseSignature{}, errors.New("sign: the key is neither Ed25519 nor ECDSA P-256")
	}
	protected := Marshal(header)
	tbs := toBeSigned(typ, protected, payload)
	value, err := rawSign(key, header.Algorithm, tbs)
	if err != nil {
		return coseSignature{}, fmt.Errorf("sign %s: %w", typ, err)
	}
	return coseSignature{Protected: protected, Value: value}, nil
}

func rawSign(key crypto.Signer, algorithm int64, tbs []byte) ([]byte, error) {
	if algorithm == algEdDSA {
		return key.Sign(rand.Reader, tbs, crypto.Hash(0))
	}
	digest := sha256.Sum256(tbs)
	der, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	var rs struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &rs)
	if err != nil || len(rest) > 0 || rs.R.Sign() <= 0 || rs.S.Sign() <= 0 || rs.R.BitLen() > 256 || rs.S.BitLen() > 256 {
		return nil, errors.New("key returned a signature of another shape")
	}
	out := make([]byte, es256Bytes)
	rs.R.FillBytes(out[:32])
	rs.S.FillBytes(out[32:])
	return out, nil
}

// rawToASN1 turns r ‖ s into the DER that crypto/ecdsa verifies. The general
// encoder takes a twentieth of what verifying does.
func rawToASN1(raw []byte) []byte {
	integers := appendInteger(appendInteger(nil, raw[:32]), raw[32:])
	return append([]byte{0x30, byte(len(integers))}, integers...)
}

// appendInteger appends a number of at most 32 bytes, big-endian, as an INTEGER
// that isn't negative: with the fewest bytes whose first bit is 0 (X.690, 8.3).
func appendInteger(der, number []byte) []byte {
	number = bytes.TrimLeft(number, "\x00")
	if len(number) == 0 || number[0] >= 0x80 {
		number = append([]byte{0}, number...)
	}
	return append(append(der, 0x02, byte(len(number))), number...)
}

func toBeSigned(typ string, protected, payload []byte) []byte {
	return Marshal(sigStructure{
		Context: "Signature", SignerProtected: protected, External: []byte(typ), Payload: payload,
	})
}

func marshalSign(m coseSign) []byte {
	return Marshal(cbor.Tag{Number: coseSignTag, Content: m})
}
