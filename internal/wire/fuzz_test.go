// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"claviger/internal/wire"
)

// fuzzMessage decodes any bytes as one message: what decodes encodes to the same
// bytes, and nothing panics. Seeds are the sample, and encodings that must not
// be taken.
func fuzzMessage(f *testing.F, name string) {
	s := sampleNamed(name)
	data := wire.Marshal(s.value)
	f.Add(data)
	for _, variants := range others(data) {
		f.Add(variants[len(variants)/2])
	}
	for _, edit := range refusals()[name] {
		f.Add(edit(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := s.again(data)
		if err == nil && !bytes.Equal(wire.Marshal(v), data) {
			t.Fatal("two encodings of one message")
		}
		if s.parse != nil && s.parse(data) == nil && err != nil {
			t.Fatal("parsed what does not decode")
		}
	})
}

func FuzzBody(f *testing.F)           { fuzzMessage(f, "body") }
func FuzzRecord(f *testing.F)         { fuzzMessage(f, "record") }
func FuzzOpened(f *testing.F)         { fuzzMessage(f, "opened record") }
func FuzzRequest(f *testing.F)        { fuzzMessage(f, "request") }
func FuzzGrant(f *testing.F)          { fuzzMessage(f, "grant") }
func FuzzRelease(f *testing.F)        { fuzzMessage(f, "release") }
func FuzzDescriptor(f *testing.F)     { fuzzMessage(f, "descriptor") }
func FuzzStatement(f *testing.F)      { fuzzMessage(f, "statement") }
func FuzzIntroduction(f *testing.F)   { fuzzMessage(f, "introduction") }
func FuzzEnroll(f *testing.F)         { fuzzMessage(f, "enrolment") }
func FuzzRenew(f *testing.F)          { fuzzMessage(f, "renewal") }
func FuzzEnrolled(f *testing.F)       { fuzzMessage(f, "enrolled") }
func FuzzAdminRequest(f *testing.F)   { fuzzMessage(f, "admin request") }
func FuzzAdminSession(f *testing.F)   { fuzzMessage(f, "admin session") }
func FuzzInvite(f *testing.F)         { fuzzMessage(f, "invite") }
func FuzzMailboxRequest(f *testing.F) { fuzzMessage(f, "mailbox request") }
func FuzzAck(f *testing.F)            { fuzzMessage(f, "acknowledgement") }
func FuzzDelivery(f *testing.F)       { fuzzMessage(f, "delivery") }
func FuzzTrouble(f *testing.F)        { fuzzMessage(f, "trouble") }
func FuzzSealed(f *testing.F)         { fuzzMessage(f, "sealed") }

// FuzzParseSealed: the quick reader takes and refuses what the general one does,
// and reads the same.
func FuzzParseSealed(f *testing.F) {
	for _, n := range []int{0, 1, 23, 24, 255, 256, 65535, 65536} {
		f.Add(wire.Marshal(wire.Sealed{Type: "t", Enc: pattern(1, n), CT: pattern(2, 40)}))
	}
	good := wire.Marshal(wire.Sealed{Type: wire.TypeAck, Enc: pattern(1, 30), CT: pattern(2, 40)})
	for _, variants := range others(good) {
		for _, v := range variants {
			f.Add(v)
		}
	}
	for _, odd := range []string{"83606040", "83604040", "8361ff4040", "83607f41ffff40", "8360f640", "83604080", "84604040", "826040", "83605f40ff40", "8360580040", "8360590017", "83605bffffffffffffffff40", "9803604040", "836040400000"} {
		data, err := hex.DecodeString(odd)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 100_000
		got, err := wire.ParseSealed(data, limit)
		var want wire.Sealed
		if wanted := wire.Unmarshal(data, &want, limit); (err == nil) != (wanted == nil) {
			t.Fatalf("%x: %v, the general reader says %v", data, err, wanted)
		}
		if err == nil && (got.Type != want.Type || !bytes.Equal(got.Enc, want.Enc) || !bytes.Equal(got.CT, want.CT)) {
			t.Fatalf("%x: read as %+v, is %+v", data, got, want)
		}
		if err != nil && !errors.Is(err, wire.ErrMalformed) {
			t.Fatal(err)
		}
	})
}

