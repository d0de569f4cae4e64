// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"

	"claviger/internal/wire"
)

// tileSize is the size of a full tile in bytes.
const tileSize = tileWidth * sha256.Size

// tileName is a full tile's place: its level and its number there.
type tileName struct {
	level  int
	number uint64
}

// tilePath is a tile's path in an archive (C2SP tlog-tiles, Merkle Tree); level
// -1 are the entry bundles, width 256 is a full one.
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

// tileFile is the file that holds a level's full tiles one after the other: one
// open file per level costs the committer far less than one file per tile.
func tileFile(dir string, number uint64, level int) string {
	return filepath.Join(numberDir(dir, number), fmt.Sprintf("tiles.%d", level))
}

// tileStore writes the full tiles of one log. Its files are derived, so they
// aren't synced: Open compares them with the journal and mends them.
type tileStore struct {
	fs     FS
	dir    string
	number uint64
	files  []File // by level
}

func (s *tileStore) put(name tileName, hashes []wire.Hash) error {
	for len(s.files) <= name.level {
		f, err := s.fs.Open(tileFile(s.dir, s.number, len(s.files)), true)
		if err != nil {
			return fmt.Errorf("open tiles: %w", err)
		}
		s.files = append(s.files, f)
	}
	if _, err := s.files[name.level].WriteAt(tileBytes(hashes), int64(name.number)*tileSize); err != nil {
		return fmt.Errorf("write tile: %w", err)
	}
	return nil
}

// mend writes the tile unless the file has it.
func (s *tileStore) mend(name tileName, hashes []wire.Hash) error {
	if got, err := readTile(s.fs, tileFile(s.dir, s.number, name.level), name.number, tileWidth); err == nil && bytes.Equal(got, tileBytes(hashes)) {
		return nil
	}
	return s.put(name, hashes)
}

func (s *tileStore) close() error {
	var err error
	for _, f := range s.files {
		err = errors.Join(err, f.Close())
	}
	s.files = nil
	return err
}

// putEdge writes the tiles that are not full, of a log that is being closed.
func (s *tileStore) putEdge(t *tree) error {
	for level, hashes := range t.partial {
		if err := s.put(tileName{level, t.size >> (tileHeight * (level + 1))}, hashes); err != nil {
			return err
		}
	}
	return nil
}

// readTile reads the first hashes of a tile.
func readTile(fsys FS, file string, number uint64, width int) ([]byte, error) {
	f, err := fsys.Open(file, false)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, width*sha256.Size)
	n, err := f.ReadAt(data, int64(number)*tileSize)
	if n < len(data) {
		return nil, fmt.Errorf("read tile: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	return data, nil
}

// writeTiles writes the tiles that have become full.
func (l *Log) writeTiles() error {
	l.state.Lock()
	todo := make(map[tileName][]wire.Hash, len(l.state.unwritten))
	for name, hashes := range l.state.unwritten {
		todo[name] = hashes
	}
	l.state.Unlock()
	for name, hashes := range todo {
		if err := l.tiles.put(name, hashes); err != nil {
			return err
		}
		l.state.Lock()
		delete(l.state.unwritten, name)
		l.state.Unlock()
	}
	return nil
}
