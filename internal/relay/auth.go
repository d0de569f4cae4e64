// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"claviger/internal/wire"
)

// proof is a mailbox request whose signature holds; its body is still to come.
type proof struct {
	mailbox  wire.Hash
	body     wire.Hash
	audience string
}

// maxHeaderText is the base64 of the largest mailbox request.
const maxHeaderText = (wire.MaxMailboxRequest*4 + 2) / 3

// prove reads the Authorization header. Everything but the body is checked, so
// that strangers' bodies need not be read.
func (f *Front) prove(r *http.Request) (*proof, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) != 1 {
		return nil, errUnproved
	}
	text, ok := strings.CutPrefix(headers[0], "Claviger ")
	if !ok || len(text) > maxHeaderText {
		return nil, errUnproved
	}
	signed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errUnproved
	}
	m, err := wire.ParseMailboxRequest(signed)
	if err != nil {
		return nil, errUnproved
	}
	// Security: without audience and target, one relay could use at another what
	// it was shown, or for another purpose (T-66).
	if !f.isOrigin(m.Audience, r.Host) || m.Method != r.Method || m.Target != r.RequestURI {
		return nil, errUnproved
	}
	age := f.o.Clock.Now().UnixMilli() - m.Issued
	if age > skew.Milliseconds() || age < -skew.Milliseconds() {
		return nil, errUnproved
	}
	return &proof{mailbox: wire.MailboxID(m.Mailbox), body: m.Body, audience: m.Audience}, nil
}

// isOrigin reports whether an audience is this relay.
func (f *Front) isOrigin(audience, host string) bool {
	if len(f.o.Origins) > 0 {
		return slices.Contains(f.o.Origins, audience)
	}
	return audience == "https://"+strings.ToLower(host)
}

// parseHash reads 64 lower-case hexadecimal digits.
func parseHash(text string) (wire.Hash, bool) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(wire.Hash{}) || strings.ToLower(text) != text {
		return wire.Hash{}, false
	}
	return wire.Hash(raw), true
}

// parseNumber reads a decimal without sign or leading zero.
func parseNumber(text string) (uint64, bool) {
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil && strconv.FormatUint(n, 10) == text
}

// tokenOf reads the send token of a request, as the hash that the relay knows.
func tokenOf(r *http.Request) (wire.Hash, bool) {
	values := r.Header.Values("Claviger-Token")
	if len(values) != 1 {
		return wire.Hash{}, false
	}
	token, err := base64.RawURLEncoding.Strict().DecodeString(values[0])
	if err != nil || len(token) != wire.SendTokenSize {
		return wire.Hash{}, false
	}
	return wire.SendTokenHash(token), true
}
