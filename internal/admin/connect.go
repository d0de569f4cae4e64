// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// Options of Connect.
type Options struct {
	Clock clock.Clock
	// Key opens the authority key. It is called at most once, and only when
	// something has to be signed that the read-only session can't.
	Key func(context.Context) (*Key, error)
}

// Session is a verified conversation with one server. It is not safe for
// concurrent use.
type Session struct {
	// Warnings are things that people should know and that stop nothing.
	Warnings []string

	p     *Profile
	o     Options
	link  *link
	state *authority.State
	log   *logCopy
	key   *Key
	read  *authn.AdminSigner
	kept  bool // read comes from the profile, or was taken before: it may have ended
}

// connector is what is known before there is a session.
type connector struct {
	p *Profile
	o Options
}

// Connect reaches a server of the profile's domain, verifies it, and brings the
// profile's copy of the log up to date. The caller ends with Close.
func Connect(ctx context.Context, p *Profile, o Options) (*Session, error) {
	if !p.Joined() {
		return nil, fmt.Errorf("connect: %w", ErrNotJoined)
	}
	c := &connector{p, o}
	l, err := c.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	s := &Session{p: p, o: o, link: l}
	if err := s.open(ctx); err != nil {
		s.Close()
		return nil, fmt.Errorf("connect: %w", err)
	}
	return s, nil
}

// ErrNotJoined means that a profile knows no domain yet.
var ErrNotJoined = errors.New("this profile belongs to no trust domain yet")

func (s *Session) open(ctx context.Context) error {
	pub, err := s.p.PublicKey()
	if err != nil {
		return err
	}
	// Asked before the passphrase: the server would refuse anyway.
	if !hasPart(s.link.members, wire.KeyHash(pub)) {
		return ErrNotMember
	}
	if s.log, err = s.p.openLog(); err != nil {
		return err
	}
	s.state = s.log.State
	return s.Refresh(ctx)
}

// hasPart reports whether a key is an authority key or one of the recovery
// quorum, which may read the log and sign recoveries.
func hasPart(m *members.State, kid wire.Hash) bool {
	_, _, admin := m.Admin(kid)
	return admin || slices.ContainsFunc(m.Recovery.Keys, func(k members.Key) bool { return k.Hash() == kid })
}

// Close forgets the key and ends the connection.
func (s *Session) Close() {
	if s.key != nil {
		s.key.Wipe()
		s.key = nil
	}
	s.link.client.CloseIdleConnections()
}

// State is the verified state of the authority log. It is replaced by Refresh,
// Propose and Sign, and must not be changed.
func (s *Session) State() *authority.State { return s.state }

// Profile is the profile that the session was made for.
func (s *Session) Profile() *Profile { return s.p }

// Server names the server at the other end.
func (s *Session) Server() wire.ServerID { return s.link.descriptor.Server }

// Address is where the server was reached.
func (s *Session) Address() string { return s.link.address }

// Refresh takes in what was appended since, after checking that the server's
// history goes on from the one known here.
func (s *Session) Refresh(ctx context.Context) error {
	err := s.follow(ctx, s.log)
	if errors.Is(err, errHistory) {
		err = s.other(ctx, err)
	}
	if err != nil {
		return err
	}
	s.state = s.log.State
	if !s.state.Members.Contains(s.link.members.Newest) && !s.link.members.Contains(s.state.Members.Newest) {
		return fmt.Errorf("%w: its log and its member chain differ", ErrIntegrity)
	}
	return s.log.keep(s.p)
}

// errHistory means that the server's history is not a continuation of ours.
var errHistory = errors.New("it shows another history than this profile has seen")

