// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"claviger/internal/secret"
	"claviger/internal/store"
	"claviger/internal/wire"
)

func TestInitRefusesExisting(t *testing.T) {
	w := newWorld(t)
	dir := newMemFS()
	w.first(1, dir)
	keys, err := Generate()
	must(t, err)
	wantErr(t, Init(w.options(1, dir), keys), ErrExists)
	_, err = Join(w.options(1, dir), EpochID{})
	wantErr(t, err, ErrExists)
}

func TestOptions(t *testing.T) {
	w := newWorld(t)
	good := w.options(1, newMemFS())
	for name, change := range map[string]func(*Options){
		"custody":    func(o *Options) { o.Custody = nil },
		"generation": func(o *Options) { o.Generation = 0 },
		"domain":     func(o *Options) { o.Domain = [32]byte{} },
		"server":     func(o *Options) { o.Server = [16]byte{} },
		"slots":      func(o *Options) { o.Slots = nil },
	} {
		o := good
		change(&o)
		_, err := Open(t.Context(), o, Logged{})
		if err == nil {
			t.Errorf("%s missing: opened", name)
			continue
		}
		wantErr(t, err, ErrInvalid)
	}
}

// TestOpenRefuses starts on epoch files that are not this server's, and checks
// that nothing was erased.
func TestOpenRefuses(t *testing.T) {
	w := newWorld(t)
	dir := newMemFS()
	h := w.first(1, dir)
	v := w.add(h, 1, 1, AlgAES256)
	file := dir.names["epoch-0.key"]
	good := slices.Clone(file.data)
	for _, tc := range []struct {
		name   string
		change func(o *Options)
		want   error
	}{
		{"another domain", func(o *Options) { o.Domain[0]++ }, ErrForeign},
		{"another server", func(o *Options) { o.Server[0]++ }, ErrForeign},
		{"another root generation", func(o *Options) { o.Generation++ }, ErrForeign},
		{"another root", func(o *Options) { o.Custody = custodyOf(8) }, ErrCorrupt},
		{"damaged", func(*Options) { file.data[len(good)-1] ^= 1 }, ErrCorrupt},
		{"cut short", func(*Options) { file.data = file.data[:len(good)-1] }, ErrCorrupt},
		{"empty", func(*Options) { file.data = nil }, ErrCorrupt},
		{"other version", func(*Options) { file.data[7]++ }, ErrCorrupt},
		{"longer", func(*Options) { file.data = append(file.data, 0) }, ErrCorrupt},
		{"renamed", func(o *Options) { binaryEpoch(file.data)[7]++ }, ErrForeign},
		{"missing", func(*Options) { delete(dir.names, "epoch-0.key") }, ErrMissing},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := w.options(1, dir)
			tc.change(&o)
			_, err := Open(t.Context(), o, w.logged)
			wantErr(t, err, tc.want)
			file.data = slices.Clone(good)
			dir.names["epoch-0.key"] = file
			_, err = w.leaf(w.open(1, dir), v.Ref())
			must(t, err)
		})
	}
}

func binaryEpoch(file []byte) []byte { return file[64:72] }

func TestOpenAheadOfLog(t *testing.T) {
	w := newWorld(t)
	dir := newMemFS()
	h := w.first(1, dir)
	a := w.add(h, 1, 1, AlgAES256)
	w.destroy(a.Ref(), h)
	_, err := Open(t.Context(), w.options(1, dir), Logged{})
	wantErr(t, err, ErrAhead)
}

// TestOpenForeignSwitch starts with a log that shows another switch to the same
// epoch, and to the next, than the one this server took.
func TestOpenForeignSwitch(t *testing.T) {
	w := newWorld(t)
	dir := newMemFS()
	h := w.first(1, dir)
	a, b := w.add(h, 1, 1, AlgAES256), w.add(h, 1, 2, AlgAES256)
	other, err := h.PlanErasure(t.Context(), w.plan(a.Ref()))
	must(t, err)
	sw := w.destroy(a.Ref(), h)
	_, err = Open(t.Context(), w.options(1, dir), Logged{Epoch: other.To, Switch: other})
	wantErr(t, err, ErrForeign)
	next, err := h.PlanErasure(t.Context(), w.plan(b.Ref()))
	must(t, err)
	next.From = other.To
	_, err = Open(t.Context(), w.options(1, dir), Logged{Epoch: next.To, Switch: next})
	wantErr(t, err, ErrForeign)
	_, err = Open(t.Context(), w.options(1, dir), Logged{Epoch: sw.To})
	wantErr(t, err, ErrInvalid)
	_, err = Open(t.Context(), w.options(1, dir), Logged{Epoch: sw.To, Switch: next})
	wantErr(t, err, ErrInvalid)
	w.open(1, dir)
}

