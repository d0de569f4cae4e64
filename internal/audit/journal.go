// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"claviger/internal/wire"
)

// A journal is a header and then batches, each written by one write and made
// durable by one sync before the next is written. docs/audit.md has the bytes.
const (
	headerMagic = "CLVAUDJ1"
	headerSize  = 8 + 32 + 16 + 8 + 4 // magic, domain, server, number, checksum

	batchMagic = "\x93CLVBAT\n"
	batchSize  = 8 + 8 + 8 + 4 + 4 // magic, sequence, first index, payload length, checksum

	entrySize = 1 + 4 // kind, length

	// MaxBlob bounds a blob: a policy set or schema is the largest.
	MaxBlob = 4 << 20
	// fullBatch is the payload at which a batch takes no further entry.
	fullBatch = 1 << 20
	// maxPayload is what a reader accepts: only a batch of one blob is larger
	// than a full one.
	maxPayload = entrySize + MaxBlob
)

type entryKind byte

const (
	entryLeaf entryKind = 1
	entryBlob entryKind = 2
)

// crcTable is that of CRC-32C, which processors compute. The checksum finds
// torn writes and rot; against people there is the Merkle tree.
func crcTable() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func checksum(b []byte) uint32 { return crc32.Checksum(b, crcTable()) }

// errTorn is the end of what can be read of a journal: from here on there is no
// whole batch.
var errTorn = errors.New("no whole batch")

// identity is whose journal it is.
type identity struct {
	domain wire.DomainID
	server wire.ServerID
	number uint64
}

func (id identity) header() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, headerMagic...)
	b = append(b, id.domain[:]...)
	b = append(b, id.server[:]...)
	b = binary.BigEndian.AppendUint64(b, id.number)
	return binary.BigEndian.AppendUint32(b, checksum(b))
}

// appendEntry adds one entry to a payload.
func appendEntry(b []byte, kind entryKind, body []byte) []byte {
	b = append(b, byte(kind))
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	return append(b, body...)
}

// sealBatch fills in the header of a batch whose payload stands after
// batchSize free bytes. The checksum also covers the journal's header, so that
// a batch of one journal is none in another.
func sealBatch(b []byte, seed uint32, sequence, first uint64) {
	copy(b, batchMagic)
	binary.BigEndian.PutUint64(b[8:], sequence)
	binary.BigEndian.PutUint64(b[16:], first)
	binary.BigEndian.PutUint32(b[24:], uint32(len(b)-batchSize))
	binary.BigEndian.PutUint32(b[28:], batchSum(b, seed))
}

func batchSum(b []byte, seed uint32) uint32 {
	sum := crc32.Update(seed, crcTable(), b[:batchSize-4])
	return crc32.Update(sum, crcTable(), b[batchSize:])
}

// batchInfo is one batch as read.
type batchInfo struct {
	offset   int64 // of its header in the file
	sequence uint64
	first    uint64 // index of its first leaf
	payload  []byte // valid until the next read
}

// end is the offset after the batch.
func (b batchInfo) end() int64 { return b.offset + batchSize + int64(len(b.payload)) }

// reader reads the batches of a journal in order.
type reader struct {
	file     io.ReaderAt
	size     int64
	seed     uint32
	offset   int64
	sequence uint64 // of the next batch
	index    uint64 // of the next leaf
	buf      []byte
}

// newReader checks the header. A journal of somebody else is an error; one that
// is too short to have a header is errTorn.
func newReader(file io.ReaderAt, size int64, id identity) (*reader, error) {
	if size < headerSize {
		return nil, errTorn
	}
	got := make([]byte, headerSize)
	if _, err := file.ReadAt(got, 0); err != nil {
		return nil, fmt.Errorf("read journal header: %w", err)
	}
	want := id.header()
	if binary.BigEndian.Uint32(got[headerSize-4:]) != checksum(got[:headerSize-4]) {
		return nil, errTorn
	}
	if !bytes.Equal(got, want) {
		return nil, fmt.Errorf("%w: journal of another domain, server or number", ErrConfig)
	}
	return &reader{file: file, size: size, seed: checksum(want), offset: headerSize}, nil
}

// next returns the next batch, io.EOF at the end or where nothing but zeros
// follows, errTorn where no whole batch does.
func (r *reader) next() (batchInfo, error) {
	if r.offset == r.size {
		return batchInfo{}, io.EOF
	}
	b, err := r.whole()
	if errors.Is(err, errTorn) {
		err = r.over()
	}
	return b, err
}

