// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"claviger/internal/admin/change"
	"claviger/internal/admin/replay"
	"claviger/internal/authority"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// Errors of changes.
var (
	// ErrNoSuchChange means that nothing with this id waits for signatures.
	ErrNoSuchChange = errors.New("nothing with this id waits for signatures")
	// ErrOvertaken means that a waiting change can't be applied any more.
	ErrOvertaken = errors.New("this change can't be applied any more")
)

// maxPendingAnswer bounds the list of changes that wait.
const maxPendingAnswer = 64 << 20

// Outcome says what became of a change.
type Outcome struct {
	Applied bool
	Epoch   wire.Epoch // of its record, if applied
	Pending *Waiting   // if more people must sign
}

// Waiting is a change that waits for signatures, or a recovery that waits for
// its time.
type Waiting struct {
	Entry   []byte // the signed body
	Body    *wire.Body
	Signed  []string  // those who count towards it and whose signatures verify
	Missing []string  // those who could sign
	Owners  []string  // owners of new keys, who have to sign too and have not
	Needed  uint64    // signatures that make the quorum
	Due     time.Time // of an announced recovery: when it can be applied; else zero
	Problem string    // why it can't be applied any more; "" while it can
}

// Prepare makes the unsigned bytes of a change, as Propose would sign them: for
// showing what a change does without making it.
func (s *Session) Prepare(kind string, payload any) []byte {
	expires := s.o.Clock.Now().Add(authority.PendingLife)
	body := s.state.NewBody(kind, authority.Object(payload), payload, expires)
	return wire.Marshal(body)
}

// Propose signs a change with the authority key and brings it to the server. If
// the server says that it was applied, the log must show it: otherwise
// ErrIntegrity.
func (s *Session) Propose(ctx context.Context, kind string, payload any) (Outcome, error) {
	return s.ProposeBody(ctx, s.Prepare(kind, payload))
}

// ProposeBody is Propose for bytes that Prepare made.
func (s *Session) ProposeBody(ctx context.Context, body []byte) (Outcome, error) {
	key, err := s.authority(ctx)
	if err != nil {
		return Outcome{}, err
	}
	entry, err := wire.Sign(wire.TypeBody, body, key)
	if err != nil {
		return Outcome{}, fmt.Errorf("sign change: %w", err)
	}
	return s.bring(ctx, entry)
}

