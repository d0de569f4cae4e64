// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"

	"claviger/internal/secret"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// Layout of a backup: a header that anyone can read, a blob with the backup's
// keys under the root-derived backup seal, then the content in sealed chunks
// under a random key from that blob. docs/spec/hierarchy.md has the details.
const (
	backupMagic  = "CLVGBKP\x01"
	backupHeader = 8 + 1 + 16 + 32 + 8 + 8 + 16 + 4
	backupEEK    = 1 // flag: the keys blob holds the EEK
	maxCustody   = 1 << 20
	backupChunk  = 64 << 10
	tagRecord    = 1
	tagSlot      = 2
	tagEnd       = 3
	chunkMore    = 0
	chunkLast    = 1
	chunkHeader  = 4 + 1
	maxChunkBlob = backupChunk + sealOverhead
	endLength    = 16
)

// BackupInput is what goes into a backup.
type BackupInput struct {
	Custody []byte                         // the custody file as it is, at most 1 MiB; it stays readable for whoever restores
	Records iter.Seq2[store.Record, error] // the authority log; nil for none
	Slots   iter.Seq2[store.Entry, error]  // nil for none
	Strict  bool                           // leave the EEK out
	// Announce is called before the first byte is written, so that the log lists
	// the backup before it exists; its error ends the backup. It may be nil in
	// strict mode only, since a backup that nobody lists makes receipts lie.
	Announce func(BackupInfo) error
}

// BackupInfo is what the log lists of a backup.
type BackupInfo struct {
	_          struct{} `cbor:",toarray"`
	ID         [16]byte
	Epoch      EpochID // whose EEK it carries, and what destroyed versions it can revive
	CarriesEEK bool
}

// Backup writes a backup of what is handed in, and unless Strict the EEK. If the
// erasure epoch changes meanwhile it returns ErrSwitched, and the output, which
// lacks its end and doesn't restore, must be thrown away like any listed backup
// of the old epoch.
func (h *Hierarchy) Backup(ctx context.Context, w io.Writer, in BackupInput) (BackupInfo, error) {
	if len(in.Custody) > maxCustody || (in.Announce == nil && !in.Strict) {
		return BackupInfo{}, fmt.Errorf("%w backup input: custody file or announcement", ErrInvalid)
	}
	s, err := h.snapshot()
	if err != nil {
		return BackupInfo{}, err
	}
	defer s.wipe()
	info := BackupInfo{Epoch: s.at, CarriesEEK: !in.Strict}
	rand.Read(info.ID[:])
	if in.Announce != nil {
		if err := in.Announce(info); err != nil {
			return BackupInfo{}, fmt.Errorf("announce backup: %w", err)
		}
	}
	// A switch between the snapshot and the announcement would have missed it.
	if !h.current(s) {
		return BackupInfo{}, ErrSwitched
	}
	stream := secret.Random(keySize)
	defer stream.Wipe()
	if err := h.writeBackupHead(w, in, info, s, stream); err != nil {
		return BackupInfo{}, err
	}
	out := &chunkWriter{w: w, key: stream, domain: h.o.Domain}
	if err := writeItems(ctx, out, in); err != nil {
		return BackupInfo{}, err
	}
	if !h.current(s) {
		return BackupInfo{}, ErrSwitched
	}
	return info, out.finish()
}