// generalSigned is the shape of a signed message, for the general reader.
type generalSigned struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected map[int64]int64
	Payload     []byte
	Signatures  []generalSignature
}

type generalSignature struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected map[int64]int64
	Value       []byte
}

type generalHeader struct {
	Algorithm int64    `cbor:"1,keyasint"`
	KID       []byte   `cbor:"4,keyasint"`
	Chain     [][]byte `cbor:"33,keyasint,omitempty"`
}

// parseGeneral is ParseSigned with the general reader.
func parseGeneral(data []byte, limit int) (out wire.Signed, err error) {
	var raw generalSigned
	if len(data) < 2 || len(data) > limit || data[0] != 0xd8 || data[1] != 98 {
		return out, wire.ErrMalformed
	}
	if err := wire.Unmarshal(data[2:], &raw, limit); err != nil {
		return out, err
	}
	if len(raw.Protected) > 0 || len(raw.Unprotected) > 0 || len(raw.Signatures) > wire.MaxSignatures {
		return out, wire.ErrMalformed
	}
	out.Payload = raw.Payload
	seen := map[string]bool{}
	for _, s := range raw.Signatures {
		var h generalHeader
		if err := wire.Unmarshal(s.Protected, &h, 64<<10); err != nil {
			return out, err
		}
		long := slices.ContainsFunc(h.Chain, func(c []byte) bool { return len(c) > wire.MaxCertificate })
		if h.Algorithm != -8 && h.Algorithm != -7 || len(h.KID) != 32 || len(h.Chain) > wire.MaxChain || long ||
			len(s.Unprotected) > 0 || len(s.Value) != 64 || seen[string(h.KID)] {
			return out, wire.ErrMalformed
		}
		seen[string(h.KID)] = true
		out.Signatures = append(out.Signatures, wire.Signature{KID: wire.Hash(h.KID), Algorithm: h.Algorithm, Chain: h.Chain, Value: s.Value})
	}
	return out, nil
}

// withHeader is a signed message whose only signature has the given header.
func withHeader(header []byte) []byte {
	raw := generalSigned{Payload: pattern(1, 5), Signatures: []generalSignature{{Protected: header, Value: pattern(6, 64)}}}
	return append([]byte{0xd8, 98}, wire.Marshal(raw)...)
}

// sameSigned says whether two readers read the same.
func sameSigned(a, b *wire.Signed) bool {
	return bytes.Equal(a.Payload, b.Payload) && slices.EqualFunc(a.Signatures, b.Signatures, func(a, b wire.Signature) bool {
		return a.KID == b.KID && a.Algorithm == b.Algorithm && bytes.Equal(a.Value, b.Value) && slices.EqualFunc(a.Chain, b.Chain, bytes.Equal)
	})
}

