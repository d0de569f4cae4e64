// SPDX-License-Identifier: Apache-2.0

package secretring

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"claviger/internal/authority/keyring"
	"claviger/internal/wire"
)

// app backs what lies under secrets/app.
func app() *keyring.Key {
	return &keyring.Key{ID: wire.KeyID{1}, Name: "secrets/app", Algorithm: keyring.AES256, Versions: []keyring.Version{
		{KeyVersion: keyring.KeyVersion{Number: 1}, State: wire.StateDeactivated},
		{KeyVersion: keyring.KeyVersion{Number: 2}, State: wire.StateActive},
	}}
}

// try folds a record over the keys that there are.
func try(r *Ring, p Written, keys ...*keyring.Key) error {
	_, apply, err := r.Plan(wire.Marshal(p), wire.Link{Time: int64(p.Revision)}, func(id wire.KeyID) *keyring.Key {
		if i := slices.IndexFunc(keys, func(k *keyring.Key) bool { return k.ID == id }); i >= 0 {
			return keys[i]
		}
		return nil
	})
	if err == nil {
		apply()
	}
	return err
}

func written(name string, revision uint64) Written {
	return Written{Name: name, Revision: revision, Slot: wire.Sum("t", []byte{byte(revision)}), Key: wire.KeyID{1}, Version: 2}
}

func gone(name string, revision uint64) Written {
	p := written(name, revision)
	p.Slot = wire.Hash{}
	return p
}

// TestPlan: what holds of a record, and what doesn't.
func TestPlan(t *testing.T) {
	have := func() *Ring {
		r := &Ring{}
		for _, p := range []Written{written("secrets/app/db", 1), written("secrets/app/db", 2)} {
			if err := try(r, p, app()); err != nil {
				t.Fatal(err)
			}
		}
		return r
	}
	disabled, leaving, other, wider := app(), app(), app(), app()
	disabled.Disabled, leaving.Versions[1].DestroyAt = true, 5
	other.ID, wider.ID, wider.Name = wire.KeyID{2}, wire.KeyID{2}, "secrets"
	hmac := app()
	hmac.Algorithm = keyring.HMACSHA
	under := func(p Written, id byte, version uint64) Written {
		p.Key, p.Version = wire.KeyID{id}, version
		return p
	}
	for _, c := range []struct {
		name string
		key  *keyring.Key
		p    Written
		ok   bool
	}{
		{"the next", app(), written("secrets/app/db", 3), true},
		{"a new one", app(), written("secrets/app/x/y", 1), true},
		{"the folder itself", app(), written("secrets/app", 1), true},
		{"the end of one", app(), gone("secrets/app/db", 3), true},
		{"the end of one whose key is off", disabled, gone("secrets/app/db", 3), true},
		{"the present once more", app(), written("secrets/app/db", 2), false},
		{"one too far", app(), written("secrets/app/db", 4), false},
		{"a new one that is not first", app(), written("secrets/app/new", 2), false},
		{"the end of none", app(), gone("secrets/app/none", 1), false},
		{"a disabled key", disabled, written("secrets/app/db", 3), false},
		{"a key that is going", leaving, written("secrets/app/db", 3), false},
		{"an old version", app(), under(written("secrets/app/db", 3), 1, 1), false},
		{"no version", app(), under(written("secrets/app/db", 3), 1, 3), false},
		{"no key", app(), under(written("secrets/app/db", 3), 9, 2), false},
		{"another key of the name", other, under(written("secrets/app/db", 3), 2, 2), false},
		{"a key of a wider folder", wider, under(written("secrets/app/db", 3), 2, 2), false},
		{"its end by another key", wider, under(gone("secrets/app/db", 3), 2, 2), false},
		{"another folder", app(), written("secrets/apps/db", 1), false},
		{"a key that can't seal", hmac, written("secrets/app/new", 1), false},
		{"no name", app(), written("secrets/app/", 1), false},
		{"a way up", app(), written("secrets/app/../x", 1), false},
	} {
		r := have()
		before := r.Clone()
		err := try(r, c.p, c.key)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := r.Get(c.p.Name); err == nil && !c.p.Slot.IsZero() && (got == nil || got.Written != c.p) {
			t.Errorf("%s: %+v", c.name, got)
		}
		if err != nil && !reflect.DeepEqual(r.Rows(), before.Rows()) {
			t.Errorf("%s: refused, and changed", c.name)
		}
	}
	if err := try(have(), Written{}); !errors.Is(err, errKey) && err == nil {
		t.Error("an empty record holds")
	}
	if _, _, err := have().Plan([]byte{0x80}, wire.Link{}, nil); err == nil {
		t.Error("another payload holds")
	}
}

