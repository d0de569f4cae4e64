// SPDX-License-Identifier: Apache-2.0

package hearsay

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/members"
	"claviger/internal/secret"
	"claviger/internal/store"
	"claviger/internal/wire"
)

const every = 30 * time.Second

// town is a domain whose one server may be told things, also of itself.
type town struct {
	*testing.T
	id            wire.DomainID
	clock         *clock.Manual
	admin, server ed25519.PrivateKey
	log           *authority.Log
	o             authority.Options
	alarms        []string
	options       Options
}

func public(t *testing.T, key ed25519.PrivateKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func newTown(t *testing.T) *town {
	w := &town{T: t, clock: clock.NewManual(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))}
	_, w.admin, _ = ed25519.GenerateKey(rand.Reader)
	_, w.server, _ = ed25519.GenerateKey(rand.Reader)
	g := members.Genesis{
		Name: "acme", RootGeneration: 1, Root: wire.Sum("root"),
		Keys:    members.Keys{Threshold: 1, Keys: []members.Key{{Name: "ann", Public: public(t, w.admin)}}},
		Anchors: []members.Anchor{{Name: "embedded", Prefix: "spiffe://acme/workload/", Embedded: true}},
		Server:  members.Server{Name: "server1", Key: public(t, w.server), EpochKey: wire.NewKey().Public()},
	}
	rand.Read(g.Random[:])
	genesis, err := authority.Genesis(g, w.clock.Now(), w.admin)
	if err != nil {
		t.Fatal(err)
	}
	found, err := members.Found(genesis)
	if err != nil {
		t.Fatal(err)
	}
	w.id = found.Domain
	w.o = authority.Options{
		Store: store.NewMem(), Domain: w.id, BodySeal: secret.Random(32), SlotSeal: secret.Random(32), LocalSeal: secret.Random(32),
		Server: wire.ServerIDOf(w.server.Public()), Signer: w.server, Clock: w.clock,
		Namer: func(string) wire.RevocationID { return wire.RevocationID{3} }, Fresh: true,
	}
	if w.log, err = authority.Create(t.Context(), w.o, genesis); err != nil {
		t.Fatal(err)
	}
	w.options = Options{
		Dir: filepath.Join(t.TempDir(), "proofs"), Domain: w.id, Log: w.log, Clock: w.clock, Every: every,
		Own:   func(e wire.Epoch, head wire.Hash) ([]byte, error) { return w.statement(w.server, e, head), nil },
		Alarm: func(kind, _ string) { w.alarms = append(w.alarms, kind) },
	}
	return w
}

func (w *town) open() *Hearsay {
	w.Helper()
	h, err := Open(w.options)
	if err != nil {
		w.Fatal(err)
	}
	return h
}

// move appends a record through a log, which may be another server's.
func (w *town) move(log *authority.Log) (wire.Epoch, wire.Hash) {
	w.Helper()
	var entry []byte
	var err error
	id := wire.KeyID{}
	rand.Read(id[:])
	log.View(func(s *authority.State) {
		entry, err = s.Entry(authority.KindKeyCreate, authority.KeyCreate{
			ID: id, Name: "k" + id.String()[:8], Algorithm: authority.AES256, Revocation: wire.RevocationID(id),
			Settings: authority.Settings{Lease: 3600, Staleness: 900},
		}, w.clock.Now().Add(time.Hour), w.admin)
	})
	if err == nil {
		_, err = log.Append(context.Background(), entry)
	}
	if err != nil {
		w.Fatal(err)
	}
	return at(log)
}

func at(log *authority.Log) (e wire.Epoch, head wire.Hash) {
	log.View(func(s *authority.State) { e, head = s.Epoch, s.Head })
	return e, head
}

func (w *town) statement(by crypto.Signer, e wire.Epoch, head wire.Hash) []byte {
	w.Helper()
	signed, err := wire.Sign(wire.TypeStatement, wire.Marshal(wire.Statement{
		Type: wire.TypeStatement, Domain: w.id, Server: wire.ServerIDOf(w.server.Public()), Epoch: e, Head: head, Issued: w.clock.Now().UnixMilli(),
	}), by)
	if err != nil {
		w.Fatal(err)
	}
	return signed
}

func (w *town) want(h *Hearsay, want error, alarms int) {
	w.Helper()
	if err := h.Err(); !errors.Is(err, want) || want == nil && err != nil {
		w.Errorf("%v, want %v", err, want)
	}
	if len(w.alarms) != alarms {
		w.Errorf("alarms %v, want %d", w.alarms, alarms)
	}
}

// TestNothingNew: what is on the log, is nobody's word or another domain's.
func TestNothingNew(t *testing.T) {
	w := newTown(t)
	h := w.open()
	e, head := at(w.log)
	later, laterHead := w.move(w.log)
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	beyond := wire.Epoch{Generation: 1, Position: 99}
	right := w.id
	w.id[0]++
	foreign := w.statement(w.server, beyond, head)
	w.id = right
	for name, signed := range map[string][]byte{
		"none": nil, "rubbish": {1}, "an older one": w.statement(w.server, e, head), "the newest": w.statement(w.server, later, laterHead),
		"a stranger's": w.statement(stranger, beyond, head), "a stranger's fork": w.statement(stranger, e, wire.Hash{1}),
		"another domain's": foreign, "an earlier generation": w.statement(w.server, wire.Epoch{Generation: 0, Position: 1}, wire.Hash{1}),
	} {
		t.Run(name, func(t *testing.T) {
			h.Hear(signed)
			h.Look(t.Context())
			w.clock.Advance(time.Hour)
			h.Look(t.Context())
			w.want(h, nil, 0)
		})
	}
}

