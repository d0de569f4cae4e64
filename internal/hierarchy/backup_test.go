// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"slices"
	"testing"

	"claviger/internal/store"
)

func records(n int) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		for i := range n {
			if !yield(store.Record{Index: uint64(i + 1), Data: bytes.Repeat([]byte{byte(i)}, 1000*i+1)}, nil) {
				return
			}
		}
	}
}

func backupWorld(t *testing.T, strict bool) (w *world, h *Hierarchy, v Version, raw []byte, info BackupInfo) {
	t.Helper()
	w = newWorld(t)
	h = w.first(1, newMemFS())
	v = w.add(h, 1, 1, AlgAES256)
	var out bytes.Buffer
	var announced BackupInfo
	info, err := h.Backup(t.Context(), &out, BackupInput{
		Custody: []byte("sealed root"), Records: records(40), Slots: w.slots.List(t.Context(), ""), Strict: strict,
		Announce: func(i BackupInfo) error {
			if out.Len() > 0 {
				t.Error("announced too late")
			}
			announced = i
			return nil
		},
	})
	must(t, err)
	if announced != info || info.CarriesEEK == strict {
		t.Fatalf("%+v, announced %+v", info, announced)
	}
	return w, h, v, out.Bytes(), info
}

func TestBackupRestores(t *testing.T) {
	w, h1, v, raw, info := backupWorld(t, false)
	if !bytes.Contains(raw, []byte("sealed root")) {
		t.Fatal("the custody file isn't readable")
	}
	want, err := w.leaf(h1, v.Ref())
	must(t, err)
	b, log, slots, err := restoreIn(t, raw, w.custody)
	must(t, err)
	defer b.Wipe()
	if len(log) != 40 || log[39].Index != 40 || len(log[39].Data) != 39001 {
		t.Fatalf("%d records", len(log))
	}
	if b.Info != info || b.Domain != w.domain || b.Generation != 1 || string(b.Custody) != "sealed root" {
		t.Fatalf("header %+v", b.Info)
	}
	dir := newMemFS()
	o := w.options(2, dir)
	pub, err := b.Init(o)
	must(t, err)
	if len(pub) != 1216 {
		t.Fatal("public epoch key")
	}
	_, err = b.Init(o)
	wantErr(t, err, ErrExists)
	o.Slots = slots
	h, err := Open(t.Context(), o, Logged{})
	must(t, err)
	defer h.Close()
	leaf, err := h.Leaf(t.Context(), v, PurposeData, []byte("p"))
	must(t, err)
	if !bytes.Equal(leaf.Expose(), want) {
		t.Fatal("other leaf after restore")
	}
	o.Domain[0]++
	_, err = b.Init(o)
	wantErr(t, err, ErrForeign)
}

// restoreIn reads a whole backup.
func restoreIn(t *testing.T, raw []byte, custody Custody) (*Backup, []store.Record, store.Store, error) {
	t.Helper()
	b, err := ReadBackup(bytes.NewReader(raw))
	if err != nil {
		return nil, nil, nil, err
	}
	for _, err := range b.Items() {
		wantErr(t, err, ErrBackup) // locked
	}
	if err := b.Unlock(custody); err != nil {
		return nil, nil, nil, err
	}
	var log []store.Record
	slots := store.NewMem()
	for item, err := range b.Items() {
		if err != nil {
			return nil, nil, nil, err
		}
		if item.Record != nil {
			log = append(log, *item.Record)
			continue
		}
		if err := slots.Put(t.Context(), item.Slot.Key, 0, item.Slot.Value); err != nil {
			return nil, nil, nil, err
		}
	}
	return b, log, slots, nil
}

func TestStrictBackupCarriesNoEEK(t *testing.T) {
	w, _, v, raw, _ := backupWorld(t, true)
	b, _, _, err := restoreIn(t, raw, w.custody)
	must(t, err)
	_, err = b.Init(w.options(2, newMemFS()))
	wantErr(t, err, ErrWaiting)
	a := w.attacker()
	a.backups = [][]byte{raw}
	if a.reaches(v)[0] {
		t.Fatal("a strict backup gives a version away")
	}
}

