// SPDX-License-Identifier: Apache-2.0

package keep

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"claviger/client/internal/trust"
	"claviger/internal/wire"
)

func domain() wire.DomainID { return wire.DomainID{7} }

func mark(position uint64, checkpoints ...trust.Checkpoint) trust.Mark {
	return trust.Mark{
		Type: trust.TypeMark, Domain: domain(), Epoch: wire.Epoch{Generation: 1, Position: position},
		Head: wire.Hash{byte(position)}, Checkpoints: checkpoints,
	}
}

// TestMarkNeverGoesBack, whichever of several processes writes last.
func TestMarkNeverGoesBack(t *testing.T) {
	dir := t.TempDir()
	a, b := New(dir, domain()), New(dir, domain())
	one, two := wire.ServerID{1}, wire.ServerID{2}
	steps := []struct {
		who  *Dir
		save trust.Mark
		want trust.Mark
	}{
		{a, mark(5, trust.Checkpoint{Server: one, Issued: 50, Size: 5}), mark(5, trust.Checkpoint{Server: one, Issued: 50, Size: 5})},
		{b, mark(4, trust.Checkpoint{Server: one, Issued: 60, Size: 6}), mark(5, trust.Checkpoint{Server: one, Issued: 60, Size: 6})},
		{a, mark(6, trust.Checkpoint{Server: one, Issued: 55, Size: 5}, trust.Checkpoint{Server: two, Issued: 1}),
			mark(6, trust.Checkpoint{Server: one, Issued: 60, Size: 6}, trust.Checkpoint{Server: two, Issued: 1})},
	}
	for i, s := range steps {
		got, err := s.who.SaveMark(s.save)
		if err != nil || string(wire.Marshal(got)) != string(wire.Marshal(s.want)) {
			t.Errorf("step %d: %+v, %v", i, got, err)
		}
		if read, err := b.Mark(); err != nil || string(wire.Marshal(read)) != string(wire.Marshal(s.want)) {
			t.Errorf("step %d: on disk %+v, %v", i, read, err)
		}
	}
	if _, err := New(dir, wire.DomainID{8}).Mark(); err == nil {
		t.Error("another domain's mark is read")
	}
	if err := os.WriteFile(filepath.Join(dir, FileMark), []byte("rot"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.SaveMark(mark(9)); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("over a damaged mark: %v", err)
	}
}

func TestMembersNeverShrink(t *testing.T) {
	d := New(t.TempDir(), domain())
	for _, n := range []int{2, 3, 1} {
		if err := d.SaveMembers(make([][]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	if chain, err := d.Members(); err != nil || len(chain) != 3 {
		t.Errorf("%d links, %v", len(chain), err)
	}
}

func TestPins(t *testing.T) {
	dir := t.TempDir()
	a, b := New(dir, domain()), New(dir, domain())
	one, two := wire.KeyID{1}, wire.KeyID{2}
	for _, d := range []*Dir{a, b} {
		if err := d.LoadPins(map[string]wire.KeyID{"owner/key": two}); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Pin("k", one); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*Dir{a, b} { // b learns of it only now, from the file
		if err := d.Pin("k", two); !errors.Is(err, ErrUnexpectedKey) {
			t.Errorf("Pin of another id = %v", err)
		}
		if err := d.Pin("k", one); err != nil {
			t.Error(err)
		}
		if id, ok := d.Pinned("k"); !ok || id != one || d.NameOf(one) != "k" || d.NameOf(wire.KeyID{3}) != "" {
			t.Errorf("Pinned = %v, %v", id, ok)
		}
		if err := d.Pin("owner/key", one); !errors.Is(err, ErrUnexpectedKey) {
			t.Errorf("Pin against the owner's list = %v", err)
		}
	}
	for _, d := range []*Dir{a, b} {
		if err := d.Pin("other/name", one); !errors.Is(err, ErrUnexpectedKey) || d.NameOf(one) != "k" {
			t.Errorf("Pin of another name = %v", err)
		}
	}
	for _, bad := range []string{
		`{"schema":2,"keys":{}}`, `{"schema":1,"keys":{"k":"00"}}`, `{"schema":1,"keys":{"K":"00112233445566778899aabbccddeeff"}}`, `{"schema":1,"more":1}`, `x`,
	} {
		if err := os.WriteFile(filepath.Join(dir, FilePins), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := a.LoadPins(nil); err == nil {
			t.Errorf("%s is read", bad)
		}
	}
}

// TestPinsAreBounded: a file that grew too large to be read would lock its owner
// out of the profile.
func TestPinsAreBounded(t *testing.T) {
	dir := t.TempDir()
	text := strings.Builder{}
	for i := range 25000 {
		fmt.Fprintf(&text, "%s\n    \"%0128d\": \"%032x\"", map[bool]string{true: "", false: ","}[i == 0], i, i)
		if text.Len() > maxPins-400 {
			break
		}
	}
	data := "{\n  \"schema\": 1,\n  \"keys\": {" + text.String() + "\n  }\n}\n"
	if err := os.WriteFile(filepath.Join(dir, FilePins), []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	d := New(dir, domain())
	if err := d.LoadPins(nil); err != nil {
		t.Fatal(err)
	}
	var failed error
	for i := range 5 {
		failed = errors.Join(failed, d.Pin(fmt.Sprintf("%0128d", 30000+i), wire.KeyID{0xff, byte(i)}))
	}
	if failed == nil {
		t.Error("pins have no bound")
	}
	if err := New(dir, domain()).LoadPins(nil); err != nil {
		t.Errorf("the profile opens no more: %v", err)
	}
}

func TestPinsOfManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			d := New(dir, domain()) // as a process of its own
			if err := errors.Join(d.LoadPins(nil), d.Pin(fmt.Sprintf("k%d", i), wire.KeyID{byte(i)})); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if pins, err := New(dir, domain()).readPins(); err != nil || len(pins) != 16 {
		t.Errorf("%d pins, %v", len(pins), err)
	}
}

func TestProofsAreBounded(t *testing.T) {
	d := New(t.TempDir(), domain())
	for range 2 {
		if err := d.SaveProof("t", []byte("a"), []byte("b")); err != nil {
			t.Fatal(err)
		}
	}
	if files, err := os.ReadDir(filepath.Join(d.Path(), DirProofs)); err != nil || len(files) != 1 {
		t.Errorf("one proof in %d files, %v", len(files), err)
	}
	var failed error
	for i := range maxProofs + 1 {
		failed = d.SaveProof("t", []byte("a"), fmt.Append(nil, i))
	}
	if failed == nil {
		t.Error("proofs have no bound")
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	for _, text := range []string{"first", "second"} {
		if err := WriteFile(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadFile(name, 6); err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := ReadFile(name, 5); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("a file beyond its limit: %v", err)
	}
	if err := WriteFile(filepath.Join(dir, "none", "f"), nil); err == nil {
		t.Error("a file is written nowhere")
	}
	if err := WriteFile(dir, nil); err == nil { // a directory can't be replaced
		t.Error("a directory is replaced")
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(dir), ".*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}
