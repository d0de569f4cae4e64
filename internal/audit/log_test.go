// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/testkit/faultfs"
	"claviger/internal/wire"
)

// memFS gives faultfs the shape of FS.
type memFS struct{ *faultfs.FS }

func (m memFS) Open(name string, create bool) (File, error) {
	f, err := m.FS.Open(name, create)
	if err != nil {
		return nil, err
	}
	return f, nil
}

var (
	testDomain = wire.DomainID{0xd0, 1}
	testKey    = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	testServer = wire.ServerIDOf(testKey.Public())
)

const testDir = "data/audit"

func testOptions(fsys FS) Options {
	return Options{
		Dir: testDir, Domain: testDomain, Server: testServer, Signer: testKey, FS: fsys,
		Clock: clock.NewManual(time.UnixMilli(1_700_000_000_000)),
	}
}

func newMem(seed uint64) memFS { return memFS{faultfs.New(seed)} }

func mustOpen(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustClose(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// testLeaf is a decision that is told apart by i.
func testLeaf(i int) Leaf {
	return Leaf{
		Kind: Decision, Request: wire.Sum("test", fmt.Append(nil, i)), Item: uint64(i % 3),
		Caller: "Workload::spiffe://demo/workload/web", Action: "release", Operations: []string{"decrypt"},
		Resource: "payments/cards", KeyID: wire.KeyID{1}, Version: 2, Purpose: wire.PurposeData,
		Partition: fmt.Appendf(nil, "tenant-%d", i), Route: "direct", Epoch: wire.Epoch{Generation: 1, Position: 9},
		Decision: wire.DecisionAllowed, Policies: []string{"cards"}, KC: wire.Sum("kc", fmt.Append(nil, i)), Lease: 3600,
	}
}

// put enters a leaf and waits for it.
func put(t testing.TB, l *Log, leaf Leaf) Position {
	t.Helper()
	at, ticket, err := l.Enter(leaf)
	if err != nil {
		t.Fatalf("enter: %v", err)
	}
	if err := ticket.Wait(context.Background()); err != nil {
		t.Fatalf("wait: %v", err)
	}
	return at
}

// all reads a log's leaves.
func all(t testing.TB, l *Log, number uint64) []Entry {
	t.Helper()
	var out []Entry
	for e, err := range l.Leaves(Position{Log: number}, 1<<40) {
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		out = append(out, e)
	}
	return out
}

func kinds(entries []Entry) string {
	var out []string
	for _, e := range entries {
		out = append(out, string(e.Leaf.Kind))
	}
	return strings.Join(out, " ")
}

func TestEnterReadReopen(t *testing.T) {
	fsys := newMem(1)
	l := mustOpen(t, testOptions(fsys))
	for i := range 3 {
		if at := put(t, l, testLeaf(i)); at != (Position{Log: 1, Index: uint64(i + 1)}) {
			t.Fatalf("position %s", at)
		}
	}
	mustClose(t, l)
	l = mustOpen(t, testOptions(fsys))
	put(t, l, testLeaf(3))
	got := all(t, l, 1)
	if k := kinds(got); k != "start decision decision decision stop start decision" {
		t.Fatalf("kinds: %s", k)
	}
	if string(got[2].Leaf.Partition) != "tenant-1" || got[2].Leaf.Time != 1_700_000_000_000 {
		t.Errorf("leaf 2: %+v", got[2].Leaf)
	}
	if o := l.Opened(); o != (Opening{Number: 1}) {
		t.Errorf("opening: %+v", o)
	}
	mustClose(t, l)
	if _, _, err := l.Enter(testLeaf(4)); !errors.Is(err, ErrClosed) {
		t.Errorf("enter after close: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

// TestConcurrentOrder checks that positions are unique, that the journal's
// order is that of the positions, and that marks find the middle.
func TestConcurrentOrder(t *testing.T) {
	l := mustOpen(t, testOptions(newMem(2)))
	const writers, each = 16, 700
	var group sync.WaitGroup
	placed := make([][]Position, writers)
	for w := range writers {
		group.Go(func() {
			for i := range each {
				at, ticket, err := l.Enter(testLeaf(w*each + i))
				if err == nil {
					err = ticket.Wait(context.Background())
				}
				if err != nil {
					t.Error(err)
					return
				}
				if _, size := l.Size(); size <= at.Index {
					t.Errorf("leaf %s is acknowledged, but not in the tree of %d", at, size)
				}
				placed[w] = append(placed[w], at)
			}
		})
	}
	group.Wait()
	entries := all(t, l, 1)
	if len(entries) != writers*each+1 {
		t.Fatalf("%d leaves", len(entries))
	}
	for w := range writers {
		for i, at := range placed[w] {
			want := testLeaf(w*each + i)
			if entries[at.Index].Leaf.Request != want.Request || entries[at.Index].Position != at {
				t.Fatalf("leaf %s isn't the one entered there", at)
			}
		}
	}
	if len(l.state.marks) < 2 {
		t.Errorf("%d marks", len(l.state.marks))
	}
	n := 0
	for e, err := range l.Leaves(Position{Log: 1, Index: 9000}, 5) {
		if err != nil || e.Position.Index != uint64(9000+n) || e.Leaf.Request != entries[9000+n].Leaf.Request {
			t.Fatalf("leaf %d of a late start: %v %v", n, e.Position, err)
		}
		n++
	}
	if n != 5 {
		t.Errorf("%d leaves of 5", n)
	}
	mustClose(t, l)
}

func TestEnterRefuses(t *testing.T) {
	l := mustOpen(t, testOptions(newMem(6)))
	defer mustClose(t, l)
	for name, change := range map[string]func(*Leaf){
		"start":            func(f *Leaf) { f.Kind = Start },
		"stop":             func(f *Leaf) { f.Kind = Stop },
		"no kind":          func(f *Leaf) { f.Kind = "" },
		"unknown kind":     func(f *Leaf) { f.Kind = "other" },
		"no decision":      func(f *Leaf) { f.Decision = "" },
		"long partition":   func(f *Leaf) { f.Partition = make([]byte, wire.MaxPartition+1) },
		"control":          func(f *Leaf) { f.Caller = "a\nb" },
		"escape":           func(f *Leaf) { f.Reason = "\x1b[2J" },
		"delete":           func(f *Leaf) { f.Reason = "\x7f" },
		"direction":        func(f *Leaf) { f.Stated = "a\u202eb" },
		"not UTF-8":        func(f *Leaf) { f.Resource = "\xff" },
		"long text":        func(f *Leaf) { f.Reason = strings.Repeat("x", maxText+1) },
		"control in list":  func(f *Leaf) { f.Policies = []string{"a", "b\r"} },
		"long list":        func(f *Leaf) { f.Operations = make([]string, maxList+1) },
		"many policies":    func(f *Leaf) { f.Policies = make([]string, maxList+1) },
		"many attributes":  func(f *Leaf) { f.Attributes = make([]wire.Hash, maxList+1) },
		"previous":         func(f *Leaf) { f.Previous.Number = 1 },
		"before the epoch": func(f *Leaf) { f.Time = -1 },
		"too large":        func(f *Leaf) { f.Policies = slices.Repeat([]string{strings.Repeat("p", maxText)}, 40) },
	} {
		leaf := testLeaf(1)
		change(&leaf)
		if _, _, err := l.Enter(leaf); !errors.Is(err, ErrLeaf) {
			t.Errorf("%s: %v", name, err)
		}
	}
	leaf := testLeaf(1)
	leaf.Stated = "Prüfung für März"
	put(t, l, leaf)
}

func TestOptions(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"no signer":    func(o *Options) { o.Signer = nil },
		"no clock":     func(o *Options) { o.Clock = nil },
		"no directory": func(o *Options) { o.Dir = "" },
	} {
		o := testOptions(newMem(7))
		change(&o)
		if _, err := Open(o); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Another domain's or server's directory is never written to.
	o := testOptions(newMem(8))
	mustClose(t, mustOpen(t, o))
	o.Domain[5] ^= 1
	if _, err := Open(o); !errors.Is(err, ErrConfig) {
		t.Errorf("another domain's log: %v", err)
	}
}

func TestLocked(t *testing.T) {
	o := testOptions(OS())
	o.Dir = filepath.Join(t.TempDir(), "audit")
	l := mustOpen(t, o)
	put(t, l, testLeaf(1))
	if _, err := Open(o); err == nil {
		t.Error("opened twice")
	}
	mustClose(t, l)
	mustClose(t, mustOpen(t, o))
}

// TestLeafRoundTrip checks that every field survives, by way of reflection in
// the codec: a leaf decodes to what was encoded.
func TestLeafRoundTrip(t *testing.T) {
	leaf := testLeaf(5)
	leaf.Shape, leaf.Time = leafShape, 1
	leaf.Kind, leaf.Of, leaf.Count = Outcome, Position{Log: 2, Index: 3}, 4
	body, err := leaf.encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseLeaf(body)
	if err != nil {
		t.Fatal(err)
	}
	again, err := back.encode()
	if err != nil || !bytes.Equal(again, body) || back.Of != leaf.Of || back.KC != leaf.KC {
		t.Errorf("%+v, %v", back, err)
	}
	if _, err := ParseLeaf(append(body, 0)); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("trailing byte: %v", err)
	}
	leaf.Shape = 2
	if _, err := ParseLeaf(wire.Marshal(&leaf)); !errors.Is(err, ErrLeaf) {
		t.Errorf("another shape: %v", err)
	}
}

func TestReadStopsEarly(t *testing.T) {
	l := mustOpen(t, testOptions(newMem(9)))
	defer mustClose(t, l)
	put(t, l, testLeaf(1))
	for range l.Leaves(Position{Log: 1}, 10) {
		break
	}
	for range l.Leaves(Position{Log: 1}, 0) {
		t.Error("leaf of none")
	}
	for _, err := range l.Leaves(Position{Log: 7}, 1) {
		if err == nil {
			t.Error("leaf of a log that isn't there")
		}
	}
}

var _ io.Closer = (*Log)(nil)