// TestBackupIntegrity changes, cuts and extends a backup everywhere.
func TestBackupIntegrity(t *testing.T) {
	w, _, _, raw, _ := backupWorld(t, false)
	_, _, _, err := restoreIn(t, raw, custodyOf(9))
	wantErr(t, err, ErrBackup)
	step := max(1, len(raw)/100)
	for i := 0; i < len(raw); i += step {
		changed := bytes.Clone(raw)
		changed[i] ^= 0x10
		if _, _, _, err := restoreIn(t, changed, w.custody); err == nil {
			t.Fatalf("restores with byte %d changed", i)
		}
		if _, _, _, err := restoreIn(t, raw[:i], w.custody); !errors.Is(err, ErrBackup) {
			t.Fatalf("cut to %d: %v", i, err)
		}
	}
	_, _, _, err = restoreIn(t, append(bytes.Clone(raw), 0), w.custody)
	wantErr(t, err, ErrBackup)
}

// TestBackupChunksAreOrdered swaps, drops and repeats whole chunks.
func TestBackupChunksAreOrdered(t *testing.T) {
	w, _, _, raw, _ := backupWorld(t, false)
	head := backupHeader + len("sealed root") + 2*keySize + sealOverhead
	size := chunkHeader + maxChunkBlob
	chunk := func(n int) []byte { return raw[head+n*size : min(head+(n+1)*size, len(raw))] }
	n := (len(raw) - head + size - 1) / size
	if n < 3 {
		t.Fatalf("%d chunks", n)
	}
	rest := raw[head+2*size:]
	for name, changed := range map[string][]byte{
		"swapped":  slices.Concat(raw[:head], chunk(1), chunk(0), rest),
		"dropped":  slices.Concat(raw[:head], chunk(0), rest),
		"repeated": slices.Concat(raw[:head], chunk(0), chunk(0), chunk(1), rest),
		"cut":      raw[:head+size],
	} {
		_, _, _, err := restoreIn(t, changed, w.custody)
		if !errors.Is(err, ErrBackup) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBackupInput(t *testing.T) {
	w := newWorld(t)
	h := w.first(1, newMemFS())
	_, err := h.Backup(t.Context(), io.Discard, BackupInput{})
	wantErr(t, err, ErrInvalid)
	_, err = h.Backup(t.Context(), io.Discard, BackupInput{Strict: true, Custody: make([]byte, maxCustody+1)})
	wantErr(t, err, ErrInvalid)
	refused := errors.New("log is down")
	var out bytes.Buffer
	_, err = h.Backup(t.Context(), &out, BackupInput{Announce: func(BackupInfo) error { return refused }})
	wantErr(t, err, refused)
	if out.Len() > 0 {
		t.Fatal("written without being listed")
	}
	broken := func(yield func(store.Entry, error) bool) { yield(store.Entry{}, refused) }
	_, err = h.Backup(t.Context(), &out, BackupInput{Strict: true, Slots: broken})
	wantErr(t, err, refused)
}

// TestBackupAcrossSwitch lets a switch come while the backup is written.
func TestBackupAcrossSwitch(t *testing.T) {
	for _, when := range []string{"announced", "written"} {
		w := newWorld(t)
		h := w.first(1, newMemFS())
		v := w.add(h, 1, 1, AlgAES256)
		var out bytes.Buffer
		in := BackupInput{Announce: func(BackupInfo) error {
			if when == "announced" {
				w.destroy(v.Ref(), h)
			}
			return nil
		}}
		in.Slots = func(yield func(store.Entry, error) bool) {
			if when == "written" {
				w.destroy(v.Ref(), h)
			}
		}
		_, err := h.Backup(t.Context(), &out, in)
		wantErr(t, err, ErrSwitched)
		if when == "announced" && out.Len() > 0 {
			t.Fatal("written after the switch")
		}
		if _, _, _, err := restoreIn(t, out.Bytes(), w.custody); err == nil {
			t.Fatal("a broken-off backup restores")
		}
	}
}

// FuzzReadItems feeds the reader of the sealed content with plaintext of its own,
// as a backup made by a broken writer would.
func FuzzReadItems(f *testing.F) {
	f.Add([]byte{tagEnd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{tagRecord, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 'r'})
	f.Add([]byte{tagSlot, 0, 1, 'k', 0, 0, 0, 1, 'v'})
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := bytes.NewReader(raw)
		for {
			item, end, err := readItem(r)
			if err != nil || end != nil {
				return
			}
			if (item.Record == nil) == (item.Slot == nil) {
				t.Fatal("an item is exactly one of both")
			}
		}
	})
}

func FuzzReadBackup(f *testing.F) {
	f.Add([]byte(backupMagic))
	f.Add(append([]byte(backupMagic), make([]byte, 300)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := ReadBackup(bytes.NewReader(raw))
		if err != nil {
			return
		}
		if len(b.Custody) > len(raw) {
			t.Fatal("more than was there")
		}
		if b.Unlock(custodyOf(7)) == nil {
			t.Fatal("opened a backup that nobody made")
		}
	})
}
