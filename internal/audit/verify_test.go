// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"claviger/internal/wire"
)

func testVerifyOptions() VerifyOptions {
	return VerifyOptions{Domain: testDomain, Keys: map[wire.ServerID]ed25519.PublicKey{testServer: testKey.Public().(ed25519.PublicKey)}}
}

// faults is the kinds of a report's faults.
func faults(r Report) []FaultKind {
	var out []FaultKind
	for _, f := range r.Faults {
		out = append(out, f.Kind)
	}
	return slices.Compact(out)
}

func wantFaults(t *testing.T, name string, o VerifyOptions, want []FaultKind, archives ...[]byte) Report {
	t.Helper()
	var readers []io.Reader
	for _, a := range archives {
		readers = append(readers, bytes.NewReader(a))
	}
	report, err := Verify(o, readers...)
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if got := faults(report); !slices.Equal(got, want) {
		t.Errorf("%s: faults %v, want %v (%+v)", name, got, want, report.Faults)
	}
	return report
}

// sample is a log of 300 leaves with blobs, and its archive.
func sample(t testing.TB, fsys FS) (*Log, []byte, []Position) {
	t.Helper()
	l := mustOpen(t, testOptions(fsys))
	hash, err := l.Blob([]byte("policy set"))
	if err != nil {
		t.Fatal(err)
	}
	var at []Position
	var last Ticket
	for i := range 300 {
		leaf := testLeaf(i)
		leaf.PolicySet = hash
		if i%10 == 9 {
			leaf.Decision, leaf.KC, leaf.Reason = wire.DecisionDenied, wire.Hash{}, "no permit"
		}
		p, ticket, err := l.Enter(leaf)
		if err != nil {
			t.Fatal(err)
		}
		at, last = append(at, p), ticket
	}
	if err := last.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l, export(t, l), at
}

func TestVerifyGood(t *testing.T) {
	l, archive, _ := sample(t, newMem(31))
	defer mustClose(t, l)
	report := wantFaults(t, "good", testVerifyOptions(), nil, archive)
	if len(report.Logs) != 1 || !report.OK() {
		t.Fatalf("%+v", report)
	}
	got := report.Logs[0]
	c, _ := l.Checkpoint()
	if got.Size != 301 || got.Root != c.Root || got.Allowed != 270 || got.Denied != 30 || got.First == 0 || got.Last == 0 {
		t.Errorf("%+v", got)
	}
	if parts := unpack(t, archive); parts[len(parts)-1].name != "00000001/blob/"+sha256Hex([]byte("policy set")) {
		t.Errorf("last part %s", parts[len(parts)-1].name)
	}
	// A later export of the same log extends it; read the other way round, the
	// older one can't be held against the newer.
	put(t, l, testLeaf(1000))
	later := export(t, l)
	wantFaults(t, "two exports", testVerifyOptions(), nil, archive, later)
	if _, err := Verify(testVerifyOptions(), bytes.NewReader(later), bytes.NewReader(archive)); !errors.Is(err, ErrArchive) {
		t.Errorf("newest first: %v", err)
	}
}

