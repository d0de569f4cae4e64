// SPDX-License-Identifier: Apache-2.0

package ahead

import (
	"crypto"

	"claviger/internal/members"
	"claviger/internal/wire"
)

// Record is a record of the log with its entry parsed.
type Record struct {
	Link   wire.Link
	Entry  []byte       // the signed body
	Signed *wire.Signed // nil if Err is not
	Body   *wire.Body   // likewise
	Err    error        // why the entry can't be parsed
	Stored []byte       // the record as the store holds it, if it came from there
}

// Parse reads an entry. One that can't be parsed is still a record: a void one.
func Parse(link wire.Link, entry []byte) *Record {
	r := &Record{Link: link, Entry: entry}
	signed, err := wire.ParseSigned(wire.TypeBody, entry, wire.MaxBody)
	if err != nil {
		r.Err = err
		return r
	}
	body, err := wire.ParseBody(signed.Payload)
	if err != nil {
		r.Err = err
		return r
	}
	r.Signed, r.Body = signed, body
	return r
}

// Keys are public keys by their hash. They say whose signatures can be verified
// ahead, not whose count.
type Keys map[wire.Hash]crypto.PublicKey

// KeysOf are the keys of admins and servers, whatever their standing.
func KeysOf(m *members.State) Keys {
	out := Keys{}
	for _, k := range m.Keys.Keys {
		if pub, err := k.PublicKey(); err == nil {
			out[wire.KeyHash(pub)] = pub
		}
	}
	for _, s := range m.Servers {
		if pub, err := s.PublicKey(); err == nil {
			out[wire.KeyHash(pub)] = pub
		}
	}
	return out
}

// Verify verifies the signatures of known keys. A false one is left to the fold,
// which will find it false again.
func (r *Record) Verify(known Keys) {
	if r.Signed == nil {
		return
	}
	for _, sig := range r.Signed.Signatures {
		if pub, ok := known[sig.KID]; ok {
			_ = r.Signed.VerifyAhead(pub) // the fold asks, and says what is wrong
		}
	}
}