// TestBehind: a store that doesn't give what was stated stops the server after two
// intervals, until it does; news that goes on coming changes nothing.
func TestBehind(t *testing.T) {
	w := newTown(t)
	other, err := authority.Open(t.Context(), w.o)
	if err != nil {
		t.Fatal(err)
	}
	h := w.open()
	e, head := w.move(other)
	h.Hear(w.statement(w.server, e, head))
	select {
	case <-h.News():
	default:
		t.Error("nobody is told to look")
	}
	w.clock.Advance(2*every + time.Second)
	// Nobody has looked at the store yet, and it must not be answered before.
	w.want(h, ErrBehind, 0)
	h.Look(t.Context())
	w.want(h, nil, 0)
	e, head = w.move(other)
	frozen := w.options
	frozen.Log = frozenLog{w.log}
	h, err = Open(frozen)
	if err != nil {
		t.Fatal(err)
	}
	h.Hear(w.statement(w.server, e, head))
	w.clock.Advance(2 * every)
	h.Look(t.Context())
	w.want(h, nil, 0)
	h.Hear(w.statement(w.server, wire.Epoch{Generation: 1, Position: e.Position + 1}, wire.Hash{1}))
	w.clock.Advance(time.Second)
	h.Look(t.Context())
	h.Look(t.Context())
	w.want(h, ErrBehind, 1)
	if err := w.log.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.Look(t.Context())
	w.want(h, nil, 1) // the newer word has its own two intervals
	w.clock.Advance(2*every + time.Second)
	h.Look(t.Context())
	w.want(h, ErrBehind, 2)
}

// frozenLog is a store that shows nothing new.
type frozenLog struct{ *authority.Log }

func (frozenLog) Refresh(context.Context) error { return nil }

// TestFork: another head at a known epoch stops the server, also after a restart;
// both words are kept, and anybody can verify them.
func TestFork(t *testing.T) {
	w := newTown(t)
	h := w.open()
	e, head := w.move(w.log)
	w.move(w.log)
	theirs := w.statement(w.server, e, wire.Hash{66})
	h.Hear(theirs)
	h.Hear(w.statement(w.server, e, wire.Hash{67}))
	w.want(h, ErrFork, 1)
	files, _ := os.ReadDir(w.options.Dir)
	if len(files) != 1 || len(h.Forks()) != 1 {
		t.Fatalf("%d proofs, %d forks", len(files), len(h.Forks()))
	}
	path := filepath.Join(w.options.Dir, files[0].Name())
	data, err := os.ReadFile(path)
	var p proof
	if err != nil || wire.Unmarshal(data, &p, maxProof) != nil || p.Type != typeProof || p.Of != wire.TypeStatement {
		t.Fatalf("proof %+v: %v", p, err)
	}
	first, err := wire.ParseStatement(p.First, w.server.Public())
	second, err2 := wire.ParseStatement(p.Second, w.server.Public())
	if err := errors.Join(err, err2); err != nil || first.Epoch != second.Epoch || first.Head != head || second.Head == head {
		t.Errorf("proof of %+v and %+v: %v", first, second, err)
	}
	w.want(w.open(), ErrFork, 1)
	// What isn't a proof stops nobody.
	if err := os.WriteFile(path, data[:len(data)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	w.want(w.open(), nil, 1)
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	p.Second = w.statement(stranger, e, wire.Hash{66})
	if err := os.WriteFile(path, wire.Marshal(p), 0o600); err != nil {
		t.Fatal(err)
	}
	w.want(w.open(), nil, 1)
}

// TestForkAhead: a history that goes on from elsewhere is known as a fork as soon
// as the store reaches its epoch.
func TestForkAhead(t *testing.T) {
	w := newTown(t)
	h := w.open()
	e, _ := at(w.log)
	e.Position++
	h.Hear(w.statement(w.server, e, wire.Hash{66}))
	w.want(h, nil, 0)
	w.move(w.log)
	h.Look(t.Context())
	w.want(h, ErrFork, 1)
}

// TestFenced: what people have fenced stops nobody any more.
func TestFenced(t *testing.T) {
	w := newTown(t)
	h := w.open()
	e, _ := w.move(w.log)
	h.Hear(w.statement(w.server, e, wire.Hash{66}))
	w.want(h, ErrFork, 1)
	h.o.Log = fencedLog{w.log}
	w.want(h, nil, 1)
	h.Hear(w.statement(w.server, wire.Epoch{Generation: 1, Position: 99}, wire.Hash{1}))
	w.clock.Advance(time.Hour)
	w.want(h, nil, 1)
}

// fencedLog is the log after the server was fenced.
type fencedLog struct{ *authority.Log }

func (l fencedLog) View(f func(*authority.State)) {
	l.Log.View(func(s *authority.State) {
		m, st := *s.Members, *s
		m.Servers = append([]members.Member(nil), m.Servers...)
		m.Servers[0].Status = members.StatusFenced
		st.Members = &m
		f(&st)
	})
}
