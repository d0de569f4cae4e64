// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"

	"claviger/internal/secret"
	"claviger/internal/store"
)

// ErrBackup: a backup is damaged, cut short, of a version this program doesn't
// know, or sealed under another root.
var ErrBackup = errors.New("backup does not open")

// Backup is a backup that is read: first its header, which anyone can, then
// with custody its content, once and in order.
type Backup struct {
	Info       BackupInfo
	Domain     [32]byte
	Generation uint64
	Custody    []byte // the custody file as it was

	r      io.Reader
	header []byte
	stream *secret.Bytes
	eek    *secret.Bytes // nil in strict mode
}

// BackupItem is a record or a slot; exactly one of them is set. Slots come
// without version.
type BackupItem struct {
	Record *store.Record
	Slot   *store.Entry
}

// ReadBackup reads the header. Nothing in it is proved before [Backup.Unlock].
func ReadBackup(r io.Reader) (*Backup, error) {
	header := make([]byte, backupHeader)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBackup, err)
	}
	if string(header[:8]) != backupMagic || header[8]&^backupEEK != 0 {
		return nil, fmt.Errorf("%w: not a backup of this version", ErrBackup)
	}
	b := &Backup{r: r, Domain: [32]byte(header[25:57]), Generation: binary.BigEndian.Uint64(header[57:65])}
	b.Info = BackupInfo{
		ID:         [16]byte(header[9:25]),
		Epoch:      EpochID{Number: binary.BigEndian.Uint64(header[65:73]), ID: [16]byte(header[73:89])},
		CarriesEEK: header[8] == backupEEK,
	}
	n := binary.BigEndian.Uint32(header[89:93])
	if n > maxCustody {
		return nil, fmt.Errorf("%w: custody file of %d bytes", ErrBackup, n)
	}
	b.Custody = make([]byte, n)
	if _, err := io.ReadFull(r, b.Custody); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBackup, err)
	}
	b.header = append(header, b.Custody...)
	return b, nil
}

// Unlock opens the backup's keys with custody of its root generation. The caller
// calls [Backup.Wipe] in the end.
func (b *Backup) Unlock(custody Custody) error {
	root, err := BackupSeal(custody, b.Domain, b.Generation)
	if err != nil {
		return err
	}
	defer root.Wipe()
	n := keySize
	if b.Info.CarriesEEK {
		n += keySize
	}
	blob := make([]byte, n+sealOverhead)
	if _, err := io.ReadFull(b.r, blob); err != nil {
		return fmt.Errorf("%w: %w", ErrBackup, err)
	}
	keys, err := unseal(root, backupKeysPlace(b.Domain, b.header), blob)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBackup, err)
	}
	defer keys.Wipe()
	b.stream = secret.Take(keys.Expose()[:keySize])
	if b.Info.CarriesEEK {
		b.eek = secret.Take(keys.Expose()[keySize:])
	}
	return nil
}

// Wipe erases the backup's keys from memory.
func (b *Backup) Wipe() {
	wipe(b.stream)
	wipe(b.eek)
}

// Init writes the first epoch file of a new server from the backup's EEK, at the
// backup's epoch, and returns its public epoch key. ErrWaiting if the backup is
// strict: then only a living server can give the EEK ([Join]).
func (b *Backup) Init(o Options) (public []byte, err error) {
	if b.eek == nil {
		return nil, fmt.Errorf("%w: the backup carries none", ErrWaiting)
	}
	if o.Domain != b.Domain || o.Generation != b.Generation {
		return nil, fmt.Errorf("%w: backup of another domain or root generation", ErrForeign)
	}
	h, err := newHierarchy(o)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	s := &epochState{at: b.Info.Epoch, eek: b.eek.Clone(), seed: secret.Random(keySize)}
	defer s.wipe()
	if err := h.setPublic(s); err != nil {
		return nil, err
	}
	return s.public, h.initState(s)
}

