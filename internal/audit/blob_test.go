// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"claviger/internal/audit/disk"
	"claviger/internal/wire"
)

func TestCheckpoint(t *testing.T) {
	fsys := newMem(3)
	l := mustOpen(t, testOptions(fsys))
	put(t, l, testLeaf(1))
	c, err := l.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	if c.Size != 2 || c.Log != 1 {
		t.Errorf("checkpoint %+v", c.Checkpoint)
	}
	again, err := l.Checkpoint()
	if err != nil || !bytes.Equal(again.Note, c.Note) {
		t.Errorf("without new leaves: %v", err)
	}
	origin := Origin(testDomain, testServer, 1)
	public := testKey.Public().(ed25519.PublicKey)
	parsed, err := ParseCheckpoint(c.Note, origin, public)
	if err != nil || parsed.Size != 2 || parsed.Root != c.Root {
		t.Errorf("parsed %+v, %v", parsed.Checkpoint, err)
	}
	if _, err := ParseCheckpoint(c.Note, Origin(testDomain, testServer, 2), public); err == nil {
		t.Error("taken for another log's")
	}
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	if _, err := ParseCheckpoint(c.Note, origin, other); err == nil {
		t.Error("verified with another key")
	}
	if _, err := ParseCheckpoint(bytes.Replace(c.Note, []byte("\n2\n"), []byte("\n3\n"), 1), origin, public); err == nil {
		t.Error("verified with another size")
	}
	mustClose(t, l)
	final, err := l.Checkpoint()
	if err != nil || final.Size != 3 {
		t.Errorf("after close: %+v, %v", final.Checkpoint, err)
	}
	on, err := disk.ReadFile(fsys, filepath.Join(numberDir(testDir, 1), checkpointName), maxNote)
	if err != nil || !bytes.Equal(on, final.Note) {
		t.Errorf("the file doesn't hold the last checkpoint: %v", err)
	}
}

// TestCheckpointText: one text per checkpoint, even if the server signed
// another spelling of it.
func TestCheckpointText(t *testing.T) {
	origin := Origin(testDomain, testServer, 1)
	key, err := newNoteKey(testKey)
	if err != nil {
		t.Fatal(err)
	}
	root := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for text, good := range map[string]bool{
		origin + "\n7\n" + root + "\n":                   true,
		origin + "\n07\n" + root + "\n":                  false,
		origin + "\n+7\n" + root + "\n":                  false,
		origin + "\n7\n" + root + "\nmore\n":             false,
		origin + "\n7\n" + root[:42] + "B=\n":            false, // spare bits set
		origin + "\n7\n" + root[:40] + "\n":              false,
		origin + "\n9223372036854775808\n" + root + "\n": false,
		"other\n7\n" + root + "\n":                       false,
	} {
		signed, err := note.Sign(&note.Note{Text: text}, named{key, origin})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseCheckpoint(signed, origin, key.public); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := ParseCheckpoint(make([]byte, maxNote+1), origin, key.public); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("large note: %v", err)
	}
}

// TestCarryChecks: a blob that has rotted in the closed log is not copied as if
// it were whole.
func TestCarryChecks(t *testing.T) {
	fsys := newMem(10)
	o := testOptions(fsys)
	o.MaxBytes = 4 << 10
	l := mustOpen(t, o)
	defer mustClose(t, l)
	hash, err := l.Blob([]byte("attributes"))
	if err != nil {
		t.Fatal(err)
	}
	leaf := testLeaf(1)
	leaf.Attributes = []wire.Hash{hash}
	put(t, l, leaf)
	for i := 0; put(t, l, testLeaf(i)).Log == 1; i++ {
	}
	name := filepath.Join(numberDir(testDir, 1), journalName)
	data, err := disk.ReadFile(fsys, name, 1<<20)
	if err != nil || !fsys.Damage(name, bytes.Index(data, []byte("attributes"))) {
		t.Fatal("nothing to damage")
	}
	if _, _, err := l.Enter(leaf); !errors.Is(err, ErrBlob) {
		t.Errorf("enter: %v", err)
	}
	if _, err := l.ReadBlob(hash); !errors.Is(err, ErrBlob) {
		t.Errorf("read: %v", err)
	}
	if _, err := l.Blob([]byte("attributes")); err != nil {
		t.Errorf("store again: %v", err)
	}
	put(t, l, leaf)
}

