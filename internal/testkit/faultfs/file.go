// SPDX-License-Identifier: Apache-2.0

package faultfs

import (
	"io"
)

// File is an open file.
type File struct {
	fs   *FS
	name string
	node *inode
}

// ReadAt reads from the cache.
func (f *File) ReadAt(p []byte, offset int64) (int, error) {
	if err := f.fs.begin(Read, f.name); err != nil {
		return 0, err
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if offset >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[offset:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes to the cache. A write that the fault fails may still leave a
// prefix behind, as a disk that becomes full does.
func (f *File) WriteAt(p []byte, offset int64) (int, error) {
	fault := f.fs.begin(Write, f.name)
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if fault != nil {
		p = p[:f.fs.rng.IntN(len(p)+1)]
	}
	f.node.write(p, int(offset))
	return len(p), fault
}

// Truncate sets the size.
func (f *File) Truncate(size int64) error {
	if err := f.fs.begin(Truncate, f.name); err != nil {
		return err
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	node := f.node
	if grow := int(size) - len(node.data); grow > 0 {
		node.write(make([]byte, grow), len(node.data))
		return nil
	}
	node.data = node.data[:size]
	for s := range node.dirty {
		if s*sector >= int(size) {
			delete(node.dirty, s)
		}
	}
	return nil
}

// Sync makes content and size durable, or, when the fault fails it, forgets
// what was to be written.
func (f *File) Sync() error {
	fault := f.fs.begin(Sync, f.name)
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	node := f.node
	if fault != nil {
		for s := range node.dirty {
			node.lost[s] = true
		}
		clear(node.dirty)
		return fault
	}
	node.resize(len(node.data))
	for s := range node.dirty {
		node.flush(s)
	}
	clear(node.dirty)
	return nil
}

// Size returns the size in the cache.
func (f *File) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.node.data)), nil
}

// Close does nothing: a close makes nothing durable.
func (f *File) Close() error { return nil }

func (n *inode) write(p []byte, offset int) {
	if len(p) == 0 {
		return
	}
	if missing := offset + len(p) - len(n.data); missing > 0 {
		n.data = append(n.data, make([]byte, missing)...)
	}
	copy(n.data[offset:], p)
	for s := offset / sector; s*sector < offset+len(p); s++ {
		n.dirty[s] = true
		delete(n.lost, s)
	}
}

// resize sets the size on the disk; new bytes are zeros.
func (n *inode) resize(size int) {
	if size <= len(n.stable) {
		n.stable = n.stable[:size]
		return
	}
	n.stable = append(n.stable, make([]byte, size-len(n.stable))...)
}

// flush writes one sector to the disk, as far as the disk's size goes.
func (n *inode) flush(s int) {
	from := s * sector
	if from >= len(n.data) || from >= len(n.stable) {
		return
	}
	copy(n.stable[from:], n.data[from:min(from+sector, len(n.data))])
}
