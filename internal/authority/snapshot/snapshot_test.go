// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"claviger/internal/authority/atrest"
	"claviger/internal/secret"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// TestMain is also the main of a process that is killed while it writes.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "write" {
		writeForEver(os.Args[2], os.Args[3])
	}
	os.Exit(m.Run())
}

func fileIn(dir string) File {
	return File{
		Path: filepath.Join(dir, "snapshot"), Server: wire.ServerID{1},
		Box: atrest.Box{Key: secret.Random(32), Domain: [32]byte{2}, Label: "snapshot"},
	}
}

// content is some state of every kind of section.
type content struct {
	Number uint64
	Words  []string
	Hashes []wire.Hash
	Ages   map[string]int64
}

func (c *content) sections() []Section {
	return []Section{Value("number", &c.Number), List("words", &c.Words), Hashes("hashes", &c.Hashes), Map("ages", &c.Ages)}
}

// some is content that takes several parts of each kind.
func some(number uint64) *content {
	c := &content{Number: number, Ages: map[string]int64{}}
	for i := range 3000 {
		c.Words = append(c.Words, fmt.Sprint("word", i))
		c.Ages[fmt.Sprint("name", i)] = int64(i)
	}
	c.Hashes = make([]wire.Hash, 20_000)
	for i := range c.Hashes {
		c.Hashes[i] = wire.Sum("x", binary.BigEndian.AppendUint64(nil, number+uint64(i)))
	}
	return c
}

func write(t *testing.T, f File, c *content) {
	t.Helper()
	h := Header{Epoch: wire.Epoch{Generation: 1, Position: c.Number}}
	if err := f.Write(h, Capture(c.sections())); err != nil {
		t.Fatal(err)
	}
}

// read opens a snapshot and loads it.
func read(f File) (*content, Header, error) {
	r, err := f.Open()
	if err != nil || r == nil {
		return nil, Header{}, err
	}
	defer r.Close()
	c := &content{Ages: map[string]int64{}}
	return c, r.Header, r.Load(c.sections())
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	f := fileIn(t.TempDir())
	if c, _, err := read(f); c != nil || err != nil {
		t.Fatalf("no file: %v, %v", c, err)
	}
	for _, want := range []*content{some(7), {Ages: map[string]int64{}}} {
		write(t, f, want)
		got, h, err := read(f)
		if err != nil || !reflect.DeepEqual(got, want) || h.Epoch.Position != want.Number {
			t.Errorf("%d: %v, %+v", want.Number, err, h)
		}
	}
	if info, err := os.Stat(f.Path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := errors.Join(f.Remove(), f.Remove()); err != nil {
		t.Error(err)
	}
}

// TestCaptureSharesNothing: what changes after a capture is not in it.
func TestCaptureSharesNothing(t *testing.T) {
	f, c := fileIn(t.TempDir()), some(1)
	parts, want := Capture(c.sections()), some(1)
	c.Number, c.Words[0], c.Ages["name1"] = 2, "changed", 99
	c.Hashes = append(c.Hashes, wire.Hash{})
	delete(c.Ages, "name2")
	if err := f.Write(Header{}, parts); err != nil {
		t.Fatal(err)
	}
	if got, _, err := read(f); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, or not what it was", err)
	}
}

// frames cuts a snapshot into its id and its parts, each with its size.
func frames(data []byte) (out [][]byte) {
	out = append(out, data[:idSize])
	for data = data[idSize:]; len(data) > 0; {
		n := sizeSize + int(binary.BigEndian.Uint32(data))
		out = append(out, data[:n])
		data = data[n:]
	}
	return out
}

