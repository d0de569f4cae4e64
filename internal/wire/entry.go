// SPDX-License-Identifier: Apache-2.0

package wire

import "fmt"

// Type strings of the authority log.
const (
	TypeBody   = "claviger/v1/body"
	TypeRecord = "claviger/v1/record"
)

// Limits of the authority log.
const (
	MaxBody    = 640 << 10 // bytes of a signed body: a policy set of half a megabyte fits
	MaxRecord  = 768 << 10 // bytes of a record
	MaxMembers = 64 << 10  // bytes of a whole member chain
)

// Body is what people sign: one change of the authority log. It is not bound to
// a position, so that a signature collected yesterday still counts, but to the
// object's version that it replaces.
type Body struct {
	_        struct{} `cbor:",toarray"`
	Type     string   // TypeBody
	Domain   DomainID // zero in the genesis alone
	Kind     string   // names the payload's shape and who may sign: the signer table of package authority
	ID       BodyID   // random; a body is applied once
	Base     Epoch    // a place on this chain that the signer had seen
	BaseHead Hash     // the head at Base
	Expires  int64    // Unix milliseconds; a record of a later time can't carry the body
	Replaces Hash     // BodyHash of the object's newest person-signed body; zero if none
	Payload  []byte   // deterministic CBOR of the kind's payload
}

// Record is one link of the authority log as the store holds it.
type Record struct {
	_      struct{} `cbor:",toarray"`
	Link   Link
	Sealed []byte // the signed body, sealed under a root-derived key with the encoded Link as AAD
}

// Link is the part of a record that the chain runs over.
type Link struct {
	_        struct{} `cbor:",toarray"`
	Type     string   // TypeRecord
	Epoch    Epoch
	Previous Hash     // hash of the link before; zero in the first
	Time     int64    // Unix milliseconds; never goes back
	Server   ServerID // who appended it
	Content  Hash     // EntryHash of the signed body
}

// Opened is a record with its body opened: what servers stream to admins.
type Opened struct {
	_     struct{} `cbor:",toarray"`
	Link  Link
	Entry []byte // the signed body
}

// BodyHash names a body by its bytes, signatures apart: `replaces` and the
// domain id are such hashes.
func BodyHash(body []byte) Hash { return Sum("body", body) }

// EntryHash is the hash over a body and its signatures.
func EntryHash(entry []byte) Hash { return Sum("entry", entry) }

// Hash of a link: the head, if the link is the newest.
func (l Link) Hash() Hash { return Sum("record", Marshal(l)) }

// ParseBody reads a body.
func ParseBody(data []byte) (*Body, error) {
	var b Body
	if err := Unmarshal(data, &b, MaxBody); err != nil {
		return nil, err
	}
	if b.Type != TypeBody || len(b.Kind) == 0 || len(b.Kind) > 64 || b.ID == (BodyID{}) || !validTime(b.Expires) {
		return nil, fmt.Errorf("%w: body", ErrMalformed)
	}
	return &b, nil
}

// ParseRecord reads a record.
func ParseRecord(data []byte) (*Record, error) {
	var r Record
	if err := Unmarshal(data, &r, MaxRecord); err != nil {
		return nil, err
	}
	if !r.Link.valid() {
		return nil, fmt.Errorf("%w: record", ErrMalformed)
	}
	return &r, nil
}

func (l Link) valid() bool {
	return l.Type == TypeRecord && validTime(l.Time) && l.Epoch.Position > 0 && l.Epoch.Generation > 0
}

// ParseOpened reads a record with its body opened and checks that the body is
// the one that the link names.
func ParseOpened(data []byte) (*Opened, error) {
	var o Opened
	if err := Unmarshal(data, &o, MaxRecord); err != nil {
		return nil, err
	}
	if !o.Link.valid() || EntryHash(o.Entry) != o.Link.Content {
		return nil, fmt.Errorf("%w: opened record", ErrMalformed)
	}
	return &o, nil
}

// Page returns the first records that take about size bytes together, at least
// one if there is any.
func Page(records []Opened, size int) []Opened {
	const link = 256 // bytes, roughly
	for i := range records {
		if size -= len(records[i].Entry) + link; size < 0 && i > 0 {
			return records[:i]
		}
	}
	return records
}