// whole takes the batch that follows, or errTorn.
func (r *reader) whole() (batchInfo, error) {
	b, err := r.at(r.offset)
	if err != nil {
		return batchInfo{}, err
	}
	if b.sequence != r.sequence || b.first != r.index {
		return batchInfo{}, errTorn
	}
	leaves := uint64(0)
	err = entries(b.payload, func(kind entryKind, _ int, _ []byte) error {
		if kind == entryLeaf {
			leaves++
		}
		return nil
	})
	if err != nil {
		return batchInfo{}, err
	}
	r.offset, r.sequence, r.index = b.end(), r.sequence+1, r.index+leaves
	return b, nil
}

// at reads the batch at an offset, whatever its sequence.
func (r *reader) at(offset int64) (batchInfo, error) {
	var head [batchSize]byte
	if r.size-offset < batchSize {
		return batchInfo{}, errTorn
	}
	if _, err := r.file.ReadAt(head[:], offset); err != nil {
		return batchInfo{}, fmt.Errorf("read journal: %w", err)
	}
	length := int64(binary.BigEndian.Uint32(head[24:]))
	if string(head[:8]) != batchMagic || length > maxPayload || length > r.size-offset-batchSize {
		return batchInfo{}, errTorn
	}
	total := int(batchSize + length)
	if cap(r.buf) < total {
		r.buf = make([]byte, total)
	}
	whole := r.buf[:total]
	if _, err := r.file.ReadAt(whole, offset); err != nil {
		return batchInfo{}, fmt.Errorf("read journal: %w", err)
	}
	if binary.BigEndian.Uint32(whole[28:]) != batchSum(whole, r.seed) {
		return batchInfo{}, errTorn
	}
	return batchInfo{
		offset:   offset,
		sequence: binary.BigEndian.Uint64(whole[8:]),
		first:    binary.BigEndian.Uint64(whole[16:]),
		payload:  whole[batchSize:],
	}, nil
}

// over says what stands where no whole batch does: io.EOF for zeros up to the end,
// which were written ahead, else errTorn. The size becomes that without them.
func (r *reader) over() error {
	buf := make([]byte, 64<<10)
	last := r.offset
	for from := r.offset; from < r.size; {
		n, err := r.file.ReadAt(buf[:min(int64(len(buf)), r.size-from)], from)
		if n == 0 && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read journal: %w", err)
		}
		if n == 0 {
			return errTorn // it is shorter than it was
		}
		if used := len(bytes.TrimRight(buf[:n], "\x00")); used > 0 {
			last = from + int64(used)
		}
		from += int64(n)
	}
	if r.size = last; last == r.offset {
		return io.EOF
	}
	return errTorn
}

// wholeBatchAfter reports whether a whole batch stands anywhere after the
// reader's place. A batch is written only after the one before it is durable:
// so if one follows, the bytes in between were durable once, perhaps
// acknowledged, and are damage, not a torn tail.
func (r *reader) wholeBatchAfter() (bool, error) {
	const window = 1 << 20
	buf := make([]byte, window+len(batchMagic)-1)
	for from := r.offset + 1; from < r.size; from += window {
		n, err := r.file.ReadAt(buf[:min(int64(len(buf)), r.size-from)], from)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, fmt.Errorf("read journal: %w", err)
		}
		for at := 0; ; at++ {
			i := bytes.Index(buf[at:n], []byte(batchMagic))
			if i < 0 {
				break
			}
			at += i
			_, err := r.at(from + int64(at))
			if err == nil {
				return true, nil
			}
			if !errors.Is(err, errTorn) {
				return false, err
			}
		}
	}
	return false, nil
}

// entries calls f with each entry of a payload: its kind, the offset of its
// body in the payload, and the body. A payload that isn't made of whole entries
// of known kinds is errTorn: its checksum was right, so it is a newer version's
// or forged, and nothing of it is taken.
func entries(payload []byte, f func(kind entryKind, offset int, body []byte) error) error {
	for at := 0; at < len(payload); {
		rest := payload[at:]
		if len(rest) < entrySize {
			return errTorn
		}
		kind, length := entryKind(rest[0]), uint64(binary.BigEndian.Uint32(rest[1:]))
		limit := uint64(MaxLeaf)
		if kind == entryBlob {
			limit = MaxBlob
		} else if kind != entryLeaf {
			return errTorn
		}
		if length > limit || length > uint64(len(rest)-entrySize) {
			return errTorn
		}
		body := rest[entrySize : entrySize+int(length)]
		if err := f(kind, at+entrySize, body); err != nil {
			return err
		}
		at += entrySize + int(length)
	}
	return nil
}