// TestWrongCustodyErasesNothing starts a late server with another root.
func TestWrongCustodyErasesNothing(t *testing.T) {
	w := newWorld(t)
	dirs := []*memFS{newMemFS(), newMemFS()}
	h := w.first(1, dirs[0])
	w.join(2, dirs[1], h)
	delete(w.live, [16]byte{2})
	for n := range uint64(2) {
		w.destroy(w.add(h, 1, n+1, AlgAES256).Ref(), h)
	}
	before := slices.Clone(dirs[1].names["epoch-0.key"].data)
	o := w.options(2, dirs[1])
	o.Custody = custodyOf(9)
	_, err := Open(t.Context(), o, w.logged)
	wantErr(t, err, ErrCorrupt)
	if !bytes.Equal(before, dirs[1].names["epoch-0.key"].data) {
		t.Fatal("epoch file was touched")
	}
}

// TestLateServer brings back a server that missed one switch or more, named in
// it or not.
func TestLateServer(t *testing.T) {
	for _, tc := range []struct {
		name    string
		named   bool
		missed  int
		waiting bool
	}{
		{"named in the only switch it missed", true, 1, false},
		{"fenced during one switch", false, 1, true},
		{"missed three", false, 3, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			dirs := []*memFS{newMemFS(), newMemFS()}
			h := w.first(1, dirs[0])
			w.join(2, dirs[1], h)
			kept := w.add(h, 2, 1, AlgAES256)
			if !tc.named {
				delete(w.live, [16]byte{2})
			}
			var dead []Version
			for n := range tc.missed {
				dead = append(dead, w.add(h, 1, uint64(n+1), AlgAES256))
				w.destroy(dead[n].Ref(), h)
			}
			late := w.open(2, dirs[1])
			if late.Waiting() != tc.waiting {
				t.Fatalf("waiting: %t", late.Waiting())
			}
			r := late.Receipt()
			if r.Epoch != w.logged.Epoch || r.Waiting != tc.waiting || r.Server != [16]byte{2} {
				t.Fatalf("receipt %+v", r)
			}
			w.receive(r)
			got := w.attacker(dirs[1].medium()).reaches(dead...)
			if slices.Contains(got, true) {
				t.Fatal("late server still gives a destroyed version away")
			}
			if tc.waiting {
				_, err := w.leaf(late, kept.Ref())
				wantErr(t, err, ErrWaiting)
				_, err = late.NewVersion(t.Context(), [16]byte{3}, 1, AlgAES256)
				wantErr(t, err, ErrWaiting)
				again := w.open(2, dirs[1])
				g, err := h.Grant(w.live[[16]byte{2}])
				must(t, err)
				must(t, again.Accept(g))
				late = again
			}
			_, err := w.leaf(late, kept.Ref())
			must(t, err)
			_, err = w.leaf(w.open(2, dirs[1]), kept.Ref())
			must(t, err)
		})
	}
}

// TestEraseUnnamed fences a running server by a switch.
func TestEraseUnnamed(t *testing.T) {
	w := newWorld(t)
	dirs := []*memFS{newMemFS(), newMemFS()}
	h := w.first(1, dirs[0])
	two := w.join(2, dirs[1], h)
	delete(w.live, [16]byte{2})
	a := w.add(h, 1, 1, AlgAES256)
	sw := w.destroy(a.Ref(), h)
	r, err := two.Erase(t.Context(), sw)
	must(t, err)
	if !r.Waiting || !two.Waiting() || r.Epoch != sw.To {
		t.Fatalf("receipt %+v", r)
	}
	g, err := h.Grant(ServerEpochKey{Server: r.Server, Epoch: r.Epoch.Number, Public: r.NextPublicKey})
	must(t, err)
	must(t, two.Accept(g))
	wantErr(t, two.Accept(g), ErrInvalid)
	if len(dirs[1].names) != 1 {
		t.Fatalf("files left: %d", len(dirs[1].names))
	}
}

// TestAcceptCrash crashes the taking of a grant at every step.
func TestAcceptCrash(t *testing.T) {
	for step := 0; ; step++ {
		w := newWorld(t)
		h := w.first(1, newMemFS())
		v := w.add(h, 1, 1, AlgAES256)
		dir := newMemFS()
		pub, err := Join(w.options(2, dir), EpochID{})
		must(t, err)
		g, err := h.Grant(ServerEpochKey{Server: [16]byte{2}, Public: pub})
		must(t, err)
		two := w.open(2, dir)
		dir.fuse = &fuse{armed: true, left: step}
		crash := two.Accept(g)
		again := w.open(2, dir.crash(remains{names: step%2 == 0, data: step % 3}))
		if again.Waiting() {
			must(t, again.Accept(g))
		} else if !bytes.Equal(again.Receipt().NextPublicKey, pub) {
			t.Fatal("public epoch key changed")
		}
		_, err = w.leaf(again, v.Ref())
		must(t, err)
		if crash == nil {
			return
		}
	}
}

