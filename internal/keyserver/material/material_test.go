// SPDX-License-Identifier: Apache-2.0

package material_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/authority/authoritytest"
	"claviger/internal/keyserver/material"
	"claviger/internal/secret"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// kit is a domain whose log can name material.
type kit struct {
	*authoritytest.Domain
	m *material.Materials
}

func newKit(t *testing.T) kit {
	d := authoritytest.New(t)
	return kit{d, &material.Materials{
		Store: d.Options.Store, Seal: d.Options.SlotSeal, Domain: d.ID, Log: d.Log, Clock: d.Clock,
	}}
}

func secretOf(n int) []byte {
	out := make([]byte, n)
	rand.Read(out)
	return out
}

func (k kit) put(data []byte) wire.Hash {
	k.Helper()
	h, err := k.m.Put(k.Context(), data)
	if err != nil {
		k.Fatal(err)
	}
	return h
}

// name has the log name hashes, and nothing else.
func (k kit) name(hashes ...wire.Hash) {
	k.Helper()
	e := authority.Endpoint{Name: "door", Kind: "vault"}
	for i, h := range hashes {
		e.Credentials = append(e.Credentials, authority.Credential{ID: fmt.Sprint(i), Material: h})
	}
	k.Append(k.Log, authority.KindEndpointSet, authority.EndpointSet{Endpoint: e}, k.Admin)
}

func (k kit) slots() map[string]store.Entry {
	out := map[string]store.Entry{}
	for e, err := range k.m.Store.List(k.Context(), "material/") {
		if err != nil {
			k.Fatal(err)
		}
		out[e.Key] = e
	}
	return out
}

func (k kit) get(h wire.Hash, want []byte, wantErr error) {
	k.Helper()
	got, err := k.m.Get(k.Context(), h)
	if !errors.Is(err, wantErr) || (err == nil) != (want != nil) {
		k.Fatalf("got %v, want %v", err, wantErr)
	}
	if err == nil {
		defer got.Wipe()
		if !bytes.Equal(got.Expose(), want) {
			k.Error("another secret")
		}
	}
}

func TestKeptAndRead(t *testing.T) {
	k := newKit(t)
	data := secretOf(32)
	h := k.put(bytes.Clone(data))
	if h != material.Hash(data) || k.put(bytes.Clone(data)) != h || len(k.slots()) != 1 {
		t.Error("put twice isn't put once")
	}
	k.get(h, nil, material.ErrUnnamed)
	k.name(h)
	k.get(h, data, nil)
	other := k.put(secretOf(32))
	k.name(other)
	k.get(h, nil, material.ErrUnnamed) // dropped from the record: it opens nothing from now on
	for key, e := range k.slots() {
		if bytes.Contains(e.Value, data) || bytes.Contains([]byte(key), data) {
			t.Error("the store has it in clear")
		}
	}
}

