// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"archive/tar"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"claviger/internal/audit/disk"
	"claviger/internal/wire"
)

// The names in an archive, which is a tar file; docs/audit.md has the whole.
const (
	archiveName  = "archive" // the first entry: archiveText
	archiveText  = "claviger audit archive v1\n%s\n%s\n"
	vkeyName     = "vkey"
	blobDir      = "blob"
	maxSmallFile = maxNote
	maxBundle    = tileWidth * (2 + MaxLeaf)
)

// Export writes all of this server's logs as one archive, up to a checkpoint
// that it makes now: a tar file that is a C2SP tlog-tiles log for each number
// (checkpoint, hash tiles of level 0, entry bundles), the blobs beside them. It
// reads while the log goes on. [Verifier.Archive] reads it back.
func (l *Log) Export(w io.Writer) error {
	now, err := l.Checkpoint()
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	numbers, err := l.Numbers()
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	e := &exporter{log: l, tar: tar.NewWriter(w)}
	e.put(archiveName, fmt.Appendf(nil, archiveText, l.o.Domain, l.o.Server))
	for _, number := range numbers {
		if number <= now.Log {
			e.number(number, now)
		}
	}
	if e.err == nil {
		e.err = e.tar.Close()
	}
	if e.err != nil {
		return fmt.Errorf("export: %w", e.err)
	}
	return nil
}

// exporter writes an archive; its first error ends it.
type exporter struct {
	log    *Log
	tar    *tar.Writer
	err    error
	bundle []byte
	hashes []wire.Hash
	count  uint64
}

func (e *exporter) put(name string, data []byte) {
	if e.err != nil {
		return
	}
	e.err = e.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), Format: tar.FormatUSTAR})
	if e.err == nil {
		_, e.err = e.tar.Write(data)
	}
}

// number writes one log: the current one up to the checkpoint, a closed one
// whole. Of a log that was given up it writes what can be read.
func (e *exporter) number(number uint64, now Checkpoint) {
	dir := fmt.Sprintf("%08d/", number)
	limit := ^uint64(0)
	signed := now.Note
	if number == now.Log {
		limit = now.Size
	} else if e.err == nil {
		signed, e.err = disk.ReadFile(e.log.fs, filepath.Join(numberDir(e.log.o.Dir, number), checkpointName), maxNote)
	}
	vkey, err := VerifierKey(Origin(e.log.o.Domain, e.log.o.Server, number), e.log.key.public)
	if err != nil && e.err == nil {
		e.err = err
	}
	e.put(dir+vkeyName, []byte(vkey+"\n"))
	if len(signed) > 0 {
		e.put(dir+checkpointName, signed)
	}
	e.count, e.bundle, e.hashes = 0, nil, nil
	e.walk(number, func(kind entryKind, index uint64, body []byte) {
		if kind == entryLeaf && index < limit {
			e.leaf(dir, body)
		}
	})
	e.flush(dir)
	e.walk(number, func(kind entryKind, index uint64, body []byte) {
		if kind == entryBlob && index < limit {
			e.put(dir+blobDir+"/"+sha256Hex(body), body)
		}
	})
}

// walk reads one log; the end of what can be read of a closed one is its end.
func (e *exporter) walk(number uint64, f func(kind entryKind, index uint64, body []byte)) {
	if e.err != nil {
		return
	}
	err := e.log.read(Position{Log: number}, func(kind entryKind, index uint64, body []byte) error {
		f(kind, index, body)
		return e.err
	})
	if errors.Is(err, errTorn) && number != e.log.durableNumber() {
		return
	}
	e.err = err
}

// leaf adds a leaf to the bundle.
func (e *exporter) leaf(dir string, body []byte) {
	e.bundle = binary.BigEndian.AppendUint16(e.bundle, uint16(len(body)))
	e.bundle = append(e.bundle, body...)
	e.hashes = append(e.hashes, leafHash(body))
	e.count++
	if len(e.hashes) == tileWidth {
		e.flush(dir)
	}
}

// flush writes a tile and its bundle.
func (e *exporter) flush(dir string) {
	width := len(e.hashes)
	if width == 0 {
		return
	}
	number := (e.count - 1) / tileWidth
	e.put(dir+tilePath(0, number, width), tileBytes(e.hashes))
	e.put(dir+tilePath(-1, number, width), e.bundle)
	e.bundle, e.hashes = e.bundle[:0], e.hashes[:0]
}