// TestForgedGrant is the store's attempt to slip in an EEK of its own: it knows
// every public epoch key.
func TestForgedGrant(t *testing.T) {
	w := newWorld(t)
	h := w.first(1, newMemFS())
	dir := newMemFS()
	pub, err := Join(w.options(2, dir), EpochID{})
	must(t, err)
	two := w.open(2, dir)
	to := ServerEpochKey{Server: [16]byte{2}, Public: pub}
	good, err := h.Grant(to)
	must(t, err)

	fields := grantFields(EpochID{}, to.Server)
	inner := seal(secret.Random(keySize), place{w.domain, kindEEK, fields}, make([]byte, keySize))
	forged := good
	forged.Sealed, err = wire.Seal(pub, typeGrant, h.grantInfo(fields), inner)
	must(t, err)
	if err := two.Accept(forged); err == nil {
		t.Fatal("forged grant accepted")
	}
	if err := two.Accept(Grant{Epoch: good.Epoch, Server: [16]byte{3}, Sealed: good.Sealed}); err == nil {
		t.Fatal("another server's grant accepted")
	}
	if err := two.Accept(Grant{Epoch: EpochID{Number: 1, ID: [16]byte{1}}, Server: good.Server, Sealed: good.Sealed}); err == nil {
		t.Fatal("grant of another epoch accepted")
	}
	three := newMemFS()
	_, err = Join(w.options(3, three), EpochID{})
	must(t, err)
	moved := good
	moved.Server = [16]byte{3}
	if err := w.open(3, three).Accept(moved); err == nil {
		t.Fatal("redirected grant accepted")
	}
	must(t, two.Accept(good))
	_, err = h.Grant(ServerEpochKey{Server: [16]byte{4}, Epoch: 1, Public: pub})
	wantErr(t, err, ErrInvalid)
}

// TestDirectory uses the real file layer: modes, and that erasing leaves no file.
func TestDirectory(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "custody"), []byte("x"), 0o600))
	o := w.options(1, nil)
	o.Dir = dir
	keys, err := Generate()
	must(t, err)
	must(t, Init(o, keys))
	w.live[[16]byte{1}] = ServerEpochKey{Server: [16]byte{1}, Public: keys.Public()}
	h, err := Open(t.Context(), o, Logged{})
	must(t, err)
	defer h.Close()
	info, err := os.Stat(filepath.Join(dir, "epoch-0.key"))
	must(t, err)
	if info.Mode().Perm() != 0o600 || info.Size() != epochHeader+80+sealOverhead {
		t.Fatalf("mode %v, %d bytes", info.Mode(), info.Size())
	}
	// A second link shows what becomes of the bytes of the erased file.
	link := filepath.Join(dir, "link")
	must(t, os.Link(filepath.Join(dir, "epoch-0.key"), link))
	before, err := os.ReadFile(link)
	must(t, err)
	w.destroy(w.add(h, 1, 1, AlgAES256).Ref(), h)
	after, err := os.ReadFile(link)
	must(t, err)
	if len(after) != len(before) || bytes.Contains(after, before[epochHeader:epochHeader+32]) {
		t.Fatal("bytes of the epoch file were not overwritten")
	}
	if _, err := os.Stat(filepath.Join(dir, "epoch-0.key")); !os.IsNotExist(err) {
		t.Fatalf("epoch-0.key: %v", err)
	}
	must(t, h.Sweep(t.Context(), w.logged.Switch))
	o.Dir = filepath.Join(dir, "none")
	if _, err := Open(t.Context(), o, w.logged); err == nil {
		t.Fatal("opened without a directory")
	}
}

// stuckFS pretends to write and doesn't, as a copy-on-write layer might.
type stuckFS struct{ *memFS }

func (s stuckFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := s.memFS.OpenFile(name, flag, perm)
	if err == nil && flag == os.O_WRONLY {
		return stuckFile{f}, nil
	}
	return f, err
}

type stuckFile struct{ File }

func (stuckFile) Write(p []byte) (int, error) { return len(p), nil }

func TestEraseNoticesFailedOverwrite(t *testing.T) {
	w := newWorld(t)
	dir := newMemFS()
	h := w.first(1, stuckFS{dir})
	sw, err := h.PlanErasure(t.Context(), w.plan(w.add(h, 1, 1, AlgAES256).Ref()))
	must(t, err)
	w.record(sw)
	if _, err := h.Erase(t.Context(), sw); err == nil {
		t.Fatal("receipt for an erasure that didn't happen")
	}
}

var _ store.Slots = (*history)(nil)