// Items yields records and slots in the order they were written. An error is the
// last element; only without one was the backup whole. It can be read once.
func (b *Backup) Items() iter.Seq2[BackupItem, error] {
	return func(yield func(BackupItem, error) bool) {
		if b.stream == nil {
			yield(BackupItem{}, fmt.Errorf("%w: it is locked", ErrBackup))
			return
		}
		c := &chunkReader{r: b.r, key: b.stream, domain: b.Domain}
		var records, slots uint64
		for {
			item, end, err := readItem(c)
			if err == nil && end != nil {
				err = checkEnd(c, end, records, slots)
			}
			if err != nil {
				yield(BackupItem{}, fmt.Errorf("%w: %w", ErrBackup, err))
				return
			}
			if end != nil || !yield(item, nil) {
				return
			}
			if item.Record != nil {
				records++
			} else {
				slots++
			}
		}
	}
}

// checkEnd checks the counts and that nothing follows.
func checkEnd(c *chunkReader, end []byte, records, slots uint64) error {
	if binary.BigEndian.Uint64(end) != records || binary.BigEndian.Uint64(end[8:]) != slots {
		return errors.New("number of items")
	}
	if !c.done || len(c.buf) > 0 {
		return errors.New("items after the end")
	}
	if n, err := io.ReadFull(c.r, make([]byte, 1)); n != 0 || err != io.EOF {
		return errors.New("bytes after the last chunk")
	}
	return nil
}

// readItem reads the next item, or the content of the end item.
func readItem(r io.Reader) (item BackupItem, end []byte, err error) {
	kind, err := readN(r, 1)
	if err != nil {
		return item, nil, err
	}
	switch kind[0] {
	case tagRecord:
		index, err := readN(r, 8)
		if err != nil {
			return item, nil, err
		}
		data, err := readSized(r, store.MaxRecord)
		item.Record = &store.Record{Index: binary.BigEndian.Uint64(index), Data: data}
		return item, nil, err
	case tagSlot:
		size, err := readN(r, 2)
		if err != nil {
			return item, nil, err
		}
		key, err := readN(r, int(binary.BigEndian.Uint16(size)))
		if err != nil {
			return item, nil, err
		}
		if err := store.CheckKey(string(key)); err != nil {
			return item, nil, err
		}
		value, err := readSized(r, store.MaxValue)
		item.Slot = &store.Entry{Key: string(key), Value: value}
		return item, nil, err
	case tagEnd:
		end, err = readN(r, endLength)
		return item, end, err
	}
	return item, nil, errors.New("unknown item")
}

func readN(r io.Reader, n int) ([]byte, error) {
	out := make([]byte, n)
	_, err := io.ReadFull(r, out)
	return out, err
}

func readSized(r io.Reader, limit uint32) ([]byte, error) {
	size, err := readN(r, 4)
	if err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size)
	if n > limit {
		return nil, fmt.Errorf("item of %d bytes", n)
	}
	return readN(r, int(n))
}

// chunkReader reads what chunkWriter wrote.
type chunkReader struct {
	r      io.Reader
	key    *secret.Bytes
	domain [32]byte
	buf    []byte
	index  uint64
	done   bool
}

func (c *chunkReader) Read(p []byte) (int, error) {
	if len(c.buf) == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.buf)
	c.buf = c.buf[n:]
	return n, nil
}

// next opens the next chunk. Index and last are bound, so chunks can't be
// dropped, swapped or cut off.
func (c *chunkReader) next() error {
	if c.done {
		return io.ErrUnexpectedEOF
	}
	head, err := readN(c.r, chunkHeader)
	if err != nil {
		return errors.Join(io.ErrUnexpectedEOF, err)
	}
	n, last := binary.BigEndian.Uint32(head), head[4]
	if n > maxChunkBlob || last > chunkLast {
		return errors.New("chunk header")
	}
	blob, err := readN(c.r, int(n))
	if err != nil {
		return err
	}
	plaintext, err := unseal(c.key, chunkPlace(c.domain, c.index, last), blob)
	if err != nil {
		return err
	}
	defer plaintext.Wipe()
	c.buf = append(c.buf[:0], plaintext.Expose()...)
	c.index++
	c.done = last == chunkLast
	return nil
}
