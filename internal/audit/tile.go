// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"path"
	"path/filepath"

	"claviger/internal/wire"
)

// tileName is a full tile's place: its level and its number there.
type tileName struct {
	level  int
	number uint64
}

// tilePath is a tile's path below a log's directory (C2SP tlog-tiles, Merkle
// Tree); level -1 are the entry bundles, width 256 is a full one.
func tilePath(level int, number uint64, width int) string {
	name := fmt.Sprintf("%03d", number%1000)
	for number /= 1000; number > 0; number /= 1000 {
		name = fmt.Sprintf("x%03d/%s", number%1000, name)
	}
	kind := "entries"
	if level >= 0 {
		kind = fmt.Sprint(level)
	}
	name = path.Join("tile", kind, name)
	if width < tileWidth {
		name += fmt.Sprintf(".p/%d", width)
	}
	return name
}

// tileBytes is a tile's content: its hashes one after the other.
func tileBytes(hashes []wire.Hash) []byte {
	out := make([]byte, 0, len(hashes)*sha256.Size)
	for _, h := range hashes {
		out = append(out, h[:]...)
	}
	return out
}

// writeTiles writes the tiles that have become full. They are derived, so they
// aren't synced: Open compares them with the journal and writes them again.
func (l *Log) writeTiles() error {
	l.state.Lock()
	number := l.state.number
	todo := make(map[tileName][]wire.Hash, len(l.state.unwritten))
	for name, hashes := range l.state.unwritten {
		todo[name] = hashes
	}
	l.state.Unlock()
	for name, hashes := range todo {
		file := filepath.Join(numberDir(l.o.Dir, number), filepath.FromSlash(tilePath(name.level, name.number, tileWidth)))
		if err := putTile(l.fs, file, tileBytes(hashes)); err != nil {
			return fmt.Errorf("write tile: %w", err)
		}
		l.state.Lock()
		delete(l.state.unwritten, name)
		l.state.Unlock()
	}
	return nil
}

// putTile writes a tile unless it is already there.
func putTile(fsys FS, name string, data []byte) error {
	old, err := readFile(fsys, name, tileWidth*sha256.Size)
	if err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := fsys.MkdirAll(filepath.Dir(name)); err != nil {
		return err
	}
	f, err := fsys.Open(name, true)
	if err != nil {
		return err
	}
	err = f.Truncate(int64(len(data)))
	if err == nil {
		_, err = f.WriteAt(data, 0)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
