// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"claviger/internal/store"
	"claviger/internal/store/bbolt"
)

// backupOf makes a backup and returns its bytes.
func (w *world) backupOf(h *Hierarchy, strict bool) []byte {
	w.t.Helper()
	var out bytes.Buffer
	in := BackupInput{Custody: []byte("custody file"), Slots: w.slots.List(w.t.Context(), ""), Strict: strict,
		Announce: func(BackupInfo) error { return nil }}
	_, err := h.Backup(w.t.Context(), &out, in)
	must(w.t, err)
	return out.Bytes()
}

// TestAttacker plays random histories. After each destruction an attacker who
// holds the root secret, the raw medium of every server, every slot value and
// grant that ever was and all backups looks for the destroyed versions: strict
// backups give nothing; a default backup gives exactly what lived in its epoch.
func TestAttacker(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { attackerHistory(t, rand.New(rand.NewPCG(seed, 1)), seed == 0) })
	}
}

// life is the epochs in which a version lived.
type life struct {
	v        Version
	from, to uint64
	dead     bool
}

func attackerHistory(t *testing.T, r *rand.Rand, windows bool) {
	w := newWorld(t)
	dirs := []*memFS{newMemFS(), newMemFS()}
	servers := []*Hierarchy{w.first(1, dirs[0])}
	servers = append(servers, w.join(2, dirs[1], servers[0]))
	var lives []*life
	var strict, full [][]byte
	var fullEpochs []uint64
	for number := uint64(1); w.logged.Epoch.Number < 4; number++ {
		h := servers[r.IntN(2)]
		for range 1 + r.IntN(3) {
			number++
			lives = append(lives, &life{v: w.add(h, 1, number, AlgAES256), from: h.Epoch().Number})
		}
		strict = append(strict, w.backupOf(h, true))
		if r.IntN(2) == 0 {
			full, fullEpochs = append(full, w.backupOf(h, false)), append(fullEpochs, h.Epoch().Number)
		}
		victim := lives[r.IntN(len(lives))]
		if victim.dead {
			continue
		}
		a := w.attacker(dirs[0].medium())
		if !a.reaches(victim.v)[0] {
			t.Fatal("positive control: the living version is out of reach")
		}
		// A plan that never enters the log.
		lost, err := h.PlanErasure(t.Context(), w.plan(victim.v.Ref()))
		must(t, err)
		w.grants = append(w.grants, lost.Grants...)
		sw := w.destroy(victim.v.Ref(), servers[0], servers[1])
		victim.dead, victim.to = true, sw.From.Number
		if r.IntN(2) == 0 {
			must(t, h.Sweep(t.Context(), sw))
		}
		now := w.attacker(dirs[0].medium(), dirs[1].medium())
		now.backups, now.windows = strict, windows && w.logged.Epoch.Number == 4
		past := w.attacker()
		past.backups = full
		checkAttacker(t, now, past, lives, fullEpochs)
	}
}

// checkAttacker checks what the attacker reaches now, and what through the
// backups of the given epochs alone.
func checkAttacker(t *testing.T, now, past *attacker, lives []*life, epochs []uint64) {
	t.Helper()
	var versions []Version
	for _, l := range lives {
		versions = append(versions, l.v)
	}
	got, revived := now.reaches(versions...), past.reaches(versions...)
	for i, l := range lives {
		if got[i] == l.dead {
			t.Fatalf("version %d, destroyed %t: attacker reaches it: %t", l.v.Number, l.dead, got[i])
		}
		listed := false
		for _, e := range epochs {
			listed = listed || (e >= l.from && (!l.dead || e <= l.to))
		}
		if revived[i] != listed {
			t.Fatalf("version %d: a listed backup covers it: %t, attacker reaches it through backups: %t", l.v.Number, listed, revived[i])
		}
	}
}

// rawEntries finds slots in the raw bytes of a store file, freed pages included.
func rawEntries(raw []byte) (out []store.Entry) {
	names := regexp.MustCompile(keyName.String() + "|" + itemName.String())
	for _, at := range names.FindAllIndex(raw, -1) {
		window := raw[at[1]:min(at[1]+160, len(raw))]
		for _, n := range []int{keySize, keySize + 8} {
			blobs(window, n, func(blob []byte) {
				out = append(out, store.Entry{Key: string(raw[at[0]:at[1]]), Value: blob})
			})
		}
	}
	return out
}