func (h *Hierarchy) writeBackupHead(w io.Writer, in BackupInput, info BackupInfo, s *epochState, stream *secret.Bytes) error {
	header := append(make([]byte, 0, backupHeader+len(in.Custody)), backupMagic...)
	n := keySize
	if info.CarriesEEK {
		header, n = append(header, backupEEK), n+keySize
	} else {
		header = append(header, 0)
	}
	header = append(header, info.ID[:]...)
	header = append(header, h.o.Domain[:]...)
	header = append(header, u64(h.o.Generation)...)
	header = append(header, u64(info.Epoch.Number)...)
	header = append(header, info.Epoch.ID[:]...)
	header = binary.BigEndian.AppendUint32(header, uint32(len(in.Custody)))
	header = append(header, in.Custody...)
	keys := secret.New(n)
	defer keys.Wipe()
	copy(keys.Expose(), stream.Expose())
	if info.CarriesEEK {
		copy(keys.Expose()[keySize:], s.eek.Expose())
	}
	root, err := BackupSeal(h.o.Custody, h.o.Domain, h.o.Generation)
	if err != nil {
		return err
	}
	defer root.Wipe()
	blob := seal(root, backupKeysPlace(h.o.Domain, header), keys.Expose())
	if _, err := w.Write(append(header, blob...)); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	return nil
}

func backupKeysPlace(domain [32]byte, header []byte) place {
	sum := wire.Sum("backup header", header)
	return place{domain, kindBackupKeys, [][]byte{sum[:]}}
}

// writeItems writes records and slots, each with its length, and the number of
// both at the end.
func writeItems(ctx context.Context, out io.Writer, in BackupInput) error {
	var records, slots uint64
	if in.Records != nil {
		for r, err := range in.Records {
			if err := errors.Join(err, ctx.Err()); err != nil {
				return fmt.Errorf("read log for backup: %w", err)
			}
			records++
			head := binary.BigEndian.AppendUint64([]byte{tagRecord}, r.Index)
			if err := writeItem(out, head, r.Data, store.MaxRecord); err != nil {
				return err
			}
		}
	}
	if in.Slots != nil {
		for e, err := range in.Slots {
			if err := errors.Join(err, ctx.Err()); err != nil {
				return fmt.Errorf("read slots for backup: %w", err)
			}
			slots++
			if err := store.CheckKey(e.Key); err != nil {
				return fmt.Errorf("read slots for backup: %w", err)
			}
			head := binary.BigEndian.AppendUint16([]byte{tagSlot}, uint16(len(e.Key)))
			if err := writeItem(out, append(head, e.Key...), e.Value, store.MaxValue); err != nil {
				return err
			}
		}
	}
	end := binary.BigEndian.AppendUint64([]byte{tagEnd}, records)
	_, err := out.Write(binary.BigEndian.AppendUint64(end, slots))
	return err
}

func writeItem(out io.Writer, head, data []byte, limit int) error {
	if len(data) > limit {
		return fmt.Errorf("%w backup input: an item of %d bytes", ErrInvalid, len(data))
	}
	head = binary.BigEndian.AppendUint32(head, uint32(len(data)))
	if _, err := out.Write(head); err != nil {
		return err
	}
	_, err := out.Write(data)
	return err
}

// chunkPlace binds a chunk to its index and to being the last.
func chunkPlace(domain [32]byte, index uint64, last byte) place {
	return place{domain, kindBackupChunk, [][]byte{u64(index), {last}}}
}

// chunkWriter seals what is written in chunks of 64 KiB:
// length of the blob (4) | last (1) | blob.
type chunkWriter struct {
	w      io.Writer
	key    *secret.Bytes
	domain [32]byte
	buf    []byte
	index  uint64
}

func (c *chunkWriter) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if len(c.buf) == backupChunk {
			if err := c.flush(chunkMore); err != nil {
				return 0, err
			}
		}
		n := min(len(p), backupChunk-len(c.buf))
		c.buf = append(c.buf, p[:n]...)
		p = p[n:]
	}
	return total, nil
}

func (c *chunkWriter) flush(last byte) error {
	blob := seal(c.key, chunkPlace(c.domain, c.index, last), c.buf)
	head := append(binary.BigEndian.AppendUint32(nil, uint32(len(blob))), last)
	if _, err := c.w.Write(append(head, blob...)); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	c.index++
	c.buf = c.buf[:0]
	return nil
}

// finish writes the last chunk, which holds at least the end item.
func (c *chunkWriter) finish() error { return c.flush(chunkLast) }
