// SPDX-License-Identifier: Apache-2.0

package keywork

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"claviger/internal/hierarchy"
	"claviger/internal/kdf"
	"claviger/internal/secret"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// fixed is custody of a root secret that is no secret.
type fixed struct{}

func (fixed) Derive(label string, fields ...[]byte) (*secret.Bytes, error) {
	root := secret.New(32)
	defer root.Wipe()
	return kdf.Expand(root, [32]byte{9}, label, fields...), nil
}

// newWorker returns a worker and a version of a key of that algorithm.
func newWorker(t testing.TB, algorithm string) (*Worker, hierarchy.Version) {
	t.Helper()
	o := hierarchy.Options{Custody: fixed{}, Domain: [32]byte{1}, Generation: 1, Server: [16]byte{1}, Slots: store.NewMem(), Dir: t.TempDir()}
	first, err := hierarchy.Generate()
	if err == nil {
		err = hierarchy.Init(o, first)
	}
	if err != nil {
		t.Fatal(err)
	}
	h, err := hierarchy.Open(t.Context(), o, hierarchy.Logged{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return New(h, o.Domain), version(t, h, 1, algorithm)
}

func version(t testing.TB, h *hierarchy.Hierarchy, number uint64, algorithm string) hierarchy.Version {
	t.Helper()
	v, err := h.NewVersion(t.Context(), [16]byte{7}, number, algorithm)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// derived is what Derive gives, compared with what the hierarchy derives itself.
func derived(t *testing.T, w *Worker, v hierarchy.Version, purpose string, partition []byte) []byte {
	t.Helper()
	got, kc, err := w.Derive(t.Context(), v, purpose, partition)
	if err != nil {
		t.Fatal(err)
	}
	want, err := w.keys.Leaf(t.Context(), v, purpose, partition)
	if err != nil {
		t.Fatal(err)
	}
	defer want.Wipe()
	if !bytes.Equal(got, want.Expose()) || kc != kdf.Commit(want, w.domain) {
		t.Errorf("version %d, %s, %q: another key than the hierarchy's", v.Number, purpose, partition)
	}
	return got
}

// TestKeptKeysAreTheirOwn: versions, purposes and partitions have a key each, and
// the second time the same one.
func TestKeptKeysAreTheirOwn(t *testing.T) {
	w, v1 := newWorker(t, hierarchy.AlgAES256)
	v2 := version(t, w.keys, 2, hierarchy.AlgAES256)
	seen := map[string]string{}
	for range 2 {
		for _, v := range []hierarchy.Version{v1, v2} {
			for _, purpose := range []string{wire.PurposeData, wire.PurposeWrap} {
				for _, partition := range []string{"", "a", "b"} {
					key, name := string(derived(t, w, v, purpose, []byte(partition))), fmt.Sprint(v.Number, purpose, partition)
					if other, ok := seen[key]; ok && other != name {
						t.Errorf("%s and %s have one key", name, other)
					}
					seen[key] = name
				}
			}
		}
	}
	if n := w.Kept(); n != 12 {
		t.Errorf("%d keys kept", n)
	}
}

// TestKeptKeysChangeWithTheLog: what the log says of a version decides, also of
// one whose key is kept.
func TestKeptKeysChangeWithTheLog(t *testing.T) {
	w, v := newWorker(t, hierarchy.AlgAES256)
	derived(t, w, v, wire.PurposeData, nil)
	for name, change := range map[string]func(*hierarchy.Version){
		"commitment": func(v *hierarchy.Version) { v.VC[0] ^= 1 },
		"erased":     func(v *hierarchy.Version) { v.Segment = [16]byte{} },
		"root":       func(v *hierarchy.Version) { v.RootGeneration++ },
		"algorithm":  func(v *hierarchy.Version) { v.Algorithm = hierarchy.AlgHMAC },
		"stored":     func(v *hierarchy.Version) { v.Stored = true },
	} {
		changed := v
		change(&changed)
		if _, _, err := w.Derive(t.Context(), changed, wire.PurposeData, nil); err == nil {
			t.Errorf("%s: the kept key was given", name)
		}
	}
}

// TestKeptKeysAreBoundedAndWiped: one key too many drives the oldest out, which is
// wiped once nobody uses it; Forget wipes all.
func TestKeptKeysAreBoundedAndWiped(t *testing.T) {
	w, v := newWorker(t, hierarchy.AlgAES256)
	w.cache = newCache(3)
	take := func(partition string) *kept {
		k, err := w.leaf(t.Context(), &v, wire.PurposeData, []byte(partition))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.fieldKey(k); err != nil {
			t.Fatal(err)
		}
		return k
	}
	first, second := take("1"), take("2")
	w.cache.giveBack(second)
	for _, partition := range []string{"3", "4", "5"} {
		w.cache.giveBack(take(partition))
	}
	if w.Kept() != 3 || len(w.cache.entries) != 3 || !wiped(second) || wiped(first) {
		t.Errorf("%d kept; second wiped %v, the one in use wiped %v", w.Kept(), wiped(second), wiped(first))
	}
	if w.cache.giveBack(first); !wiped(first) {
		t.Error("a key that was driven out in use is not wiped after it")
	}
	third := take("3")
	w.cache.giveBack(third)
	if w.Forget(); w.Kept() != 0 || len(w.cache.entries) != 0 || !wiped(third) {
		t.Error("Forget keeps keys")
	}
	derived(t, w, v, wire.PurposeData, []byte("3"))
}

// wiped reports whether both the leaf and what was made of it are gone.
func wiped(k *kept) bool {
	return panics(func() { k.leaf.Len() }) && panics(func() { _, _ = k.field.SealField(nil, nil) })
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}

// TestFields: what is sealed opens, with the same context and key only, and bad
// input is the caller's.
func TestFields(t *testing.T) {
	w, v1 := newWorker(t, hierarchy.AlgAES256)
	v2 := version(t, w.keys, 2, hierarchy.AlgAES256)
	task := Task{Operation: "encrypt", Version: v1, Partition: []byte("p"), Input: []byte("hello"), Context: []byte("row 1")}
	field, _, err := w.Do(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	item := wire.Item{}
	if err := FromCiphertext(&item, field); err != nil || item.Version != 1 || string(item.Partition) != "p" || !bytes.Equal(item.ID, v1.KeyID[:]) {
		t.Errorf("from the ciphertext: %+v, %v", item, err)
	}
	task.Operation, task.Input = "decrypt", field
	if plain, _, err := w.Do(t.Context(), task); err != nil || string(plain) != "hello" {
		t.Errorf("%q, %v", plain, err)
	}
	for name, change := range map[string]func(*Task){
		"another version":   func(t *Task) { t.Version = v2 },
		"another partition": func(t *Task) { t.Partition = nil },
		"another context":   func(t *Task) { t.Context = nil },
		"no ciphertext":     func(t *Task) { t.Input = []byte("hello") },
		"too long":          func(t *Task) { t.Operation, t.Input = "encrypt", make([]byte, 20_000) },
	} {
		bad := task
		change(&bad)
		if out, _, err := w.Do(t.Context(), bad); !errors.Is(err, ErrInput) || out != nil {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
}

// TestSigningAndMAC: what verifies and what doesn't are both answers.
func TestSigningAndMAC(t *testing.T) {
	for algorithm, ops := range map[string][2]string{hierarchy.AlgEd25519: {"sign", "verify"}, hierarchy.AlgHMAC: {"mac", "verify-mac"}} {
		w, v := newWorker(t, algorithm)
		proof, _, err := w.Do(t.Context(), Task{Operation: ops[0], Version: v, Input: []byte("text")})
		if err != nil {
			t.Fatal(err)
		}
		for text, want := range map[string]bool{"text": true, "other": false} {
			_, verified, err := w.Do(t.Context(), Task{Operation: ops[1], Version: v, Input: []byte(text), Proof: proof})
			if err != nil || verified != want {
				t.Errorf("%s of %q: %v, %v", ops[1], text, verified, err)
			}
		}
	}
	w, v := newWorker(t, hierarchy.AlgEd25519)
	if _, _, err := w.Do(t.Context(), Task{Operation: "sign", Version: v, Scheme: "rsa-pss-sha256"}); !errors.Is(err, ErrInput) {
		t.Errorf("another algorithm's scheme: %v", err)
	}
	if _, _, ok := Named("fly"); ok {
		t.Error("fly is an operation")
	}
}

// TestSharedUse is meaningful under the race detector: keys come, go and are
// used by many at once.
func TestSharedUse(t *testing.T) {
	w, v := newWorker(t, hierarchy.AlgAES256)
	w.cache = newCache(2)
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 100 {
				task := Task{Operation: "encrypt", Version: v, Partition: []byte{byte((i + g) % 5)}, Input: []byte("hello")}
				field, _, err := w.Do(t.Context(), task)
				if err != nil {
					t.Error(err)
					return
				}
				task.Operation, task.Input = "decrypt", field
				if plain, _, err := w.Do(t.Context(), task); err != nil || string(plain) != "hello" {
					t.Errorf("%q, %v", plain, err)
				}
			}
		})
	}
	all.Wait()
}
