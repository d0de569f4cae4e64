// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"runtime/debug"

	"claviger/internal/authority/atrest"
	"claviger/internal/wire"
)

// Type is the type string of a snapshot.
const Type = "claviger/v1/snapshot"

// Format is the version of the parts and of the rules by which they were folded.
// Whoever changes either raises it.
const Format = 2

const (
	idSize    = 16
	sizeSize  = 4 // before each part: its sealed size, big endian
	maxHeader = 1 << 10
	// MaxPart bounds a part, in bytes.
	MaxPart = 64 << 20
)

// ErrUnusable means that a snapshot can't be used: it was changed or cut, or it
// is of another log, server or program.
var ErrUnusable = errors.New("snapshot not usable")

// Header says what a snapshot is of.
type Header struct {
	_      struct{} `cbor:",toarray"`
	Type   string   // Type
	Format uint64   // Format
	Build  string   // the program that wrote it
	Domain wire.DomainID
	Server wire.ServerID
	Epoch  wire.Epoch // the newest record that is in it
	Head   wire.Hash  // its link's
	Trail  Trail      // of all records up to it
}

// File is where a server keeps its snapshot.
type File struct {
	Path   string
	Box    atrest.Box // its label is no other box's
	Server wire.ServerID
}

// place is the associated data of a part.
type place struct {
	_     struct{} `cbor:",toarray"`
	Type  string
	ID    [idSize]byte // of the file
	Index uint64       // 0 is the header's
	Last  bool
}

// Write replaces the snapshot: mode 0600, whole and durably. Of the header, the
// place in the log is the caller's.
func (f File) Write(h Header, parts iter.Seq[[]byte]) error {
	h.Type, h.Format, h.Build, h.Domain, h.Server = Type, Format, build(), f.Box.Domain, f.Server
	err := atrest.Replace(f.Path, func(w io.Writer) error {
		at := place{Type: Type}
		rand.Read(at.ID[:])
		if _, err := w.Write(at.ID[:]); err != nil {
			return err
		}
		next := wire.Marshal(h) // held back until it is known whether it is the last
		for part := range parts {
			if err := f.put(w, at, next); err != nil {
				return err
			}
			next = part
			at.Index++
		}
		at.Last = true
		return f.put(w, at, next)
	})
	if err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

func (f File) put(w io.Writer, at place, part []byte) error {
	sealed := f.Box.Seal(part, wire.Marshal(at))
	if _, err := w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(sealed)))); err != nil {
		return err
	}
	_, err := w.Write(sealed)
	return err
}

// Remove takes the snapshot away; that there is none is no error.
func (f File) Remove() error {
	if err := os.Remove(f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove snapshot: %w", err)
	}
	return nil
}

// Reader reads a snapshot.
type Reader struct {
	Header Header

	box  atrest.Box
	file *os.File
	left int64 // bytes of the file that are not read yet
	at   place
}

// Open opens the snapshot for reading, or returns nil without an error if there
// is none. ErrUnusable: it is not one that this program wrote for this server of
// this domain. The caller closes the Reader.
func (f File) Open() (r *Reader, err error) {
	file, err := os.Open(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	r = &Reader{box: f.Box, file: file, at: place{Type: Type}}
	defer func() {
		if err != nil {
			r.Close()
			r = nil
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return r, fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	r.left = info.Size()
	if err := r.read(r.at.ID[:]); err != nil {
		return r, err
	}
	sealed, err := r.next()
	if err != nil {
		return r, err
	}
	plain, err := r.Unseal(sealed)
	if err != nil {
		return r, err
	}
	if err := wire.Unmarshal(plain, &r.Header, maxHeader); err != nil {
		return r, fmt.Errorf("%w: header: %w", ErrUnusable, err)
	}
	return r, r.Header.fits(f)
}

// fits holds that a snapshot is one that this program wrote for this server.
func (h Header) fits(f File) error {
	switch {
	case h.Type != Type || h.Format != Format:
		return fmt.Errorf("%w: it is of another format", ErrUnusable)
	case h.Build != build():
		return fmt.Errorf("%w: another version of the program wrote it", ErrUnusable)
	case h.Domain != f.Box.Domain || h.Server != f.Server:
		return fmt.Errorf("%w: it is another server's", ErrUnusable)
	}
	return nil
}

// Close closes the file.
func (r *Reader) Close() { r.file.Close() }

// Sealed is a part as it stands in the file.
type Sealed struct {
	data []byte
	at   place
}

// Parts yields what follows the header. After the last part nothing may follow.
func (r *Reader) Parts() iter.Seq2[Sealed, error] {
	return func(yield func(Sealed, error) bool) {
		for r.left > 0 {
			part, err := r.next()
			if !yield(part, err) || err != nil {
				return
			}
		}
	}
}

// Unseal opens a part, or returns ErrUnusable. It may run on several goroutines.
func (r *Reader) Unseal(part Sealed) ([]byte, error) {
	plain, err := r.box.Open(part.data, wire.Marshal(part.at))
	if err != nil {
		return nil, fmt.Errorf("%w: part %d: %w", ErrUnusable, part.at.Index, err)
	}
	return plain, nil
}

// next reads a part. It is the last, and was sealed as the last, if the file ends
// with it.
func (r *Reader) next() (Sealed, error) {
	var size [sizeSize]byte
	if err := r.read(size[:]); err != nil {
		return Sealed{}, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if int64(n) > r.left || n > MaxPart+maxHeader {
		return Sealed{}, fmt.Errorf("%w: it is cut", ErrUnusable)
	}
	part := Sealed{data: make([]byte, n), at: r.at}
	if err := r.read(part.data); err != nil {
		return Sealed{}, err
	}
	part.at.Last = r.left == 0
	r.at.Index++
	return part, nil
}

func (r *Reader) read(into []byte) error {
	n, err := io.ReadFull(r.file, into)
	r.left -= int64(n)
	if err != nil {
		return fmt.Errorf("%w: it is cut: %w", ErrUnusable, err)
	}
	return nil
}

// build names the program as well as it knows itself: version, commit, and
// whether that was changed. Tests and programs built by hand may all be "".
func build() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	name := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" || s.Key == "vcs.modified" {
			name += " " + s.Value
		}
	}
	return name
}
