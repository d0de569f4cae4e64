// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"claviger/internal/members"
	"claviger/internal/wire"
)

func TestLogKeepsWhatWasAppended(t *testing.T) {
	k := newKit(t)
	k.do(KindKeyCreate, createKey(1, "payments/cards"), k.ann)
	k.do(KindKeyVersion, version(1, 1), k.s1)
	k.do(KindPolicy, Policy{Source: []byte("permit(principal,action,resource);")}, k.ann, k.bob)
	want := k.epoch()
	if want != (wire.Epoch{Generation: 1, Position: 4}) {
		t.Fatalf("epoch %s", want)
	}
	l := k.reopen()
	l.View(func(s *State) {
		if s.Epoch != want || len(s.Voids) != 0 {
			t.Errorf("replayed to %s with voids %v", s.Epoch, s.Voids)
		}
		key := s.KeyNamed("payments/cards")
		if key == nil || key.Current() == nil || key.Current().Number != 1 {
			t.Errorf("key after replay: %+v", key)
		}
		if s.Policy.Hash != PolicyHash([]byte("permit(principal,action,resource);")) {
			t.Error("another policy after replay")
		}
	})
}

func TestCreateRefusesAnotherGenesis(t *testing.T) {
	k, other := newKit(t), newKit(t)
	if _, err := Create(t.Context(), k.withRecords(nil).options(k.s1), other.genesis); err == nil {
		t.Error("made a log from another domain's genesis")
	}
	k.refused(members.KindLeave, members.Fence{Server: k.s1.id()}, ErrRefused, k.ann, k.bob)
}

// TestGenesisOfAnotherDomainUnderThisSeal is what a server gone bad could write
// into an empty store.
func TestGenesisOfAnotherDomainUnderThisSeal(t *testing.T) {
	k, other := newKit(t), newKit(t)
	for name, entry := range map[string][]byte{"another genesis": other.genesis, "no genesis": []byte("x"), "a policy": k.entry(KindPolicy, policyOf("x"), k.ann)} {
		link := wire.Link{
			Type: wire.TypeRecord, Epoch: wire.Epoch{Generation: 1, Position: 1}, Time: k.clock.Now().UnixMilli(),
			Server: k.s1.id(), Content: wire.EntryHash(entry),
		}
		if _, err := k.withRecords([][]byte{k.log.bodies.SealRecord(link, entry)}).open(); err == nil {
			t.Errorf("opened a log that begins with %s", name)
		}
	}
	for name, edit := range map[string]func(*wire.Link){
		"position":   func(l *wire.Link) { l.Epoch.Position = 2 },
		"generation": func(l *wire.Link) { l.Epoch.Generation = 2 },
		"previous":   func(l *wire.Link) { l.Previous[0] = 1 },
		"content":    func(l *wire.Link) { l.Content[0] ^= 1 },
	} {
		link := wire.Link{Type: wire.TypeRecord, Epoch: wire.Epoch{Generation: 1, Position: 1}, Time: 1, Content: wire.EntryHash(k.genesis)}
		edit(&link)
		if _, err := Found(link, k.genesis); !errors.Is(err, ErrLog) {
			t.Errorf("a genesis with another %s: %v", name, err)
		}
	}
}

func TestRecords(t *testing.T) {
	k := grown(t)
	all, err := k.log.Records(t.Context(), 0, 100)
	if err != nil || len(all) != 5 || all[4].Link.Hash() != k.state().Head {
		t.Fatalf("%d records, %v", len(all), err)
	}
	some, err := k.log.Records(t.Context(), 2, 2)
	if err != nil || len(some) != 2 || some[0].Link != all[1].Link || !bytes.Equal(some[1].Entry, all[2].Entry) {
		t.Errorf("records 2 and 3: %d, %v", len(some), err)
	}
	if none, err := k.log.Records(t.Context(), 6, 10); err != nil || len(none) != 0 {
		t.Errorf("beyond the head: %d, %v", len(none), err)
	}
	records := k.records()
	records[2][40] ^= 1
	damaged := k.withRecords(records)
	o := damaged.options(k.s1)
	k.log.o.Store = o.Store
	if _, err := k.log.Records(t.Context(), 1, 100); !errors.Is(err, ErrLog) {
		t.Errorf("a damaged record: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.log.Records(ctx, 1, 100); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
