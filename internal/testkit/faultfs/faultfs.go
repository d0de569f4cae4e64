// SPDX-License-Identifier: Apache-2.0

// Package faultfs is a file system in memory that is as unkind as real ones may
// be, for tests of code that claims to survive a crash.
//
// # Which function for which need
//
//   - [New] makes an empty one; its methods work on files and directories.
//   - [FS.SetFault] installs a function that sees every operation before it
//     happens and may fail it, hold it up, or count to the n-th.
//   - [FS.Crash] returns what a machine would find after losing power now.
//   - [FS.Damage] flips bits of what is stored, as a rotting disk does.
//
// # The model
//
// A write reaches the cache; [File.Sync] makes a file's content and size
// durable. At a crash each 512-byte sector that was written since then survives
// or not, by chance, in any order, and the size lies anywhere between the
// durable and the cached one; what never arrived reads as zeros. A new name, a
// rename or a removal is durable after [FS.SyncDir] of its directory; before,
// each survives by chance. A sync that fails forgets what it failed to write
// (as Linux does): later syncs succeed without it, and the cache still shows
// it. A failing write may leave a part behind.
//
// It doesn't model: links, permissions, or several processes.
package faultfs

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
)

// sector is the unit that a disk writes whole or not at all.
const sector = 512

// Kind says what an operation is.
type Kind string

// The kinds of operation that a fault sees.
const (
	Open     Kind = "open"
	Read     Kind = "read"
	Write    Kind = "write"
	Sync     Kind = "sync"
	Truncate Kind = "truncate"
	Rename   Kind = "rename"
	Mkdir    Kind = "mkdir"
	List     Kind = "list"
	SyncDir  Kind = "syncdir"
	Lock     Kind = "lock"
)

// Op is an operation that is about to happen.
type Op struct {
	Kind Kind
	Name string // of the file or directory
	N    int    // how many operations there were before it, of all kinds
}

// Fault decides whether an operation fails. It is called without the file
// system's lock held, so it may block to play a slow disk.
type Fault func(Op) error

// FS is the file system. It is safe for concurrent use.
type FS struct {
	mu     sync.Mutex
	rng    *rand.Rand
	fault  Fault
	ops    int
	files  map[string]*inode // what programs see
	stable map[string]*inode // what the disk's directories name
	dirs   map[string]bool
	locks  map[string]bool
}

// inode is a file's content.
type inode struct {
	data   []byte       // the cache
	stable []byte       // the disk
	dirty  map[int]bool // sectors of data that a sync has to write
	lost   map[int]bool // sectors that a failed sync forgot
}

// New returns an empty file system whose chances follow from seed.
func New(seed uint64) *FS {
	return &FS{
		rng:    rand.New(rand.NewPCG(seed, 1)),
		files:  map[string]*inode{},
		stable: map[string]*inode{},
		dirs:   map[string]bool{},
		locks:  map[string]bool{},
	}
}

// SetFault installs f, or removes the fault with nil.
func (f *FS) SetFault(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// Ops returns how many operations there were.
func (f *FS) Ops() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

// begin counts an operation and asks the fault.
func (f *FS) begin(kind Kind, name string) error {
	f.mu.Lock()
	fault, op := f.fault, Op{kind, name, f.ops}
	f.ops++
	f.mu.Unlock()
	if fault == nil {
		return nil
	}
	if err := fault(op); err != nil {
		return &fs.PathError{Op: string(kind), Path: name, Err: err}
	}
	return nil
}

// Open opens a file for reading and writing, or makes it.
func (f *FS) Open(name string, create bool) (*File, error) {
	if err := f.begin(Open, name); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	name = filepath.Clean(name)
	node := f.files[name]
	if node == nil {
		if !create || !f.dirs[filepath.Dir(name)] {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		node = &inode{dirty: map[int]bool{}, lost: map[int]bool{}}
		f.files[name] = node
	}
	return &File{fs: f, name: name, node: node}, nil
}

// Rename gives a file another name and replaces what had it.
func (f *FS) Rename(oldName, newName string) error {
	if err := f.begin(Rename, newName); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	oldName, newName = filepath.Clean(oldName), filepath.Clean(newName)
	node := f.files[oldName]
	if node == nil {
		return &fs.PathError{Op: "rename", Path: oldName, Err: fs.ErrNotExist}
	}
	delete(f.files, oldName)
	f.files[newName] = node
	return nil
}

// MkdirAll makes a directory and its parents. Directories survive a crash.
func (f *FS) MkdirAll(name string) error {
	if err := f.begin(Mkdir, name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for name = filepath.Clean(name); !f.dirs[name]; name = filepath.Dir(name) {
		f.dirs[name] = true
	}
	return nil
}

// List returns the names in a directory, in order.
func (f *FS) List(name string) ([]string, error) {
	if err := f.begin(List, name); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	name = filepath.Clean(name)
	if !f.dirs[name] {
		return nil, &fs.PathError{Op: "list", Path: name, Err: fs.ErrNotExist}
	}
	seen := map[string]bool{}
	for path := range f.files {
		if filepath.Dir(path) == name {
			seen[filepath.Base(path)] = true
		}
	}
	for path := range f.dirs {
		if filepath.Dir(path) == name && path != name {
			seen[filepath.Base(path)] = true
		}
	}
	return slices.Sorted(maps.Keys(seen)), nil
}

// SyncDir makes the names in a directory durable.
func (f *FS) SyncDir(name string) error {
	if err := f.begin(SyncDir, name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	name = filepath.Clean(name)
	for path := range f.stable {
		if filepath.Dir(path) == name && f.files[path] == nil {
			delete(f.stable, path)
		}
	}
	for path, node := range f.files {
		if filepath.Dir(path) == name {
			f.stable[path] = node
		}
	}
	return nil
}

// errLocked is what a second holder of a lock gets.
var errLocked = errors.New("locked")

// Lock takes a lock until it is closed.
func (f *FS) Lock(name string) (io.Closer, error) {
	if err := f.begin(Lock, name); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.locks[name] {
		return nil, &fs.PathError{Op: "lock", Path: name, Err: errLocked}
	}
	f.locks[name] = true
	return unlocker{f, name}, nil
}

type unlocker struct {
	fs   *FS
	name string
}

func (u unlocker) Close() error {
	u.fs.mu.Lock()
	defer u.fs.mu.Unlock()
	delete(u.fs.locks, u.name)
	return nil
}
