// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"claviger/internal/wire"
)

// ErrArchive says that what was given is no archive of this version, or one
// whose parts are not in their order: nothing was learned from the rest of it.
var ErrArchive = errors.New("not an audit archive")

func sha256Hex(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// archiveLog receives the parts of one log in the order in which an archive
// has them.
type archiveLog interface {
	small(name string, data []byte)             // vkey, checkpoint
	bundle(hashes []wire.Hash, bodies [][]byte) // up to 256 leaves
	blob(hash wire.Hash, data []byte)
}

// archiveReader splits an archive into logs and their parts. It believes
// nothing: it only holds the names, the order and the sizes.
type archiveReader struct {
	tar    *tar.Reader
	raw    io.Reader
	header *tar.Header
}

// openArchive reads the first entry: whose archive it says it is.
func openArchive(r io.Reader) (*archiveReader, wire.DomainID, wire.ServerID, error) {
	a := &archiveReader{tar: tar.NewReader(r), raw: r}
	var domain wire.DomainID
	var server wire.ServerID
	if err := a.next(); err != nil || a.header == nil || a.header.Name != archiveName {
		return nil, domain, server, fmt.Errorf("%w: no archive entry first", ErrArchive)
	}
	text, err := a.content(maxSmallFile)
	if err != nil {
		return nil, domain, server, err
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) == 4 {
		_, err1 := hex.Decode(domain[:], []byte(pad(lines[1], 64)))
		_, err2 := hex.Decode(server[:], []byte(pad(lines[2], 32)))
		if err1 == nil && err2 == nil && fmt.Sprintf(archiveText, domain, server) == string(text) {
			return a, domain, server, a.next()
		}
	}
	return nil, domain, server, fmt.Errorf("%w: another version", ErrArchive)
}

// pad cuts or fills s, so that decoding it can't write past an array.
func pad(s string, n int) string { return (s + strings.Repeat("0", n))[:n] }

// next reads the next header; nil at the end, after which nothing may follow.
func (a *archiveReader) next() error {
	h, err := a.tar.Next()
	if errors.Is(err, io.EOF) {
		a.header = nil
		return a.onlyZeros()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	if h.Typeflag != tar.TypeReg {
		return fmt.Errorf("%w: %q is no file", ErrArchive, h.Name)
	}
	a.header = h
	return nil
}

// onlyZeros refuses what follows the archive's end, which is one or two blocks
// of zeros.
func (a *archiveReader) onlyZeros() error {
	rest, err := io.ReadAll(io.LimitReader(a.raw, 513))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	if len(rest) > 512 || strings.Trim(string(rest), "\x00") != "" {
		return fmt.Errorf("%w: bytes after its end", ErrArchive)
	}
	return nil
}

func (a *archiveReader) content(limit int64) ([]byte, error) {
	if a.header.Size > limit {
		return nil, fmt.Errorf("%w: %q is too large", ErrArchive, a.header.Name)
	}
	data, err := io.ReadAll(a.tar)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrArchive, err)
	}
	return data, nil
}

// number is the number of the log that the next entry belongs to, false at the
// end.
func (a *archiveReader) number() (uint64, bool, error) {
	if a.header == nil {
		return 0, false, nil
	}
	dir, _, _ := strings.Cut(a.header.Name, "/")
	n, err := strconv.ParseUint(dir, 10, 63)
	if err != nil || n == 0 || fmt.Sprintf("%08d", n) != dir {
		return 0, false, fmt.Errorf("%w: unknown name %q", ErrArchive, a.header.Name)
	}
	return n, true, nil
}

// log reads one log into f.
func (a *archiveReader) log(number uint64, f archiveLog) error {
	dir := fmt.Sprintf("%08d/", number)
	for _, name := range []string{vkeyName, checkpointName} {
		if a.header == nil || a.header.Name != dir+name {
			continue
		}
		data, err := a.content(maxSmallFile)
		if err != nil {
			return err
		}
		f.small(name, data)
		if err := a.next(); err != nil {
			return err
		}
	}
	if err := a.bundles(dir, f); err != nil {
		return err
	}
	return a.blobs(dir, f)
}

// bundles reads pairs of a hash tile and an entry bundle. All but the last are
// full.
func (a *archiveReader) bundles(dir string, f archiveLog) error {
	for number, width := uint64(0), tileWidth; width == tileWidth; number++ {
		if a.header == nil || !strings.HasPrefix(a.header.Name, dir+"tile/") {
			return nil
		}
		width = int(a.header.Size / sha256.Size)
		if width < 1 || width > tileWidth || a.header.Name != dir+tilePath(0, number, width) {
			return fmt.Errorf("%w: %q out of order", ErrArchive, a.header.Name)
		}
		tile, err := a.content(tileWidth * sha256.Size)
		if err != nil || len(tile) != width*sha256.Size {
			return fmt.Errorf("%w: tile cut short", ErrArchive)
		}
		if err := a.next(); err != nil {
			return err
		}
		if a.header == nil || a.header.Name != dir+tilePath(-1, number, width) {
			return fmt.Errorf("%w: a tile without its entries", ErrArchive)
		}
		bundle, err := a.content(maxBundle)
		if err != nil {
			return err
		}
		bodies, err := splitBundle(bundle)
		if err != nil {
			return err
		}
		f.bundle(splitTile(tile), bodies)
		if err := a.next(); err != nil {
			return err
		}
	}
	return nil
}

func (a *archiveReader) blobs(dir string, f archiveLog) error {
	for a.header != nil && strings.HasPrefix(a.header.Name, dir) {
		name, ok := strings.CutPrefix(a.header.Name, dir+blobDir+"/")
		raw, err := hex.DecodeString(name)
		if !ok || err != nil || len(raw) != sha256.Size || hex.EncodeToString(raw) != name {
			return fmt.Errorf("%w: unknown name %q", ErrArchive, a.header.Name)
		}
		data, err := a.content(MaxBlob)
		if err != nil {
			return err
		}
		f.blob(wire.Hash(raw), data)
		if err := a.next(); err != nil {
			return err
		}
	}
	return nil
}

func splitTile(tile []byte) []wire.Hash {
	out := make([]wire.Hash, len(tile)/sha256.Size)
	for i := range out {
		out[i] = wire.Hash(tile[i*sha256.Size:])
	}
	return out
}

// splitBundle splits an entry bundle (C2SP tlog-tiles, Log entries). It may hold
// more or fewer leaves than its tile: that is for the verifier to name.
func splitBundle(b []byte) ([][]byte, error) {
	var out [][]byte
	for len(b) > 0 {
		if len(b) < 2 {
			return nil, fmt.Errorf("%w: entry bundle cut short", ErrArchive)
		}
		n := int(binary.BigEndian.Uint16(b))
		if n > MaxLeaf || n > len(b)-2 || len(out) == 2*tileWidth {
			return nil, fmt.Errorf("%w: entry bundle", ErrArchive)
		}
		out = append(out, b[2:2+n:2+n])
		b = b[2+n:]
	}
	return out, nil
}