// FuzzParseSigned: the quick reader takes and refuses what the general one does,
// and reads the same.
func FuzzParseSigned(f *testing.F) {
	sign := func(chain int, sizes ...int) []byte {
		var certificates [][]byte
		for range chain {
			certificates = append(certificates, pattern(byte(chain), sizes[0]))
		}
		var msg []byte
		var err error
		if chain > 0 {
			msg, err = wire.SignChain("t", pattern(1, 30), certificates, fixedKey("server"))
		} else {
			msg, err = wire.Sign("t", pattern(1, sizes[0]), fixedKey("server"), fixedKey("other"))
		}
		if err != nil {
			f.Fatal(err)
		}
		return msg
	}
	for _, n := range []int{0, 1, 23, 24, 255, 256, 65535, 65536} {
		f.Add(sign(0, n))
	}
	f.Add(sign(1, wire.MaxCertificate))
	f.Add(sign(1, wire.MaxCertificate+1))
	f.Add(sign(wire.MaxChain, 5))
	f.Add(sign(wire.MaxChain+1, 5))
	for _, good := range [][]byte{sign(0, 5), sign(2, 5)} {
		for _, variants := range others(good[2:]) {
			for _, v := range variants {
				f.Add(append([]byte{0xd8, 98}, v...))
			}
		}
	}
	for _, chain := range [][][]byte{nil, {pattern(3, 5), pattern(4, 6)}} {
		header := wire.Marshal(generalHeader{Algorithm: -8, KID: pattern(2, 32), Chain: chain})
		for _, variants := range others(header) {
			for _, v := range variants {
				f.Add(withHeader(v))
			}
		}
		f.Add(withHeader(header))
	}
	empty := wire.Marshal(generalHeader{Algorithm: -8, KID: pattern(2, 32)})
	empty[0]++ // a map of three
	f.Add(withHeader(append(empty, 0x18, 33, 0x80)))
	for _, h := range []generalHeader{{Algorithm: -6, KID: pattern(2, 32)}, {Algorithm: 7, KID: pattern(2, 32)}, {Algorithm: -7, KID: pattern(2, 31)}, {Algorithm: -7, KID: pattern(2, 33)}, {Algorithm: -7, KID: make([]byte, 32)}} {
		f.Add(withHeader(wire.Marshal(h)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 100_000
		got, err := wire.ParseSigned("t", data, limit)
		want, wanted := parseGeneral(data, limit)
		if (err == nil) != (wanted == nil) {
			t.Fatalf("%x: %v, the general reader says %v", data, err, wanted)
		}
		if err == nil && !sameSigned(got, &want) {
			t.Fatalf("%x: read as %+v, is %+v", data, got, want)
		}
		if err != nil && !errors.Is(err, wire.ErrMalformed) {
			t.Fatal(err)
		}
	})
}

// FuzzSigned parses any bytes as a signed message and verifies them with a key
// that has signed only one.
func FuzzSigned(f *testing.F) {
	key := fixedKey("server")
	msg, err := wire.Sign("t", []byte("payload"), key, fixedKey("other"))
	if err != nil {
		f.Fatal(err)
	}
	chained, err := wire.SignChain("t", []byte("payload"), [][]byte{[]byte("leaf")}, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(msg)
	f.Add(chained)
	f.Add(append([]byte{0xd8, 97}, msg[2:]...))
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := wire.ParseSigned("t", data, 1<<16)
		if err != nil {
			return
		}
		if parsed.Verify(key.Public()) == nil && string(parsed.Payload) != "payload" {
			t.Fatal("verified a payload that was never signed")
		}
		if more, err := wire.AddSignature(data, "t", 1<<16, fixedKey("third")); err == nil {
			again, err := wire.ParseSigned("t", more, 1<<17)
			if err != nil || again.Verify(fixedKey("third").Public()) != nil || len(again.Signatures) != len(parsed.Signatures)+1 {
				t.Fatalf("a signature added to what parsed: %v", err)
			}
		}
		if _, err := wire.Merge("t", data, msg, 1<<16); err == nil && string(parsed.Payload) != "payload" {
			t.Fatal("merged signatures over other bytes")
		}
	})
}

// FuzzOpen opens any bytes with a key that nothing was sealed to.
func FuzzOpen(f *testing.F) {
	key, err := wire.KeyFromSeed(pattern(1, 32))
	if err != nil {
		f.Fatal(err)
	}
	info := wire.Sum("fuzz")
	sealed, err := wire.Seal(wire.NewKey().Public(), "t", info, []byte("secret"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := key.Open("t", info, data, 1<<16); err == nil {
			t.Fatal("opened what nobody sealed to this key")
		}
	})
}