// TestRevisionsNeverComeAgain: what was prepared for an earlier life of a name is
// void in the next.
func TestRevisionsNeverComeAgain(t *testing.T) {
	r := &Ring{}
	name := "secrets/app/db"
	seen := map[uint64]bool{}
	for _, p := range []func() Written{
		func() Written { return written(name, r.Next(name)) }, func() Written { return written(name, r.Next(name)) },
		func() Written { return gone(name, r.Next(name)) },
		func() Written { return written(name, r.Next(name)) }, func() Written { return gone(name, r.Next(name)) },
		func() Written { return written(name, r.Next(name)) },
	} {
		w := p()
		if err := try(r, w, app()); err != nil || seen[w.Revision] {
			t.Fatalf("revision %d: %v, seen %v", w.Revision, err, seen[w.Revision])
		}
		seen[w.Revision] = true
	}
	if err := try(r, written("secrets/app/other", 1), app()); err == nil {
		t.Error("a name begins below the floor")
	}
}

// TestRing compares with a plain map over many changes.
func TestRing(t *testing.T) {
	r, model := &Ring{}, map[string]uint64{}
	rng := rand.New(rand.NewPCG(1, 2))
	parts := []string{"a", "b", "c d", "é"}
	for range 3000 {
		name := "secrets/app"
		for range rng.IntN(4) {
			name += "/" + parts[rng.IntN(len(parts))]
		}
		p := written(name, r.Next(name))
		if _, ok := model[name]; ok && rng.IntN(2) == 0 {
			p.Slot = wire.Hash{}
		}
		if err := try(r, p, app()); err != nil {
			t.Fatal(err)
		}
		if model[name] = p.Revision; p.Slot.IsZero() {
			delete(model, name)
		}
		same(t, r, model)
	}
	copied := r.Clone()
	back := &Ring{Floor: r.Floor}
	var rows []Secret
	for _, s := range r.Rows() {
		rows = append(rows, *s)
	}
	if err := back.Add(rows); err != nil {
		t.Fatal(err)
	}
	for i, other := range []*Ring{&copied, back} {
		if same(t, other, model); !reflect.DeepEqual(other.Rows(), r.Rows()) {
			t.Errorf("copy %d differs", i)
		}
	}
	if err := back.Add(rows[:1]); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("a row twice: %v", err)
	}
	for name := range model {
		if err := try(r, gone(name, r.Next(name)), app()); err != nil {
			t.Fatal(err)
		}
	}
	if r.Len() != 0 || len(r.top.parts) != 0 {
		t.Errorf("%d left, %d folders", r.Len(), len(r.top.parts))
	}
}

func same(t *testing.T, r *Ring, model map[string]uint64) {
	t.Helper()
	if r.Len() != len(model) {
		t.Fatalf("%d secrets, want %d", r.Len(), len(model))
	}
	var below []string
	for s := range r.Below("secrets/app") {
		below = append(below, s.Name)
	}
	inside := maps.Clone(model)
	delete(inside, "secrets/app")
	slices.Sort(below)
	if want := slices.Sorted(maps.Keys(inside)); !slices.Equal(below, want) {
		t.Fatalf("below: %q, want %q", below, want)
	}
	listed := map[string]bool{}
	for name := range inside {
		first, _, deeper := strings.Cut(strings.TrimPrefix(name, "secrets/app/"), "/")
		listed[fmt.Sprint(first, deeper)] = true
	}
	n := 0
	for i := range r.List("secrets/app") {
		if n++; !listed[fmt.Sprint(i.Name, i.Folder)] {
			t.Fatalf("listed %+v", i)
		}
	}
	if n != len(listed) {
		t.Fatalf("%d listed, want %d", n, len(listed))
	}
	for name, revision := range model {
		if s := r.Get(name); s == nil || s.Revision != revision {
			t.Fatalf("%s: %+v", name, s)
		}
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"secrets/app/db": true, "a": true, "Team A/x": true, "é/ü": true, strings.Repeat("a", MaxName): true,
		"": false, "/a": false, "a/": false, "a//b": false, "a/./b": false, "..": false, "a\x00": false, "a\x7f": false, "a\u0085": false, "a\xff": false,
		strings.Repeat("a", MaxName+1): false, strings.Repeat("a/", MaxParts) + "a": false, strings.Repeat("a/", MaxParts-1) + "a": true,
	} {
		if ValidName(name) != ok {
			t.Errorf("%.40q: %v", name, !ok)
		}
	}
	for _, c := range []struct {
		key, name string
		backs     bool
	}{{"a/b", "a/b", true}, {"a/b", "a/b/c", true}, {"a/b", "a/bc", false}, {"a/b", "a", false}, {"a/b", "x/a/b", false}} {
		if Backs(c.key, c.name) != c.backs {
			t.Errorf("%+v", c)
		}
	}
	if Hash("a") == Hash("b") || Object("a") == Object("b") {
		t.Error("two secrets are one")
	}
}