// TestAttackerOnDisk is the same on real files: everything under the data
// directory, read raw.
func TestAttackerOnDisk(t *testing.T) {
	w := newWorld(t)
	data := t.TempDir()
	must(t, os.Mkdir(filepath.Join(data, "root"), 0o700))
	path := filepath.Join(data, "state.db")
	db, err := bbolt.Open(path, bbolt.Options{})
	must(t, err)
	defer db.Close()
	w.slots = newHistory(db)
	dir, err := openDir(filepath.Join(data, "root"))
	must(t, err)
	h := w.first(1, dir)
	var all []Version
	for n := range uint64(20) {
		all = append(all, w.add(h, 1, n+1, AlgAES256))
	}
	look := func() []bool {
		var files []byte
		names, err := dir.Names()
		must(t, err)
		for _, name := range names {
			content, err := os.ReadFile(filepath.Join(data, "root", name))
			must(t, err)
			files = append(files, content...)
		}
		raw, err := os.ReadFile(path)
		must(t, err)
		a := w.attacker(files)
		a.entries = rawEntries(raw)
		return a.reaches(all...)
	}
	for i, ok := range look() {
		if !ok {
			t.Fatalf("positive control: version %d not found on disk", i+1)
		}
	}
	sw := w.destroy(all[4].Ref(), h)
	must(t, h.Sweep(t.Context(), sw))
	for i, ok := range look() {
		if ok == (i == 4) {
			t.Fatalf("version %d after destruction of 5: attacker reaches it: %t", i+1, ok)
		}
	}
	names, err := dir.Names()
	must(t, err)
	if strings.Join(names, " ") != "epoch-1.key" {
		t.Fatalf("files left: %v", names)
	}
}

// TestCrash crashes a destruction at every step of files and slots, in every
// way. Afterwards it is either not begun or done, survivors are never lost, and
// it can be finished.
func TestCrash(t *testing.T) {
	for step := 0; ; step++ {
		finished := false
		for mode := range 6 {
			finished = crashAt(t, step, mode >= 3, remains{names: (step+mode)%2 == 1, data: mode % 3})
		}
		if finished {
			if step < 30 {
				t.Fatalf("only %d steps counted", step)
			}
			return
		}
	}
}

func crashAt(t *testing.T, step int, late bool, r remains) (finished bool) {
	t.Helper()
	w := newWorld(t)
	dir := newMemFS()
	h := w.first(1, dir)
	victim, mate := w.add(h, 1, 1, AlgAES256), w.add(h, 1, 2, AlgAES256)
	h.open.count = SegmentItems // the next version begins another segment
	other := w.add(h, 2, 1, AlgAES256)

	f := &fuse{armed: true, left: step}
	dir.fuse, w.slots.fuse, w.slots.late = f, f, late
	sw, err := h.PlanErasure(t.Context(), w.plan(victim.Ref()))
	if sw != nil && err == nil {
		w.grants = append(w.grants, sw.Grants...)
		w.record(sw)
		_, err = h.Erase(t.Context(), sw)
	}
	if err == nil {
		err = h.Sweep(t.Context(), sw)
	}
	if err != nil && !errors.Is(err, errCrash) {
		t.Fatalf("step %d: %v", step, err)
	}
	finished = err == nil

	w.slots = w.slots.reader()
	after := dir.crash(r)
	again := w.open(1, after)
	if names := after.names; len(names) != 1 {
		t.Fatalf("step %d %+v: epoch files left: %d", step, r, len(names))
	}
	for _, v := range []Version{mate, other} {
		if _, err := w.leaf(again, v.Ref()); err != nil {
			t.Fatalf("step %d late %t %+v: survivor: %v", step, late, r, err)
		}
	}
	_, err = w.leaf(again, victim.Ref())
	if w.logged.Switch == nil {
		must(t, err)
		sw = w.destroy(victim.Ref(), again)
	} else {
		wantErr(t, err, ErrErased)
	}
	w.receive(again.Receipt())
	got := w.attacker(after.medium()).reaches(victim, mate, other)
	if got[0] || !got[1] || !got[2] {
		t.Fatalf("step %d late %t %+v: attacker reaches %v", step, late, r, got)
	}
	must(t, again.Sweep(t.Context(), sw))
	w.destroy(mate.Ref(), again)
	_, err = w.leaf(again, other.Ref())
	must(t, err)
	return finished
}