// bring hands an entry to the server and verifies what it says became of it.
func (s *Session) bring(ctx context.Context, entry []byte) (Outcome, error) {
	body, err := authority.Read(entry)
	if err != nil {
		return Outcome{}, err
	}
	data, err := s.call(ctx, request{
		method: http.MethodPost, target: "/v1/admin/entries", body: entry, write: true, limit: maxAnswer,
	})
	if err != nil {
		return Outcome{}, err
	}
	var answer struct {
		Applied bool `json:"applied"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return Outcome{}, fmt.Errorf("%w: its answer to a change: %w", ErrIntegrity, err)
	}
	s.log.Newer = nil
	if err := s.Refresh(ctx); err != nil {
		return Outcome{}, err
	}
	if !answer.Applied {
		w, err := s.Find(ctx, body.ID.String())
		if err != nil {
			return Outcome{}, fmt.Errorf("%w: it does not keep a change that it says waits: %w", ErrIntegrity, err)
		}
		return Outcome{Pending: w}, nil
	}
	for _, t := range s.log.Newer {
		if t.Body == body.ID {
			return Outcome{Applied: true, Epoch: t.Epoch}, s.holds(t)
		}
	}
	return Outcome{}, fmt.Errorf("%w: it says that the change was applied, and its log does not have it", ErrIntegrity)
}

// holds makes sure that a record is not void.
func (s *Session) holds(t replay.Taken) error {
	for _, v := range s.state.Voids {
		if v.Epoch == t.Epoch {
			return fmt.Errorf("%w: record %s is void: %s", ErrIntegrity, t.Epoch, v.Reason)
		}
	}
	return nil
}

// Pending lists the changes that wait for signatures. Those that don't parse, or
// that nobody of this domain has signed, are left out.
func (s *Session) Pending(ctx context.Context) ([]Waiting, error) {
	data, err := s.call(ctx, request{method: http.MethodGet, target: "/v1/admin/pending", limit: maxPendingAnswer})
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	if err := wire.Unmarshal(data, &entries, maxPendingAnswer); err != nil {
		return nil, fmt.Errorf("%w: changes that wait: %w", ErrIntegrity, err)
	}
	var out []Waiting
	for _, entry := range entries {
		if w, err := s.waiting(entry); err == nil {
			out = append(out, *w)
		}
	}
	return out, nil
}

func (s *Session) waiting(entry []byte) (*Waiting, error) {
	signed, err := wire.ParseSigned(wire.TypeBody, entry, wire.MaxBody)
	if err != nil {
		return nil, err
	}
	body, err := wire.ParseBody(signed.Payload)
	if err != nil {
		return nil, err
	}
	w := &Waiting{Entry: entry, Body: body, Problem: s.problem(body)}
	s.count(w, signed)
	return w, nil
}

// count says who has signed, and who could.
func (s *Session) count(w *Waiting, signed *wire.Signed) {
	m := s.state.Members
	keys, threshold := m.Keys.Keys, m.Keys.Threshold
	switch w.Body.Kind {
	case members.KindRecover:
		w.Due, _ = s.state.Announced.Due(w.Body.Payload, m.Recovery)
		fallthrough
	case authority.KindRecoverBegin:
		keys, threshold = m.Recovery.Keys, m.Recovery.Threshold
	}
	w.Needed = threshold
	unsigned := func(k members.Key) bool {
		pub, err := k.PublicKey()
		return err == nil && signed.Verify(pub) != nil
	}
	for _, k := range keys {
		if unsigned(k) {
			w.Missing = append(w.Missing, k.Name)
		} else {
			w.Signed = append(w.Signed, k.Name)
		}
	}
	for _, k := range change.Newcomers(s.state, w.Body) {
		if unsigned(k) {
			w.Owners = append(w.Owners, k.Name)
		}
	}
}

// problem says why a body can't be applied to the present state, "" if nothing
// speaks against it.
func (s *Session) problem(body *wire.Body) string {
	object, err := change.Object(body)
	switch {
	case err != nil:
		return err.Error()
	case body.Domain != s.state.Members.Domain:
		return "it belongs to another trust domain"
	case body.Expires < s.o.Clock.Now().UnixMilli():
		return "it has expired"
	case body.Replaces != s.state.Replaces(object):
		return "what it changes was changed since"
	}
	if at, ok := s.state.HeadAt(body.Base.Position); !ok || at != body.BaseHead {
		return "it was made for another history"
	}
	return ""
}

// Find returns the waiting change with this id, or the one whose id begins so
// (8 characters or more). ErrNoSuchChange: there is none, or more than one.
func (s *Session) Find(ctx context.Context, id string) (*Waiting, error) {
	if len(id) < 8 || strings.Trim(id, "0123456789abcdef") != "" {
		return nil, fmt.Errorf("%w: an id is 8 or more characters of 0-9 a-f", ErrNoSuchChange)
	}
	list, err := s.Pending(ctx)
	if err != nil {
		return nil, err
	}
	var found *Waiting
	for i, w := range list {
		if !strings.HasPrefix(w.Body.ID.String(), id) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%w: more than one id begins so", ErrNoSuchChange)
		}
		found = &list[i]
	}
	if found == nil {
		return nil, ErrNoSuchChange
	}
	return found, nil
}

// Sign adds this admin's signature to a waiting change, which the caller has
// shown with Describe. A recovery that has it already, and waited for its time,
// is brought to the server again. ErrOvertaken: it can't be applied any more.
func (s *Session) Sign(ctx context.Context, w *Waiting) (Outcome, error) {
	if w.Problem != "" {
		return Outcome{}, fmt.Errorf("%w: %s", ErrOvertaken, w.Problem)
	}
	// Security: what can't be shown whole is not signed.
	if _, err := change.Describe(s.state, w.Body); err != nil {
		return Outcome{}, err
	}
	key, err := s.authority(ctx)
	if err != nil {
		return Outcome{}, err
	}
	if !w.Due.IsZero() && slices.Contains(w.Signed, s.p.Name) { // it waited for its time
		return s.bring(ctx, w.Entry)
	}
	entry, err := wire.AddSignature(w.Entry, wire.TypeBody, wire.MaxBody, key)
	if err != nil {
		return Outcome{}, fmt.Errorf("sign change: %w", err)
	}
	return s.bring(ctx, entry)
}

// Expires is when a waiting change ends.
func (w *Waiting) Expires() time.Time { return time.UnixMilli(w.Body.Expires).UTC() }