// TestVerifyLeaves: everybody who can't sign for the server is named for what
// they did to the leaves, wherever the hash tiles are left as they were.
func TestVerifyLeaves(t *testing.T) {
	l, archive, _ := sample(t, newMem(32))
	defer mustClose(t, l)
	edit := func(body []byte) []byte {
		leaf, err := ParseLeaf(body)
		if err != nil {
			t.Fatal(err)
		}
		leaf.Caller = "somebody else"
		out, _ := leaf.encode()
		return out
	}
	for _, c := range []struct {
		name   string
		change func([][]byte) [][]byte
		want   FaultKind
		index  uint64
	}{
		{"dropped", func(b [][]byte) [][]byte { return slices.Delete(b, 17, 18) }, Dropped, 17},
		{"dropped at a tile's end", func(b [][]byte) [][]byte { return slices.Delete(b, 255, 257) }, Dropped, 255},
		{"edited", func(b [][]byte) [][]byte { b[40] = edit(b[40]); return b }, Edited, 40},
		{"reordered", func(b [][]byte) [][]byte { b[5], b[6] = b[6], b[5]; return b }, Reordered, 5},
		{"truncated", func(b [][]byte) [][]byte { return b[:290] }, Truncated, 290},
		{"inserted", func(b [][]byte) [][]byte { return slices.Insert(b, 9, edit(b[9])) }, Inserted, 9},
		{"dropped and inserted", func(b [][]byte) [][]byte { b[3] = edit(b[3]); return slices.Delete(b, 8, 10) }, Edited, 3},
	} {
		changed := bodiesOf(t, archive, "00000001", false, c.change)
		report := wantFaults(t, c.name, testVerifyOptions(), []FaultKind{c.want}, changed)
		if len(report.Faults) == 0 || report.Faults[0].Index != c.index {
			t.Errorf("%s: %+v", c.name, report.Faults)
		}
	}
	// With the hash tiles rewritten too, only that something is wrong is known.
	wantFaults(t, "tiles too", testVerifyOptions(), []FaultKind{Unexplained},
		bodiesOf(t, archive, "00000001", true, func(b [][]byte) [][]byte { b[40] = edit(b[40]); return b }))
	wantFaults(t, "truncated with tiles", testVerifyOptions(), []FaultKind{Truncated},
		bodiesOf(t, archive, "00000001", true, func(b [][]byte) [][]byte { return b[:200] }))
	wantFaults(t, "added behind the checkpoint", testVerifyOptions(), []FaultKind{Unsigned},
		bodiesOf(t, archive, "00000001", true, func(b [][]byte) [][]byte { return append(b, edit(b[9])) }))
	wantFaults(t, "not a leaf", testVerifyOptions(), []FaultKind{Unexplained, Malformed},
		bodiesOf(t, archive, "00000001", true, func(b [][]byte) [][]byte { b[7] = []byte("x"); return b }))
}

// TestVerifyParts: what stands beside the leaves.
func TestVerifyParts(t *testing.T) {
	l, archive, _ := sample(t, newMem(33))
	defer mustClose(t, l)
	without := func(suffix string) []byte {
		return repack(t, archive, func(parts []part) []part {
			return slices.DeleteFunc(parts, func(p part) bool { return strings.Contains(p.name, suffix) })
		})
	}
	change := func(suffix string, f func([]byte) []byte) []byte {
		return repack(t, archive, func(parts []part) []part {
			for i, p := range parts {
				if strings.Contains(p.name, suffix) {
					parts[i].data = f(p.data)
				}
			}
			return parts
		})
	}
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	wantFaults(t, "no checkpoint", testVerifyOptions(), []FaultKind{Unsigned}, without("/checkpoint"))
	wantFaults(t, "forged checkpoint", testVerifyOptions(), []FaultKind{Unsigned}, change("/checkpoint", flip))
	wantFaults(t, "another key", testVerifyOptions(), []FaultKind{Unsigned}, change("/vkey", flip))
	wantFaults(t, "no blob", testVerifyOptions(), []FaultKind{MissingBlob}, without("/blob/"))
	wantFaults(t, "edited blob", testVerifyOptions(), []FaultKind{EditedBlob}, change("/blob/", flip))
	wantFaults(t, "tile alone", testVerifyOptions(), []FaultKind{Unexplained}, change("/tile/0/001.p", flip))
	wantFaults(t, "first tile alone", testVerifyOptions(), []FaultKind{Unexplained}, change("/tile/0/000", flip))
}

// grantOf is what a client holds of the leaf at a position.
func grantOf(leaf Leaf, at Position) *wire.Grant {
	item := wire.GrantItem{
		KeyID: leaf.KeyID, Name: leaf.Resource, Version: leaf.Version, Purpose: leaf.Purpose, Partition: leaf.Partition,
		Decision: leaf.Decision, KC: leaf.KC[:], Lease: uint32(leaf.Lease), AuditLog: at.Log, AuditIndex: at.Index,
	}
	g := &wire.Grant{Server: testServer, Client: "spiffe://demo/workload/web", Request: leaf.Request, Epoch: leaf.Epoch}
	for range leaf.Item {
		other := item
		other.AuditIndex += 1 << 40
		g.Items = append(g.Items, other)
	}
	g.Items = append(g.Items, item)
	return g
}

