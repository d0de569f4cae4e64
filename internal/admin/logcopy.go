// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"claviger/internal/admin/replay"
	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/members"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

const (
	typeHead    = "claviger/v1/admin-head"
	typeSession = "claviger/v1/admin-session-file"
	maxSmall    = 16 << 10
	maxRecords  = 1 << 30 // bytes of the cached log
)

// headRecord is the newest head that the profile has seen.
type headRecord struct {
	_      struct{} `cbor:",toarray"`
	Type   string
	Domain wire.DomainID
	Epoch  wire.Epoch
	Head   wire.Hash
}

// logCopy is the profile's copy of the log: replayed when it is opened, so that
// a changed cache is worth nothing to who changed it.
type logCopy struct {
	replay.Log
	seen     *headRecord // nil: nothing was seen yet
	fresh    []byte      // encoded records that the file lacks
	dirty    bool        // the file is to be written anew
	whole    []byte      // its good part, kept only while dirty
	verified wire.Hash   // head up to which the profile remembers what was verified
}

// newLog is a copy without a record.
func (p *Profile) newLog() *logCopy {
	return &logCopy{Log: replay.Log{Domain: p.Domain}}
}

func (l *logCopy) position() uint64 {
	if l.State == nil {
		return 0
	}
	return l.State.Epoch.Position
}

