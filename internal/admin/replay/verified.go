// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"encoding/binary"

	"claviger/internal/authority"
	"claviger/internal/wire"
)

const typeVerified = "claviger/v1/admin-verified"

// MaxVerified bounds the encoding of Verified, in bytes: some bytes for each of
// ten million records.
const MaxVerified = 64 << 20

// Verified says which signatures of a log's records were verified, from the
// genesis to a head.
type Verified struct {
	_      struct{} `cbor:",toarray"`
	Type   string
	Domain wire.DomainID
	Epoch  wire.Epoch // of the newest record
	Head   wire.Hash  // likewise
	Marks  []byte     // wire.Verified of each record in turn, as unsigned varints
}

// Verified is what is to be remembered of the records folded so far. It is
// called when there is one.
func (l *Log) Verified() Verified {
	return Verified{Type: typeVerified, Domain: l.Domain, Epoch: l.State.Epoch, Head: l.State.Head, Marks: l.marks}
}

// ParseVerified reads the encoding of a Verified, nil if it is none: it is a
// cache, and can be made again.
func ParseVerified(data []byte) *Verified {
	var v Verified
	if wire.Unmarshal(data, &v, MaxVerified) != nil || v.Type != typeVerified {
		return nil
	}
	return &v
}

// marks are those of each record, none if they are not one for each record of
// this domain up to the head.
func (v *Verified) marks(domain wire.DomainID) []wire.Verified {
	if v == nil || v.Domain != domain {
		return nil
	}
	var out []wire.Verified
	for rest := v.Marks; len(rest) > 0; {
		mark, n := binary.Uvarint(rest)
		if n <= 0 || mark != uint64(wire.Verified(mark)) {
			return nil
		}
		out, rest = append(out, wire.Verified(mark)), rest[n:]
	}
	if uint64(len(out)) != v.Epoch.Position {
		return nil
	}
	return out
}

// fits reports whether the state's log has the head that the marks were made for.
func (v *Verified) fits(s *authority.State) bool {
	at, ok := s.HeadAt(v.Epoch.Position)
	return ok && at == v.Head
}