// TestVerifyReceipts is attack scenario 41: a server that answers without a
// leaf, or writes another one, is found by what its client holds.
func TestVerifyReceipts(t *testing.T) {
	l, archive, at := sample(t, newMem(35))
	defer mustClose(t, l)
	receipt := func(i int, change func(*Receipt)) VerifyOptions {
		o := testVerifyOptions()
		all := Receipts(grantOf(testLeaf(i), at[i]))
		r := all[len(all)-1]
		if change != nil {
			change(&r)
		}
		o.Receipts = []Receipt{r}
		return o
	}
	wantFaults(t, "receipt", receipt(50, nil), nil, archive)
	wantFaults(t, "never written", receipt(50, func(r *Receipt) { r.Position.Index = 1 << 30 }), []FaultKind{Skipped}, archive)
	wantFaults(t, "another log", receipt(50, func(r *Receipt) { r.Position.Log = 2 }), []FaultKind{Skipped}, archive)
	wantFaults(t, "another server", receipt(50, func(r *Receipt) { r.Server[0] ^= 1 }), []FaultKind{Skipped}, archive)
	for name, change := range map[string]func(*Receipt){
		"index":     func(r *Receipt) { r.Position.Index++ },
		"start":     func(r *Receipt) { r.Position.Index = 0 },
		"request":   func(r *Receipt) { r.Request[0] ^= 1 },
		"item":      func(r *Receipt) { r.Item++ },
		"client":    func(r *Receipt) { r.Client += "x" },
		"epoch":     func(r *Receipt) { r.Epoch.Position++ },
		"decision":  func(r *Receipt) { r.Grant.Decision = wire.DecisionDenied },
		"key":       func(r *Receipt) { r.Grant.KeyID[0] ^= 1 },
		"name":      func(r *Receipt) { r.Grant.Name += "x" },
		"version":   func(r *Receipt) { r.Grant.Version++ },
		"purpose":   func(r *Receipt) { r.Grant.Purpose = wire.PurposeMAC },
		"partition": func(r *Receipt) { r.Grant.Partition = []byte("x") },
		"kc":        func(r *Receipt) { r.Grant.KC = bytes.Repeat([]byte{1}, 32) },
		"lease":     func(r *Receipt) { r.Grant.Lease++ },
	} {
		wantFaults(t, name, receipt(50, change), []FaultKind{Contradicted}, archive)
	}
	// A refusal tells the client less than the leaf.
	refused := receipt(59, func(r *Receipt) {
		r.Grant.Decision, r.Grant.KC, r.Grant.KeyID, r.Grant.Version, r.Grant.Name, r.Grant.Lease = wire.DecisionDenied, nil, wire.KeyID{}, 0, "asked/for", 0
	})
	wantFaults(t, "refusal", refused, nil, archive)
}

// resign gives a changed log a checkpoint of the server itself: the server is
// evil.
func resign(t *testing.T, archive []byte, log string, number uint64) []byte {
	t.Helper()
	return repack(t, archive, func(parts []part) []part {
		var tr tree
		for _, p := range parts {
			if strings.HasPrefix(p.name, log+"/tile/entries/") {
				bodies, err := splitBundle(p.data)
				if err != nil {
					t.Fatal(err)
				}
				for _, b := range bodies {
					tr.append(leafHash(b))
				}
			}
		}
		name := Origin(testDomain, testServer, number)
		key, err := newNoteKey(testKey)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := note.Sign(&note.Note{Text: checkpointText(name, tr.size, tr.root())}, named{key, name})
		if err != nil {
			t.Fatal(err)
		}
		for i := range parts {
			if parts[i].name == log+"/checkpoint" {
				parts[i].data = signed
			}
		}
		return parts
	})
}