// follow reads records from the newest known one on, that one included: a
// server that can't show it again has gone back.
func (s *Session) follow(ctx context.Context, l *logCopy) error {
	page, err := s.records(ctx, max(l.position(), 1))
	if err != nil {
		return err
	}
	if l.State != nil {
		if len(page) == 0 || page[0].Link.Hash() != l.State.Head {
			return errHistory
		}
		page = page[1:] // nothing after it: that is the end
	}
	for len(page) > 0 {
		if len(l.fresh) > maxRecords {
			return fmt.Errorf("%w: its log is larger than %d bytes", ErrIntegrity, maxRecords)
		}
		for _, opened := range page {
			if err := l.take(opened); err != nil {
				return fmt.Errorf("%w: %w", ErrIntegrity, err)
			}
		}
		if page, err = s.records(ctx, l.position()+1); err != nil {
			return err
		}
	}
	if l.State == nil {
		return fmt.Errorf("%w: its log is empty", ErrIntegrity)
	}
	if l.State.Members.Genesis.Demo != s.p.Demo {
		return ErrDemo
	}
	return l.reaches(s.o.Clock.Now())
}

// records asks for a page; an empty one is the end.
func (s *Session) records(ctx context.Context, from uint64) ([]wire.Opened, error) {
	target := "/v1/admin/records?from=" + strconv.FormatUint(from, 10)
	data, err := s.call(ctx, request{method: http.MethodGet, target: target, limit: maxPage})
	if err != nil {
		return nil, err
	}
	var page []wire.Opened
	if err := wire.Unmarshal(data, &page, maxPage); err != nil {
		return nil, fmt.Errorf("%w: records: %w", ErrIntegrity, err)
	}
	return page, nil
}

// other decides about a history that does not continue ours. Only a restore,
// which a quorum signs and which raises the generation, may go on from an
// earlier record. Anything else is kept as proof and refused.
func (s *Session) other(ctx context.Context, why error) error {
	fresh := s.p.newLog()
	fresh.dirty = true
	if err := s.follow(ctx, fresh); err != nil && !errors.Is(err, errHistory) {
		return err
	}
	seen := s.log.seen
	if fresh.State != nil && seen != nil && fresh.State.Epoch.Generation > seen.Epoch.Generation {
		s.Warnings = append(s.Warnings, fmt.Sprintf("the domain was restored: its log goes on as generation %d", fresh.State.Epoch.Generation))
		s.log = fresh
		return nil
	}
	where, err := s.prove(ctx, fresh)
	if err != nil {
		return fmt.Errorf("%w: %w; the proof could not be kept: %w", ErrRollback, why, err)
	}
	return fmt.Errorf("%w: %w; the proof is in %s", ErrRollback, why, where)
}

// signer returns what signs the next request: the read-only session for reads,
// the authority key for the rest.
func (s *Session) signer(ctx context.Context, write bool) (*authn.AdminSigner, error) {
	if !write && s.read == nil {
		s.read = s.p.session(s.o.Clock.Now(), s.link.descriptor.TLS)
		s.kept = s.read != nil
	}
	if write || s.read == nil {
		key, err := s.authority(ctx)
		if err != nil {
			return nil, err
		}
		if write {
			return s.adminSigner(key, nil), nil
		}
		if s.read, err = s.newSession(key); err != nil {
			return nil, err
		}
	}
	s.read.Clock = s.o.Clock
	return s.read, nil
}

func (s *Session) adminSigner(key crypto.Signer, session []byte) *authn.AdminSigner {
	return &authn.AdminSigner{
		Domain: s.p.Domain, TLS: s.link.descriptor.TLS, Key: key, Session: session, Clock: s.o.Clock,
	}
}

// authority opens the authority key once.
func (s *Session) authority(ctx context.Context) (*Key, error) {
	if s.key != nil {
		return s.key, nil
	}
	key, err := s.o.Key(ctx)
	if err != nil {
		return nil, err
	}
	s.key = key
	return key, nil
}

// SessionLife is how long reading needs no passphrase after one was given. The
// limit of the protocol is authn.MaxSession.
const SessionLife = time.Hour
