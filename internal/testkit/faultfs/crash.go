// SPDX-License-Identifier: Apache-2.0

package faultfs

import (
	"bytes"
	"maps"
	"path/filepath"
	"slices"
)

// Crash returns the file system that is found after a loss of power now: what
// is durable, and by chance some of the rest. The old one stays as it is; locks
// and faults are gone in the new one.
func (f *FS) Crash(seed uint64) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	after := New(seed)
	maps.Copy(after.dirs, f.dirs)
	names := maps.Clone(f.stable)
	all := maps.Clone(f.files)
	maps.Copy(all, f.stable)
	for _, path := range slices.Sorted(maps.Keys(all)) {
		if f.files[path] == f.stable[path] || after.rng.IntN(2) == 0 {
			continue
		}
		if live := f.files[path]; live != nil {
			names[path] = live
		} else {
			delete(names, path)
		}
	}
	// A file that two names survived for is one file; each is decided once.
	made := map[*inode]*inode{}
	for _, path := range slices.Sorted(maps.Keys(names)) {
		node := names[path]
		if made[node] == nil {
			made[node] = after.survive(node)
		}
		after.files[path] = made[node]
		after.stable[path] = made[node]
	}
	return after
}

// survive decides what of a file is on the disk.
func (f *FS) survive(n *inode) *inode {
	disk := &inode{data: n.data, stable: bytes.Clone(n.stable), dirty: map[int]bool{}, lost: map[int]bool{}}
	low, high := min(len(n.stable), len(n.data)), max(len(n.stable), len(n.data))
	if high > low {
		switch f.rng.IntN(3) {
		case 0: // the size as it was durable
		case 1:
			disk.resize(len(n.data))
		default:
			disk.resize(low + f.rng.IntN(high-low+1))
		}
	}
	whole := f.rng.IntN(4) // sometimes all of the rest, sometimes nothing
	sectors := maps.Clone(n.dirty)
	maps.Copy(sectors, n.lost)
	for _, s := range slices.Sorted(maps.Keys(sectors)) {
		if whole == 0 || whole > 1 && f.rng.IntN(2) == 0 {
			disk.flush(s)
		}
	}
	disk.data = bytes.Clone(disk.stable)
	return disk
}

// Damage flips a bit of the byte at offset, in cache and disk. It reports
// whether the file is that long.
func (f *FS) Damage(name string, offset int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	node := f.files[filepath.Clean(name)]
	if node == nil || offset < 0 || offset >= len(node.data) || offset >= len(node.stable) {
		return false
	}
	node.data[offset] ^= 0x10
	node.stable[offset] ^= 0x10
	return true
}