// TestVerifyEvilServer: a server that signs what it changed is found by
// anchors, by older archives and by its own other leaves.
func TestVerifyEvilServer(t *testing.T) {
	l, archive, _ := sample(t, newMem(36))
	defer mustClose(t, l)
	c, _ := l.Checkpoint()
	anchored := testVerifyOptions()
	anchored.Anchors = []Anchor{{testServer, c.Checkpoint, "the authority log"}}
	wantFaults(t, "anchor", anchored, nil, archive)
	rewrite := func(change func(*Leaf)) []byte {
		return resign(t, bodiesOf(t, archive, "00000001", true, func(b [][]byte) [][]byte {
			leaf, err := ParseLeaf(b[100])
			if err != nil {
				t.Fatal(err)
			}
			change(leaf)
			b[100], _ = leaf.encode()
			return b
		}), "00000001", 1)
	}
	edited := rewrite(func(f *Leaf) { f.Caller = "x" })
	wantFaults(t, "signed again", testVerifyOptions(), nil, edited)
	wantFaults(t, "signed again, anchored", anchored, []FaultKind{Forked}, edited)
	wantFaults(t, "signed again, older archive", testVerifyOptions(), []FaultKind{Forked}, archive, edited)
	short := resign(t, bodiesOf(t, archive, "00000001", true, func(b [][]byte) [][]byte { return b[:250] }), "00000001", 1)
	wantFaults(t, "shorter than its anchor", anchored, []FaultKind{Truncated}, short)
	other := anchored
	other.Anchors = append(slices.Clone(anchored.Anchors), Anchor{testServer, wire.Checkpoint{Log: 1, Size: c.Size, Root: wire.Hash{1}}, "a statement"})
	wantFaults(t, "two anchors", other, []FaultKind{Forked}, archive)
	wantFaults(t, "two anchors, no archive", other, []FaultKind{Forked, Gap})
	nothing := testVerifyOptions()
	nothing.Anchors = []Anchor{{testServer, wire.Checkpoint{Log: 1, Root: wire.Hash{1}}, "a statement"}}
	wantFaults(t, "root of nothing", nothing, []FaultKind{Forked}, archive)
	nothing.Anchors[0].Root = emptyRoot()
	wantFaults(t, "empty", nothing, nil, archive)
	receipt := testVerifyOptions()
	all := Receipts(grantOf(testLeaf(99), Position{Log: 1, Index: 100}))
	receipt.Receipts = all[len(all)-1:]
	receipt.Receipts[0].Grant.Decision, receipt.Receipts[0].Grant.KC = wire.DecisionDenied, nil
	wantFaults(t, "denied", receipt, nil, archive)
	wantFaults(t, "written as something else", receipt, []FaultKind{Contradicted}, rewrite(func(f *Leaf) { f.Kind = Outcome }))
	gone := anchored
	gone.Anchors = append(slices.Clone(anchored.Anchors), Anchor{testServer, wire.Checkpoint{Log: 2, Size: 7}, "the authority log"})
	wantFaults(t, "anchored log missing", gone, []FaultKind{Gap}, archive)

	// Attack scenario 10: two keys under one name.
	twin := rewrite(func(f *Leaf) {
		of := testLeaf(30)
		f.Partition, f.KC = of.Partition, wire.Hash{9}
	})
	report := wantFaults(t, "two keys", testVerifyOptions(), []FaultKind{TwoKeys}, twin)
	if report.Faults[0].Index != 100 {
		t.Errorf("%+v", report.Faults)
	}
	for name, change := range map[string]func(*Leaf){
		"another key":       func(f *Leaf) { f.KeyID[3] ^= 1 },
		"another version":   func(f *Leaf) { f.Version++ },
		"another purpose":   func(f *Leaf) { f.Purpose = wire.PurposeMAC },
		"another partition": func(f *Leaf) { f.Partition = []byte("other") },
	} {
		wantFaults(t, name, testVerifyOptions(), nil, rewrite(func(f *Leaf) { f.Partition, f.KC = testLeaf(30).Partition, wire.Hash{9}; change(f) }))
	}
}

