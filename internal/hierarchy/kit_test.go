// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha512"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"

	"claviger/internal/secret"
	"claviger/internal/store"
)

// testCustody derives from a root secret in the clear, so that tests can play
// the one who holds it.
type testCustody struct{ root []byte }

func (c testCustody) Derive(label string, fields ...[]byte) (*secret.Bytes, error) {
	info := []byte(label + "\x00")
	for _, f := range fields {
		info = append(append(info, u64(uint64(len(f)))...), f...)
	}
	key, err := hkdf.Expand(sha512.New, c.root, string(info), 32)
	if err != nil {
		return nil, err
	}
	return secret.Take(key), nil
}

func custodyOf(b byte) testCustody { return testCustody{bytes.Repeat([]byte{b}, 32)} }

// errCrash is what every operation answers from the crash on.
var errCrash = errors.New("crash")

// fuse counts operations of a file system and a store together and crashes at
// one of them; 0 never does.
type fuse struct {
	mu    sync.Mutex
	left  int
	armed bool
	steps int
	spent bool // the crash has happened
}

func (f *fuse) step() error {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.steps++
	if !f.armed {
		return nil
	}
	if f.left == 0 {
		return errCrash
	}
	f.left--
	return nil
}

// memFS is a directory with a page cache: what isn't synced is lost, or half
// lost, in a crash. What was unlinked stays on the medium.
type memFS struct {
	mu      sync.Mutex
	fuse    *fuse
	names   map[string]*inode
	durable map[string]*inode
	all     []*inode
}

type inode struct{ data, durable []byte }

func newMemFS() *memFS {
	return &memFS{names: map[string]*inode{}, durable: map[string]*inode{}}
}

func (m *memFS) OpenFile(name string, flag int, _ fs.FileMode) (File, error) {
	if err := m.fuse.step(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if name == "." {
		return &memFile{fs: m}, nil
	}
	node, ok := m.names[name]
	switch {
	case ok && flag&os.O_EXCL != 0:
		return nil, fs.ErrExist
	case !ok && flag&os.O_CREATE == 0:
		return nil, fs.ErrNotExist
	case !ok:
		node = &inode{}
		m.names[name] = node
		m.all = append(m.all, node)
	}
	return &memFile{fs: m, node: node}, nil
}

func (m *memFS) Remove(name string) error {
	if err := m.fuse.step(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.names[name]; !ok {
		return fs.ErrNotExist
	}
	delete(m.names, name)
	return nil
}

func (m *memFS) Names() ([]string, error) {
	if err := m.fuse.step(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.names)), nil
}

// remains says what of the unsynced a crash leaves.
type remains struct {
	names bool // entries of the directory
	data  int  // content: 0 none, 1 half of each file, 2 all
}

// crash returns the directory as the next start finds it. The medium keeps what
// it held of unlinked files.
func (m *memFS) crash(r remains) *memFS {
	out := newMemFS()
	names := m.durable
	if r.names {
		names = m.names
	}
	after := make(map[*inode]*inode)
	for _, node := range m.all {
		data := node.durable
		switch half := len(node.data) / 2; r.data {
		case 1:
			data = slices.Concat(node.data[:half], node.durable[min(half, len(node.durable)):])
		case 2:
			data = node.data
		}
		n := &inode{slices.Clone(data), slices.Clone(data)}
		after[node] = n
		out.all = append(out.all, n)
	}
	for name, node := range names {
		out.names[name], out.durable[name] = after[node], after[node]
	}
	return out
}

// medium is all that a raw read of the disk gives, unlinked files included.
func (m *memFS) medium() []byte {
	var out []byte
	for _, n := range m.all {
		out = append(append(out, n.data...), n.durable...)
	}
	return out
}

type memFile struct {
	fs   *memFS
	node *inode
	off  int
}

func (f *memFile) Read(p []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.off >= len(f.node.data) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[f.off:])
	f.off += n
	return n, nil
}