// TestChangedSnapshotIsUnusable in every way in which who has no key can change
// one.
func TestChangedSnapshotIsUnusable(t *testing.T) {
	f := fileIn(t.TempDir())
	write(t, f, some(1))
	older, err := os.ReadFile(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, f, some(2))
	good, err := os.ReadFile(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	parts, others := frames(good), frames(older)
	bad := map[string][]byte{"longer": append(slices.Clone(good), 0), "empty": {}}
	for i := range parts {
		swapped, mixed := slices.Clone(parts), slices.Clone(parts)
		if i > 1 {
			swapped[i], swapped[i-1] = swapped[i-1], swapped[i]
			bad[fmt.Sprintf("parts %d and %d swapped", i-1, i)] = slices.Concat(swapped...)
		}
		mixed[i] = others[i]
		bad[fmt.Sprintf("part %d of another snapshot", i)] = slices.Concat(mixed...)
		bad[fmt.Sprintf("part %d gone", i)] = slices.Concat(slices.Concat(parts[:i]...), slices.Concat(parts[i+1:]...))
		bad[fmt.Sprintf("cut before part %d", i)] = slices.Concat(parts[:i]...)
		bad[fmt.Sprintf("part %d twice", i)] = slices.Concat(slices.Concat(parts[:i+1]...), slices.Concat(parts[i:]...))
		for _, at := range []int{0, 3, 4, len(parts[i]) - 1} {
			flipped := slices.Clone(parts)
			flipped[i] = bytes.Clone(parts[i])
			flipped[i][at] ^= 0x40
			bad[fmt.Sprintf("byte %d of part %d changed", at, i)] = slices.Concat(flipped...)
		}
	}
	for what, data := range bad {
		if err := os.WriteFile(f.Path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := read(f); !errors.Is(err, ErrUnusable) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestForeignSnapshotIsUnusable although its seal is good, or would be elsewhere.
func TestForeignSnapshotIsUnusable(t *testing.T) {
	f := fileIn(t.TempDir())
	sealed := func(edit func(*Header)) {
		t.Helper()
		h := Header{Type: Type, Format: Format, Build: build(), Domain: f.Box.Domain, Server: f.Server}
		edit(&h)
		at := place{Type: Type, Last: true}
		out, part := bytes.NewBuffer(at.ID[:]), wire.Marshal(h)
		if err := f.put(out, at, part); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.Path, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for what, edit := range map[string]func(*Header){
		"type": func(h *Header) { h.Type = "claviger/v1/head" }, "an older format": func(h *Header) { h.Format-- },
		"a newer format": func(h *Header) { h.Format++ }, "another program": func(h *Header) { h.Build += "x" },
		"another domain": func(h *Header) { h.Domain[0]++ }, "another server": func(h *Header) { h.Server[0]++ },
	} {
		sealed(edit)
		if _, _, err := read(f); !errors.Is(err, ErrUnusable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	sealed(func(*Header) {})
	if _, _, err := read(f); err != nil {
		t.Errorf("nothing foreign: %v", err)
	}
	for what, edit := range map[string]func(*File){
		"key": func(f *File) { f.Box.Key = secret.Random(32) }, "domain": func(f *File) { f.Box.Domain[0]++ },
		"label": func(f *File) { f.Box.Label = "head" }, "server": func(f *File) { f.Server[0]++ },
	} {
		other := f
		edit(&other)
		if _, _, err := read(other); !errors.Is(err, ErrUnusable) {
			t.Errorf("as one with another %s: %v", what, err)
		}
	}
	other := f
	other.Path = filepath.Dir(f.Path)
	if _, _, err := read(other); !errors.Is(err, ErrUnusable) {
		t.Errorf("a directory: %v", err)
	}
}

// TestBadPartsAreUnusable: a good seal, and a part that Capture doesn't write.
func TestBadPartsAreUnusable(t *testing.T) {
	f := fileIn(t.TempDir())
	pairs := []pair[string, int64]{{Key: "a", Value: 1}}
	for what, parts := range map[string][][]byte{
		"no part":           {[]byte("x")},
		"an unknown one":    {wire.Marshal(part{Section: "weights", Data: []byte{0}})},
		"half a hash":       {wire.Marshal(part{Section: "hashes", Data: make([]byte, 33)})},
		"another shape":     {wire.Marshal(part{Section: "number", Data: wire.Marshal("text")})},
		"a key twice":       {wire.Marshal(part{Section: "ages", Data: wire.Marshal(append(pairs, pairs...))})},
		"a key twice again": slices.Repeat([][]byte{wire.Marshal(part{Section: "ages", Data: wire.Marshal(pairs)})}, 2),
	} {
		if err := f.Write(Header{}, slices.Values(parts)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := read(f); !errors.Is(err, ErrUnusable) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// writeForEver writes one snapshot after the other, each with its number in every
// part, and says when it has begun.
func writeForEver(path, key string) {
	raw, err := hex.DecodeString(key)
	if err != nil {
		panic(err)
	}
	f := fileIn("")
	f.Path, f.Box.Key = path, secret.Take(raw)
	for n := uint64(1); ; n++ {
		c := some(n)
		if err := f.Write(Header{Epoch: wire.Epoch{Position: n}}, Capture(c.sections())); err != nil {
			panic(err)
		}
		fmt.Println(n)
	}
}

// TestKilledWhileItWrites: the file is an old snapshot or a new one, whole.
func TestKilledWhileItWrites(t *testing.T) {
	f := fileIn(t.TempDir())
	f.Path = filepath.Join(t.TempDir(), "snapshot")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for round := range 12 {
		cmd := exec.Command(self, "write", f.Path, hex.EncodeToString(f.Box.Key.Expose()))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Some bytes later each time, so that it dies at other places of a write.
		if _, err := io.CopyN(io.Discard, out, int64(2+round)); err != nil {
			t.Fatal(err)
		}
		waitForTemporary(t, f.Path+".new", int64(round)*60_000)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		c, h, err := read(f)
		if err != nil || c == nil || !reflect.DeepEqual(c, some(h.Epoch.Position)) {
			t.Fatalf("round %d: %v, or a mixture", round, err)
		}
	}
	// What was half written does not stop the next one.
	if err := os.WriteFile(f.Path+".new", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, f, some(1))
	if c, _, err := read(f); err != nil || !reflect.DeepEqual(c, some(1)) {
		t.Errorf("after a half one: %v", err)
	}
}

// waitForTemporary returns when a file of at least size bytes is being written, or
// was too quick to be met in many looks.
func waitForTemporary(t *testing.T, path string, size int64) {
	t.Helper()
	for range 200_000 {
		if info, err := os.Stat(path); err == nil && info.Size() >= size {
			return
		}
	}
}

// records is a store of n records.
func records(t *testing.T, n int) store.Store {
	t.Helper()
	s := store.NewMem()
	for i := range n {
		if err := s.Append(t.Context(), uint64(i), []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestTrail(t *testing.T) {
	var five Trail
	for i := range 5 {
		five = five.Next([]byte{byte(i)})
	}
	if err := five.matches(t.Context(), records(t, 5), 5); err != nil {
		t.Error(err)
	}
	if err := five.matches(t.Context(), records(t, 9), 5); err != nil {
		t.Errorf("with more records: %v", err)
	}
	for _, n := range []int{0, 4} {
		if err := five.matches(t.Context(), records(t, n), 5); !errors.Is(err, ErrUnusable) {
			t.Errorf("with %d records: %v", n, err)
		}
	}
	if err := five.matches(t.Context(), records(t, 9), 6); !errors.Is(err, ErrUnusable) {
		t.Errorf("of 5 for 6: %v", err)
	}
	closed := records(t, 5)
	closed.Close()
	if err := five.matches(t.Context(), closed, 5); !errors.Is(err, store.ErrClosed) || errors.Is(err, ErrUnusable) {
		t.Errorf("a closed store: %v", err)
	}
	if (Trail{}).Next([]byte("ab")) == (Trail{}).Next([]byte("a")).Next([]byte("b")) {
		t.Error("where a record ends does not count")
	}
}

// keeper is a Keeper and the position that it is asked to write.
func keeper(t *testing.T) (*Keeper, *bytes.Buffer, func(uint64) func() (Header, iter.Seq[[]byte])) {
	var said bytes.Buffer
	k := &Keeper{File: fileIn(t.TempDir()), Logger: slog.New(slog.NewTextHandler(&said, nil))}
	return k, &said, func(n uint64) func() (Header, iter.Seq[[]byte]) {
		c := &content{Number: n, Ages: map[string]int64{}}
		return func() (Header, iter.Seq[[]byte]) {
			return Header{Epoch: wire.Epoch{Generation: 1, Position: n}}, Capture(c.sections())
		}
	}
}

// TestKeeperWritesWhenItIsWorthIt: after saveEvery records, or a share of the log.
func TestKeeperWritesWhenItIsWorthIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _, take := keeper(t)
		for _, step := range []struct{ position, newest uint64 }{
			{1, 0}, {4095, 0}, {4096, 4096}, {4097, 4096}, {8191, 4096}, {8192, 8192}, {1_000_000, 1_000_000}, {1_049_999, 1_000_000}, {1_060_000, 1_060_000},
		} {
			k.Later(step.position, take(step.position))
			k.group.Wait()
			_, h, err := read(k.File)
			if err != nil || h.Epoch.Position != step.newest {
				t.Fatalf("at %d: the newest is of %d, %v", step.position, h.Epoch.Position, err)
			}
		}
		k.Save(1_060_000, func() (Header, iter.Seq[[]byte]) { t.Error("written with nothing new"); return take(0)() })
		k.Save(1_060_001, take(1_060_001))
		if _, h, err := read(k.File); err != nil || h.Epoch.Position != 1_060_001 {
			t.Errorf("saved %d, %v", h.Epoch.Position, err)
		}
		k.End()
		k.Later(9_000_000, func() (Header, iter.Seq[[]byte]) { t.Error("begun after the end"); return take(0)() })
		k.group.Wait()
	})
}

// TestKeeperThatCantWriteSaysSo and nothing else happens.
func TestKeeperThatCantWriteSaysSo(t *testing.T) {
	k, said, take := keeper(t)
	k.File.Path = filepath.Join(k.File.Path, "no", "such", "place")
	if k.Save(5, take(5)); !strings.Contains(said.String(), "not written") {
		t.Errorf("it said %q", said)
	}
}

func TestKeeperLoads(t *testing.T) {
	k, said, _ := keeper(t)
	fits := func(Header) error { return nil }
	load := func(c *content, log store.Log, fits func(Header) error) bool {
		_, ok := k.Load(t.Context(), log, func(Header) []Section { return c.sections() }, fits)
		return ok
	}
	into := func() *content { return &content{Ages: map[string]int64{}} }
	if load(into(), records(t, 3), fits) || said.Len() != 0 {
		t.Fatalf("loaded without a file, or said %q", said)
	}
	h := Header{Epoch: wire.Epoch{Position: 3}}
	for i := range 3 {
		h.Trail = h.Trail.Next([]byte{byte(i)})
	}
	put := func() {
		t.Helper()
		if err := k.File.Write(h, Capture(some(3).sections())); err != nil {
			t.Fatal(err)
		}
	}
	there := func() bool { _, err := os.Stat(k.File.Path); return err == nil }
	put()
	if c := into(); !load(c, records(t, 4), fits) || !reflect.DeepEqual(c, some(3)) || said.Len() != 0 {
		t.Errorf("not loaded; it said %q", said)
	}
	if load(into(), records(t, 2), fits) || there() {
		t.Error("loaded on a store that is shorter, or still there")
	}
	put()
	if load(into(), records(t, 4), func(Header) error { return ErrUnusable }) || there() {
		t.Error("loaded although it does not fit, or still there")
	}
	put()
	closed := records(t, 4)
	closed.Close()
	if load(into(), closed, fits) || !there() {
		t.Error("loaded on a closed store, or gone although nothing is wrong with it")
	}
	if n := strings.Count(said.String(), "everything is replayed"); n != 3 {
		t.Errorf("said %d times of 3", n)
	}
}

// FuzzOpen: no file makes the reader panic or take more memory than its size.
func FuzzOpen(f *testing.F) {
	file := fileIn(f.TempDir())
	c := some(1)
	if err := file.Write(Header{}, Capture(c.sections())); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(file.Path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good[:400])
	f.Add([]byte{})
	f.Add(append(make([]byte, 16), 0xff, 0xff, 0xff, 0xff))
	f.Fuzz(func(t *testing.T, data []byte) {
		other := file
		other.Path = filepath.Join(t.TempDir(), "s")
		if err := os.WriteFile(other.Path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := read(other); !errors.Is(err, ErrUnusable) && !bytes.Equal(data, good) {
			t.Errorf("%v", err)
		}
	})
}
