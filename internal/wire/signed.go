// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"fmt"
)

// signedHead is what every signed message begins with: tag 98, an array of four,
// nothing protected and nothing unprotected for all signatures together.
const signedHead = "\xd8\x62\x84\x40\xa0"

// ParseSigned reads a COSE_Sign message of at most limit bytes. Type is not
// found in the message: a signature made for another type fails in Verify.
// It takes what Sign, SignChain, AddSignature and Merge make, and nothing else.
func ParseSigned(typ string, msg []byte, limit int) (*Signed, error) {
	if len(msg) > limit {
		return nil, fmt.Errorf("%w: size", ErrMalformed)
	}
	r := items{rest: bytes.Clone(msg)} // who made msg may wipe it
	r.literal(signedHead)
	out := &Signed{Type: typ, Payload: r.str(majorBytes, limit)}
	count := r.head(majorArray)
	if count > MaxSignatures {
		return nil, fmt.Errorf("%w: too many signatures", ErrMalformed)
	}
	for range count {
		sig := r.signature()
		// Security: one key can't fill two places of a threshold.
		if out.place(sig.KID) >= 0 {
			return nil, fmt.Errorf("%w: one key signed twice", ErrMalformed)
		}
		out.Signatures = append(out.Signatures, sig)
	}
	if !r.over() {
		return nil, fmt.Errorf("%w: not a signed message", ErrMalformed)
	}
	return out, nil
}

// signature takes a COSE_Signature: the protected header, nothing unprotected, 64
// bytes.
func (r *items) signature() (s Signature) {
	r.literal("\x83")
	s.protected = r.str(majorBytes, maxProtected)
	r.literal("\xa0")
	s.Value = r.str(majorBytes, es256Bytes)
	header := items{rest: s.protected}
	header.protected(&s)
	if !header.over() || len(s.Value) != es256Bytes {
		r.fail()
	}
	return s
}

// protected takes the header that is signed: 1, the algorithm; 4, the key id; and
// 33, a chain, unless there is none (RFC 9052, section 3.1; RFC 9360, section 2).
func (r *items) protected(s *Signature) {
	pairs := r.head(majorMap)
	r.literal("\x01")
	s.Algorithm = ^int64(r.head(majorNegative))
	r.literal("\x04")
	kid := r.str(majorBytes, len(s.KID))
	known := s.Algorithm == algEdDSA || s.Algorithm == algES256
	if !known || len(kid) != len(s.KID) || pairs < 2 || pairs > 3 {
		r.fail()
		return
	}
	s.KID = Hash(kid)
	if pairs == 2 {
		return
	}
	r.literal("\x18\x21")
	count := r.head(majorArray)
	if count == 0 || count > MaxChain {
		r.fail()
		return
	}
	for range count {
		s.Chain = append(s.Chain, r.str(majorBytes, MaxCertificate))
	}
}
