// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"fmt"
	"time"

	"claviger/internal/admin/change"
	"claviger/internal/authority"
	"claviger/internal/wire"
)

const entryPrefix = "clvent1_"

// MaxEntryText bounds a change as text.
const MaxEntryText = 2 * wire.MaxBody

// FormatEntry gives a signed change as one line of text, for carrying it to
// somebody who has no access to a server: a key that is to become an admin's, or
// a recovery key, has to sign before any server knows it. It holds no secret.
func FormatEntry(entry []byte) string {
	return wire.FormatText(entryPrefix, entry)
}

// ParseEntry reads what FormatEntry wrote.
func ParseEntry(text string) ([]byte, *wire.Body, error) {
	bad := fmt.Errorf("%w: this is no change (one starts with %s)", wire.ErrMalformed, entryPrefix)
	entry, err := wire.ParseText(entryPrefix, text, MaxEntryText)
	if err != nil {
		return nil, nil, bad
	}
	body, err := authority.Read(entry)
	if err != nil {
		return nil, nil, bad
	}
	return entry, body, nil
}

// SignEntry adds a key's signature to a change that came as text and that the
// caller has shown. The change must be of the profile's domain and not expired.
func (p *Profile) SignEntry(entry []byte, key *Key, now time.Time) ([]byte, error) {
	body, err := authority.Read(entry)
	if err != nil {
		return nil, fmt.Errorf("sign change: %w", err)
	}
	// Security: what can't be shown whole, or is another domain's, is not signed.
	if _, err := change.Payload(body); err != nil {
		return nil, err
	}
	if !p.Joined() || body.Domain != p.Domain {
		return nil, fmt.Errorf("sign change: %w", ErrOtherDomain)
	}
	if body.Expires < now.UnixMilli() {
		return nil, fmt.Errorf("%w: it has expired", ErrOvertaken)
	}
	signed, err := wire.AddSignature(entry, wire.TypeBody, wire.MaxBody, key)
	if err != nil {
		return nil, fmt.Errorf("sign change: %w", err)
	}
	return signed, nil
}

// Judge reads a signed change and says who has signed it and what keeps it from
// being applied.
func (s *Session) Judge(entry []byte) (*Waiting, error) { return s.waiting(entry) }

// Bring hands a signed change, with the signatures that it has, to the server.
func (s *Session) Bring(ctx context.Context, entry []byte) (Outcome, error) {
	w, err := s.waiting(entry)
	if err != nil {
		return Outcome{}, err
	}
	if w.Problem != "" {
		return Outcome{}, fmt.Errorf("%w: %s", ErrOvertaken, w.Problem)
	}
	return s.bring(ctx, entry)
}