// openLog replays what the profile holds. A cache that does not verify, or does
// not reach the head, is left out: the server will show the records again.
func (p *Profile) openLog() (*logCopy, error) {
	l := p.newLog()
	var err error
	if l.seen, err = p.head(); err != nil {
		return nil, err
	}
	data, err := p.readFile(recordsFile, maxRecords)
	if errors.Is(err, fs.ErrNotExist) {
		l.dirty = true
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	known := p.verified()
	good, used := l.Read(data, known)
	if used {
		l.verified = known.Head
	}
	if good < len(data) {
		l.dirty, l.whole = true, data[:good]
	}
	if l.State != nil && l.seen != nil {
		at, ok := l.State.HeadAt(l.seen.Epoch.Position)
		if !ok && l.State.Epoch.Generation == l.seen.Epoch.Generation {
			return l, nil // shorter than the head: the rest comes from the server
		}
		if at != l.seen.Head {
			empty := p.newLog()
			empty.seen, empty.dirty = l.seen, true
			return empty, nil
		}
	}
	return l, nil
}

// verified is what the profile remembers of earlier replays, nil if nothing.
func (p *Profile) verified() *replay.Verified {
	data, err := p.readFile(verifiedFile, replay.MaxVerified)
	if err != nil {
		return nil // a cache, which the next command makes again
	}
	return replay.ParseVerified(data)
}

// take folds a record that a server sent and notes it for the cache.
func (l *logCopy) take(o wire.Opened) error {
	if err := l.Fold(o); err != nil {
		return err
	}
	l.fresh = replay.AppendRecord(l.fresh, o)
	return nil
}

// reaches holds that the log contains the head that was seen last, and that it
// is not from the future.
func (l *logCopy) reaches(now time.Time) error {
	if ahead := time.UnixMilli(l.State.Time).Sub(now); ahead > authn.Skew {
		return fmt.Errorf("%w: its log is %s ahead of this machine's clock; set the clock right", ErrUnreachable, ahead.Round(time.Second))
	}
	if l.seen == nil {
		return nil
	}
	if at, ok := l.State.HeadAt(l.seen.Epoch.Position); ok && at == l.seen.Head {
		return nil
	}
	return errHistory
}

// keep writes what is new: records first, so that the head never names one that
// was not kept.
func (l *logCopy) keep(p *Profile) error {
	if l.seen != nil && l.seen.Head == l.State.Head && l.verified == l.State.Head && !l.dirty && len(l.fresh) == 0 {
		return nil
	}
	if err := l.keepRecords(p); err != nil {
		return err
	}
	if err := p.writeFile(verifiedFile, wire.Marshal(l.Verified())); err != nil {
		return err
	}
	l.verified = l.State.Head
	if err := p.writeFile(membersFile, wire.Marshal(l.State.Members.Chain)); err != nil {
		return err
	}
	h := headRecord{Type: typeHead, Domain: p.Domain, Epoch: l.State.Epoch, Head: l.State.Head}
	if err := p.writeFile(headFile, wire.Marshal(h)); err != nil {
		return err
	}
	l.seen = &h
	return nil
}

func (l *logCopy) keepRecords(p *Profile) error {
	if l.dirty {
		if err := p.writeFile(recordsFile, append(bytes.Clone(l.whole), l.fresh...)); err != nil {
			return err
		}
		l.dirty, l.whole, l.fresh = false, nil, nil
		return nil
	}
	// A tail that is cut, or written twice by two commands at once, is found by
	// the next replay and written anew.
	f, err := os.OpenFile(filepath.Join(p.dir, recordsFile), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	_, err = f.Write(l.fresh)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	l.fresh = nil
	return nil
}

// head reads the head that was seen last, nil if there is none.
func (p *Profile) head() (*headRecord, error) {
	data, err := p.readFile(headFile, maxSmall)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var h headRecord
	if err := wire.Unmarshal(data, &h, maxSmall); err != nil || h.Type != typeHead || h.Domain != p.Domain {
		return nil, fmt.Errorf("read head of the profile: %w", wire.ErrMalformed)
	}
	return &h, nil
}

// Offline replays the profile's own copy of the log, without a server: the state
// as it was seen last.
func Offline(p *Profile) (*authority.State, error) {
	if !p.Joined() {
		return nil, ErrNotJoined
	}
	l, err := p.openLog()
	if err != nil {
		return nil, err
	}
	if l.State == nil || l.seen == nil || l.State.Epoch.Compare(l.seen.Epoch) < 0 {
		return nil, fmt.Errorf("%w: the profile's copy of the log is missing or damaged; connect to a server once", ErrUnreachable)
	}
	return l.State, nil
}

// OfflineMembers is the membership as the profile saw it last, or as it was
// founded: less than Offline tells, and there before a server was reached.
func OfflineMembers(p *Profile) (*members.State, error) {
	if !p.Joined() {
		return nil, ErrNotJoined
	}
	chain, err := p.chain()
	if err != nil {
		return nil, err
	}
	if chain == nil {
		return nil, fmt.Errorf("%w: this profile has not seen its domain yet", ErrUnreachable)
	}
	return members.Verify(chain, p.Domain)
}

// proof is what a refused history leaves behind, for other people to judge.
type proof struct {
	_          struct{} `cbor:",toarray"`
	Type       string
	Seen       headRecord
	Descriptor []byte // signed by the server
	Statement  []byte // signed by the server; empty if it gave none
	Records    []byte // as in the cache: what the server showed
}

// prove writes a proof and returns its file name.
func (s *Session) prove(ctx context.Context, shown *logCopy) (string, error) {
	p := proof{Type: "claviger/v1/admin-proof", Descriptor: s.link.signed, Records: shown.fresh}
	if s.log.seen != nil {
		p.Seen = *s.log.seen
	}
	if statement, err := get(ctx, s.link.client, "https://"+s.link.address+"/v1/statement", wire.MaxStatement); err == nil {
		p.Statement = statement
	}
	data := wire.Marshal(p)
	dir := filepath.Join(s.p.dir, proofsDir)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	name := filepath.Join(proofsDir, "history-"+wire.Sum("proof", data).String()[:16])
	if err := os.WriteFile(filepath.Join(s.p.dir, name), data, 0o600); err != nil {
		return "", err
	}
	return filepath.Join(s.p.dir, name), nil
}

// sessionRecord is the session file: a key that may only read, and for how long.
type sessionRecord struct {
	_      struct{} `cbor:",toarray"`
	Type   string
	Domain wire.DomainID
	Seed   []byte // Ed25519, 32 bytes
	Signed []byte // wire.AdminSession, signed by the authority key
	End    int64  // Unix milliseconds
}

// session returns the signer of a kept session that is still good, or nil.
func (p *Profile) session(now time.Time, tls wire.Hash) *authn.AdminSigner {
	data, err := p.readFile(sessionFile, maxSmall)
	if err != nil {
		return nil
	}
	defer secret.Wipe(data)
	var r sessionRecord
	if wire.Unmarshal(data, &r, maxSmall) != nil || r.Type != typeSession || r.Domain != p.Domain || len(r.Seed) != ed25519.SeedSize {
		return nil
	}
	if now.UnixMilli() > r.End-maxSkew {
		return nil
	}
	return &authn.AdminSigner{Domain: p.Domain, TLS: tls, Key: ed25519.NewKeyFromSeed(r.Seed), Session: r.Signed}
}

// newSession makes a session and keeps it. That it can't be kept costs another
// question for the passphrase, no more.
func (s *Session) newSession(key *Key) (*authn.AdminSigner, error) {
	session, signed, err := authn.NewSession(s.p.Domain, key, SessionLife, s.o.Clock)
	if err != nil {
		return nil, err
	}
	r := sessionRecord{
		Type: typeSession, Domain: s.p.Domain, Seed: session.Seed(), Signed: signed,
		End: s.o.Clock.Now().Add(SessionLife).UnixMilli(),
	}
	data := wire.Marshal(r)
	defer secret.Wipe(data)
	if err := s.p.writeFile(sessionFile, data); err != nil {
		s.Warnings = append(s.Warnings, "the read-only session could not be kept: "+err.Error())
	}
	return s.adminSigner(session, signed), nil
}