func TestSizes(t *testing.T) {
	k := newKit(t)
	for n, ok := range map[int]bool{0: false, 15: false, 16: true, 4096: true, 4097: false} {
		if _, err := k.m.Put(t.Context(), secretOf(n)); (err == nil) != ok || !ok && !errors.Is(err, material.ErrSize) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestSwappedSlots: a store that puts something else into a slot darkens the
// endpoint, and no more.
func TestSwappedSlots(t *testing.T) {
	k := newKit(t)
	a, b := secretOf(32), secretOf(32)
	ha, hb := k.put(bytes.Clone(a)), k.put(bytes.Clone(b))
	k.name(ha, hb)
	slots := k.slots()
	key := func(h wire.Hash) string { return "material/" + h.String() }
	put := func(h wire.Hash, value []byte) {
		t.Helper()
		if err := k.m.Store.Put(t.Context(), key(h), k.slots()[key(h)].Version, value); err != nil {
			t.Fatal(err)
		}
	}
	put(ha, slots[key(hb)].Value)
	k.get(ha, nil, material.ErrGone)
	changed := bytes.Clone(slots[key(ha)].Value)
	changed[len(changed)-1] ^= 1
	put(ha, changed)
	k.get(ha, nil, material.ErrGone)
	put(ha, slots[key(ha)].Value[:20])
	k.get(ha, nil, material.ErrGone)
	put(ha, nil)
	k.get(ha, nil, material.ErrGone)
	put(ha, slots[key(ha)].Value)
	k.get(ha, a, nil)

	foreign := *k.m
	foreign.Domain[0] ^= 1
	if _, err := foreign.Get(t.Context(), ha); !errors.Is(err, material.ErrGone) {
		t.Errorf("in another domain: %v", err)
	}
	foreign = *k.m
	foreign.Seal = secret.Random(32)
	if _, err := foreign.Get(t.Context(), ha); !errors.Is(err, material.ErrGone) {
		t.Errorf("under another root: %v", err)
	}
	// A damaged slot is mended by bringing the secret again.
	put(ha, changed)
	k.put(bytes.Clone(a))
	k.get(ha, a, nil)
}

// TestSealedForAnotherSecret: who can seal, but is not who people signed for,
// gets nothing in.
func TestSealedForAnotherSecret(t *testing.T) {
	k := newKit(t)
	h := k.put(secretOf(32))
	k.name(h)
	if err := k.m.Store.Put(t.Context(), "material/"+h.String(), k.slots()["material/"+h.String()].Version, k.m.SealFor(h, secretOf(32))); err != nil {
		t.Fatal(err)
	}
	k.get(h, nil, material.ErrGone)
}

func TestSweep(t *testing.T) {
	k := newKit(t)
	used, loose, dropped := secretOf(32), k.put(secretOf(32)), k.put(secretOf(32))
	h := k.put(bytes.Clone(used))
	k.name(h, dropped)
	if err := k.m.Store.Put(t.Context(), "material/strange", 0, []byte("x")); err != nil {
		t.Fatal(err)
	}
	sweep := func(want int) {
		t.Helper()
		if err := k.m.Sweep(t.Context()); err != nil || len(k.slots()) != want {
			t.Fatalf("%v, %d slots left, want %d", err, len(k.slots()), want)
		}
	}
	sweep(3)
	k.Clock.Advance(7 * 24 * time.Hour)
	sweep(3)
	// One that was named for long is kept as long as a new one when it is dropped.
	k.name(h)
	k.Clock.Advance(26*time.Hour + time.Minute)
	sweep(2)
	if k.slots()["material/"+loose.String()].Key != "" {
		t.Error("the loose one is still there")
	}
	k.Clock.Advance(6 * 24 * time.Hour)
	sweep(2)
	k.Clock.Advance(2*24*time.Hour + 3*time.Hour)
	sweep(1)
	k.get(h, used, nil)
	k.Append(k.Log, authority.KindEndpointRemove, authority.EndpointRef{Name: "door"}, k.Admin)
	k.get(h, nil, material.ErrUnnamed)
}

// TestLooseOnesAreBounded: an admin's key can't fill the store.
func TestLooseOnesAreBounded(t *testing.T) {
	k := newKit(t)
	named := secretOf(16)
	k.name(k.put(bytes.Clone(named)))
	first := secretOf(16)
	k.put(bytes.Clone(first))
	for range material.MaxLoose - 1 {
		k.put(secretOf(16))
	}
	if _, err := k.m.Put(t.Context(), secretOf(16)); !errors.Is(err, material.ErrFull) {
		t.Errorf("one more: %v", err)
	}
	k.put(first)
	k.put(named)
	if n := len(k.slots()); n != material.MaxLoose+1 {
		t.Errorf("%d slots", n)
	}
}

// failing is a store whose slots can't be written or listed.
type failing struct{ store.Store }

var errStore = errors.New("the disk is gone")

func (failing) Get(context.Context, string) ([]byte, uint64, error) { return nil, 0, errStore }

func TestStoreFails(t *testing.T) {
	k := newKit(t)
	data := secretOf(32)
	h := k.put(bytes.Clone(data))
	k.name(h)
	k.m.Store = failing{k.Options.Store}
	k.get(h, nil, errStore)
	if _, err := k.m.Put(t.Context(), data); !errors.Is(err, errStore) {
		t.Error(err)
	}
}

// TestKept: what is about to be named can be asked for.
func TestKept(t *testing.T) {
	k := newKit(t)
	h := k.put(secretOf(32))
	if err := k.m.Kept(t.Context(), h); err != nil {
		t.Error(err)
	}
	if err := k.m.Kept(t.Context(), wire.Hash{1}); !errors.Is(err, material.ErrGone) {
		t.Error(err)
	}
}