// TestVerifyNumbers: logs that follow each other.
func TestVerifyNumbers(t *testing.T) {
	o := testOptions(newMem(37))
	o.MaxBytes = 8 << 10
	l := mustOpen(t, o)
	for i := range 60 {
		put(t, l, testLeaf(i))
	}
	archive := export(t, l)
	mustClose(t, l)
	report := wantFaults(t, "good", testVerifyOptions(), nil, archive)
	if len(report.Logs) < 3 {
		t.Fatalf("%d logs", len(report.Logs))
	}
	without := func(log string) []byte {
		return repack(t, archive, func(parts []part) []part {
			return slices.DeleteFunc(parts, func(p part) bool { return strings.HasPrefix(p.name, log+"/") })
		})
	}
	backwards := repack(t, archive, func(parts []part) []part {
		out := parts[:1:1]
		for _, log := range []string{"00000002/", "00000001/"} {
			for _, p := range parts {
				if strings.HasPrefix(p.name, log) {
					out = append(out, p)
				}
			}
		}
		return out
	})
	if _, err := Verify(testVerifyOptions(), bytes.NewReader(backwards)); !errors.Is(err, ErrArchive) {
		t.Errorf("backwards: %v", err)
	}
	wantFaults(t, "first missing", testVerifyOptions(), []FaultKind{Gap}, without("00000001"))
	wantFaults(t, "second missing", testVerifyOptions(), []FaultKind{Gap}, without("00000002"))
	change := func(f func([][]byte) [][]byte) []byte {
		return resign(t, bodiesOf(t, archive, "00000001", true, f), "00000001", 1)
	}
	last := func(b [][]byte) []byte { return b[len(b)-1] }
	wantFaults(t, "first shortened", testVerifyOptions(), []FaultKind{Truncated}, change(func(b [][]byte) [][]byte { return b[:len(b)-1] }))
	wantFaults(t, "first lengthened", testVerifyOptions(), []FaultKind{Inserted}, change(func(b [][]byte) [][]byte { return append(b, last(b)) }))
	wantFaults(t, "first rewritten", testVerifyOptions(), []FaultKind{Forked}, change(func(b [][]byte) [][]byte { b[1], b[2] = b[2], b[1]; return b }))
	wantFaults(t, "no start", testVerifyOptions(), []FaultKind{Malformed, Forked}, change(func(b [][]byte) [][]byte { b[0] = b[1]; return b }))
}

// TestVerifyGivenUp: a log that was damaged and given up before its first
// checkpoint is vouched for by the next one, and shown.
func TestVerifyGivenUp(t *testing.T) {
	fsys := newMem(38)
	l := mustOpen(t, testOptions(fsys))
	var offsets []int
	for i := range 5 {
		offsets = append(offsets, int(l.journal.offset))
		put(t, l, testLeaf(i))
	}
	after := memFS{fsys.Crash(1)}
	after.Damage(journalOne, offsets[2]+50)
	l = mustOpen(t, testOptions(after))
	put(t, l, testLeaf(9))
	archive := export(t, l)
	report := wantFaults(t, "given up", testVerifyOptions(), nil, archive)
	if len(report.Logs) != 2 || report.Logs[0].Size != 3 || report.Logs[1].GivenUp == "" {
		t.Errorf("%+v", report.Logs)
	}
	wantFaults(t, "its leaves aren't vouched for", testVerifyOptions(), []FaultKind{Unsigned, Inserted},
		bodiesOf(t, archive, "00000001", true, func(b [][]byte) [][]byte { return append(b, b[2]) }))
	mustClose(t, l)
}

// TestFaultsBounded: a report stays small however bad the archive.
func TestFaultsBounded(t *testing.T) {
	v := NewVerifier(testVerifyOptions())
	for i := range uint64(MaxFaults + 5) {
		v.fault(Fault{Kind: Edited, Index: i})
	}
	if r := v.Report(); len(r.Faults) != MaxFaults || r.More != 5 || r.OK() {
		t.Errorf("%d faults and %d more", len(r.Faults), r.More)
	}
	if v.Report().More != 5 {
		t.Error("the second report differs")
	}
}
