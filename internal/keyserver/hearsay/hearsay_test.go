// SPDX-License-Identifier: Apache-2.0

package hearsay

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/authority/authoritytest"
	"claviger/internal/members"
	"claviger/internal/wire"
)

const every = 30 * time.Second

// town is a domain whose one server may be told things, also of itself.
type town struct {
	*authoritytest.Domain
	alarms  []string
	options Options
}

func newTown(t *testing.T) *town {
	w := &town{Domain: authoritytest.New(t)}
	w.options = Options{
		Dir: filepath.Join(t.TempDir(), "proofs"), Domain: w.ID, Log: w.Log, Clock: w.Clock, Every: every,
		Own:   func(e wire.Epoch, head wire.Hash) ([]byte, error) { return w.statement(w.Server, e, head), nil },
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
	id := wire.KeyID{}
	rand.Read(id[:])
	w.Create(log, id, "k"+id.String()[:8])
	return authoritytest.At(log)
}

func (w *town) statement(by crypto.Signer, e wire.Epoch, head wire.Hash) []byte {
	w.Helper()
	signed, err := wire.Sign(wire.TypeStatement, wire.Marshal(wire.Statement{
		Type: wire.TypeStatement, Domain: w.ID, Server: wire.ServerIDOf(w.Server.Public()), Epoch: e, Head: head, Issued: w.Clock.Now().UnixMilli(),
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
	e, head := authoritytest.At(w.Log)
	later, laterHead := w.move(w.Log)
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	beyond := wire.Epoch{Generation: 1, Position: 99}
	right := w.ID
	w.ID[0]++
	foreign := w.statement(w.Server, beyond, head)
	w.ID = right
	for name, signed := range map[string][]byte{
		"none": nil, "rubbish": {1}, "an older one": w.statement(w.Server, e, head), "the newest": w.statement(w.Server, later, laterHead),
		"a stranger's": w.statement(stranger, beyond, head), "a stranger's fork": w.statement(stranger, e, wire.Hash{1}),
		"another domain's": foreign, "an earlier generation": w.statement(w.Server, wire.Epoch{Generation: 0, Position: 1}, wire.Hash{1}),
	} {
		t.Run(name, func(t *testing.T) {
			h.Hear(signed)
			h.Look(t.Context())
			w.Clock.Advance(time.Hour)
			h.Look(t.Context())
			w.want(h, nil, 0)
		})
	}
}

// TestBehind: a store that doesn't give what was stated stops the server after two
// intervals, until it does; news that goes on coming changes nothing.
func TestBehind(t *testing.T) {
	w := newTown(t)
	other, err := authority.Open(t.Context(), w.Options)
	if err != nil {
		t.Fatal(err)
	}
	h := w.open()
	e, head := w.move(other)
	h.Hear(w.statement(w.Server, e, head))
	select {
	case <-h.News():
	default:
		t.Error("nobody is told to look")
	}
	w.Clock.Advance(2*every + time.Second)
	// Nobody has looked at the store yet, and it must not be answered before.
	w.want(h, ErrBehind, 0)
	h.Look(t.Context())
	w.want(h, nil, 0)
	e, head = w.move(other)
	frozen := w.options
	frozen.Log = frozenLog{w.Log}
	h, err = Open(frozen)
	if err != nil {
		t.Fatal(err)
	}
	h.Hear(w.statement(w.Server, e, head))
	w.Clock.Advance(2 * every)
	h.Look(t.Context())
	w.want(h, nil, 0)
	h.Hear(w.statement(w.Server, wire.Epoch{Generation: 1, Position: e.Position + 1}, wire.Hash{1}))
	w.Clock.Advance(time.Second)
	h.Look(t.Context())
	h.Look(t.Context())
	w.want(h, ErrBehind, 1)
	if err := w.Log.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.Look(t.Context())
	w.want(h, nil, 1) // the newer word has its own two intervals
	w.Clock.Advance(2*every + time.Second)
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
	e, head := w.move(w.Log)
	w.move(w.Log)
	theirs := w.statement(w.Server, e, wire.Hash{66})
	h.Hear(theirs)
	h.Hear(w.statement(w.Server, e, wire.Hash{67}))
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
	first, err := wire.ParseStatement(p.First, w.Server.Public())
	second, err2 := wire.ParseStatement(p.Second, w.Server.Public())
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
	e, _ := authoritytest.At(w.Log)
	e.Position++
	h.Hear(w.statement(w.Server, e, wire.Hash{66}))
	w.want(h, nil, 0)
	w.move(w.Log)
	h.Look(t.Context())
	w.want(h, ErrFork, 1)
}

// TestFenced: what people have fenced stops nobody any more.
func TestFenced(t *testing.T) {
	w := newTown(t)
	h := w.open()
	e, _ := w.move(w.Log)
	h.Hear(w.statement(w.Server, e, wire.Hash{66}))
	w.want(h, ErrFork, 1)
	h.o.Log = fencedLog{w.Log}
	w.want(h, nil, 1)
	h.Hear(w.statement(w.Server, wire.Epoch{Generation: 1, Position: 99}, wire.Hash{1}))
	w.Clock.Advance(time.Hour)
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