func (f *memFile) Write(p []byte) (int, error) {
	if err := f.fs.fuse.step(); err != nil {
		return 0, err
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if grow := f.off + len(p) - len(f.node.data); grow > 0 {
		f.node.data = append(f.node.data, make([]byte, grow)...)
	}
	f.off += copy(f.node.data[f.off:], p)
	return len(p), nil
}

func (f *memFile) Sync() error {
	if err := f.fs.fuse.step(); err != nil {
		return err
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.node == nil {
		f.fs.durable = maps.Clone(f.fs.names)
	} else {
		f.node.durable = slices.Clone(f.node.data)
	}
	return nil
}

func (f *memFile) Close() error { return nil }

// world is a domain with its store, its servers' directories and what its log
// says of versions and erasure.
type world struct {
	t        *testing.T
	custody  testCustody
	domain   [32]byte
	slots    *history
	logged   Logged
	versions map[VersionRef]Version
	live     map[[16]byte]ServerEpochKey
	grants   []Grant // every one that was ever made
}

func newWorld(t *testing.T) *world {
	return &world{
		t: t, custody: custodyOf(7), domain: [32]byte{1, 2, 3}, slots: newHistory(store.NewMem()),
		versions: map[VersionRef]Version{}, live: map[[16]byte]ServerEpochKey{},
	}
}

func (w *world) options(server byte, dir FS) Options {
	return Options{Custody: w.custody, Domain: w.domain, Generation: 1, Server: [16]byte{server}, Slots: w.slots, FS: dir}
}

// first makes the domain's first server.
func (w *world) first(server byte, dir FS) *Hierarchy {
	w.t.Helper()
	keys, err := Generate()
	must(w.t, err)
	defer keys.Wipe()
	must(w.t, Init(w.options(server, dir), keys))
	w.live[[16]byte{server}] = ServerEpochKey{Server: [16]byte{server}, Public: keys.Public()}
	return w.open(server, dir)
}

func (w *world) open(server byte, dir FS) *Hierarchy {
	w.t.Helper()
	h, err := Open(w.t.Context(), w.options(server, dir), w.logged)
	must(w.t, err)
	w.t.Cleanup(h.Close)
	return h
}

// join brings another server in, through a running one.
func (w *world) join(server byte, dir FS, through *Hierarchy) *Hierarchy {
	w.t.Helper()
	pub, err := Join(w.options(server, dir), w.logged.Epoch)
	must(w.t, err)
	h := w.open(server, dir)
	key := ServerEpochKey{Server: [16]byte{server}, Epoch: w.logged.Epoch.Number, Public: pub}
	g, err := through.Grant(key)
	must(w.t, err)
	w.grants = append(w.grants, g)
	must(w.t, h.Accept(g))
	w.live[[16]byte{server}] = key
	return h
}

// add makes a version and records it.
func (w *world) add(h *Hierarchy, key byte, number uint64, algorithm string) Version {
	w.t.Helper()
	v, err := h.NewVersion(w.t.Context(), [16]byte{key}, number, algorithm)
	must(w.t, err)
	w.versions[v.Ref()] = v
	return v
}

func (w *world) plan(destroyed ...VersionRef) ErasurePlan {
	in := ErasurePlan{Destroyed: destroyed}
	for _, v := range w.versions {
		if v.Segment != [16]byte{} {
			in.Versions = append(in.Versions, v)
		}
	}
	for _, k := range w.live {
		in.Live = append(in.Live, k)
	}
	return in
}

// record puts a switch into the log.
func (w *world) record(sw *Switch) {
	w.logged = Logged{Epoch: sw.To, Switch: sw}
	for ref, v := range w.versions {
		one := []Version{v}
		sw.Apply(one)
		w.versions[ref] = one[0]
	}
}

// receive records a receipt.
func (w *world) receive(r Receipt) {
	w.live[r.Server] = ServerEpochKey{Server: r.Server, Epoch: r.Epoch.Number, Public: r.NextPublicKey}
}

// destroy goes the whole way on the given servers, the first planning.
func (w *world) destroy(ref VersionRef, servers ...*Hierarchy) *Switch {
	w.t.Helper()
	sw, err := servers[0].PlanErasure(w.t.Context(), w.plan(ref))
	must(w.t, err)
	w.grants = append(w.grants, sw.Grants...)
	w.record(sw)
	for _, h := range servers {
		r, err := h.Erase(w.t.Context(), sw)
		must(w.t, err)
		w.receive(r)
	}
	return sw
}

func (w *world) leaf(h *Hierarchy, ref VersionRef) ([]byte, error) {
	leaf, err := h.Leaf(w.t.Context(), w.versions[ref], PurposeData, []byte("p"))
	if err != nil {
		return nil, err
	}
	defer leaf.Wipe()
	return slices.Clone(leaf.Expose()), nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}