func TestBlobs(t *testing.T) {
	fsys := newMem(4)
	o := testOptions(fsys)
	o.MaxBytes = 6 << 10
	l := mustOpen(t, o)
	data := []byte("the policy set")
	hash, err := l.Blob(data)
	if err != nil {
		t.Fatal(err)
	}
	before := l.length
	if again, err := l.Blob(data); err != nil || again != hash || l.length != before {
		t.Errorf("stored twice: %v", err)
	}
	leaf := testLeaf(1)
	leaf.PolicySet = wire.Hash{1}
	if _, _, err := l.Enter(leaf); !errors.Is(err, ErrBlob) {
		t.Errorf("a leaf that names no blob: %v", err)
	}
	// Over several numbers each keeps a copy of its own.
	var last Position
	for i := range 60 {
		leaf := testLeaf(i)
		leaf.PolicySet, leaf.Attributes = hash, []wire.Hash{hash}
		last = put(t, l, leaf)
	}
	if last.Log < 4 {
		t.Fatalf("still in log %d", last.Log)
	}
	for number := uint64(1); number <= last.Log; number++ {
		copies := 0
		err := l.read(Position{Log: number}, func(kind entryKind, _ uint64, body []byte) error {
			if kind == entryBlob && bytes.Equal(body, data) {
				copies++
			}
			return nil
		})
		if err != nil || copies != 1 {
			t.Errorf("log %d holds %d copies, %v", number, copies, err)
		}
	}
	if got, err := l.ReadBlob(hash); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read blob: %q, %v", got, err)
	}
	if !l.Known(hash) || l.Known(wire.Hash{1}) {
		t.Error("known")
	}
	if _, err := l.ReadBlob(wire.Hash{1}); !errors.Is(err, ErrBlob) {
		t.Errorf("blob that isn't there: %v", err)
	}
	if _, err := l.Blob(nil); !errors.Is(err, ErrBlob) {
		t.Errorf("empty blob: %v", err)
	}
	if _, err := l.Blob(make([]byte, MaxBlob+1)); !errors.Is(err, ErrBlob) {
		t.Errorf("large blob: %v", err)
	}
	largest := bytes.Repeat([]byte{9}, MaxBlob)
	if hash, err = l.Blob(largest); err != nil {
		t.Fatal(err)
	}
	mustClose(t, l)
	l = mustOpen(t, o)
	if got, err := l.ReadBlob(hash); err != nil || !bytes.Equal(got, largest) {
		t.Errorf("largest blob: %v", err)
	}
	mustClose(t, l)
}

// TestNumbersChain checks that each number begins with the end of the one
// before it.
func TestNumbersChain(t *testing.T) {
	o := testOptions(newMem(5))
	o.MaxBytes = 4 << 10
	l := mustOpen(t, o)
	for i := range 40 {
		put(t, l, testLeaf(i))
	}
	numbers, err := l.Numbers()
	if err != nil || len(numbers) < 4 {
		t.Fatalf("numbers %v, %v", numbers, err)
	}
	for _, number := range numbers[1:] {
		entries := all(t, l, number)
		signed, err := disk.ReadFile(o.FS, filepath.Join(numberDir(testDir, number-1), checkpointName), maxNote)
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseCheckpoint(signed, Origin(testDomain, testServer, number-1), testKey.Public().(ed25519.PublicKey))
		if err != nil {
			t.Fatal(err)
		}
		if got := entries[0].Leaf.Previous; got != (End{Number: number - 1, Size: c.Size, Root: c.Root}) {
			t.Errorf("log %d begins with %+v", number, got)
		}
		if len(all(t, l, number-1)) != int(c.Size) {
			t.Errorf("log %d: checkpoint of %d", number-1, c.Size)
		}
	}
	mustClose(t, l)
}
