// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"bytes"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"claviger/internal/members"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// fuzzKit is a kit with something of everything, and its opened records.
func fuzzKit(f *testing.F) (*kit, []wire.Opened) {
	f.Helper()
	k := newKit(f)
	everything(k)
	return k, must(k.log.Records(f.Context(), 1, 1000))
}

func replay(records []wire.Opened) *State {
	s := must(Found(records[0].Link, records[0].Entry))
	for _, o := range records[1:] {
		if err := s.Fold(o.Link, o.Entry, revID); err != nil {
			panic(err)
		}
	}
	return s
}

// clone copies a state down to what is shared between states: what maps point to
// is replaced and never changed.
func clone(s *State) *State {
	c := *s
	c.keys, c.clients, c.invites = s.keys.Clone(), maps.Clone(s.clients), s.invites.Clone()
	c.secrets = s.secrets.Clone()
	c.endpoints, c.anchors, c.receipts = s.endpoints.Clone(), maps.Clone(s.anchors), maps.Clone(s.receipts)
	c.confirmed, c.applied, c.objects = maps.Clone(s.confirmed), maps.Clone(s.applied), maps.Clone(s.objects)
	c.Announced, c.joinedIn = maps.Clone(s.Announced), maps.Clone(s.joinedIn)
	c.heads, c.backups, c.revoked = slices.Clip(s.heads), slices.Clip(s.backups), slices.Clip(s.revoked)
	return &c
}

// look calls what servers ask of a state.
func look(s *State, now int64) {
	s.Revocations(now)
	for key := range s.Keys() {
		key.Current()
		key.Due(now)
		for i := range key.Versions {
			s.DestroyedExcept(&key.Versions[i])
		}
	}
	for c := range s.Clients() {
		s.MayInvite("cyd", c.ID)
	}
	for _, m := range s.Members.Servers {
		s.EpochKey(m)
		s.Anchor(m.ID())
	}
}

// FuzzPayload has everybody sign a payload of any bytes, so that handler and
// effect meet it: nothing panics, replicas agree, what is void changes nothing,
// and nothing that an older state points to changes.
func FuzzPayload(f *testing.F) {
	k, records := fuzzKit(f)
	kinds := slices.Sorted(maps.Keys(Table()))
	for _, o := range records[1:] {
		if body, err := Read(o.Entry); err == nil {
			i, _ := slices.BinarySearch(kinds, body.Kind)
			f.Add(byte(i), body.Payload, "members")
			f.Add(byte(i), body.Payload, object(keyID(1)))
		}
	}
	base, same := replay(records), replay(records)
	everybody := keysOf([]person{k.ann, k.bob, k.cyd, k.rex, k.rio, k.s1})
	f.Fuzz(func(t *testing.T, kind byte, payload []byte, object string) {
		a, b := clone(base), clone(base)
		body := a.NewBody(kinds[int(kind)%len(kinds)], object, Subject{}, k.clock.Now().Add(time.Hour))
		body.Payload = payload
		entry, err := wire.Sign(wire.TypeBody, wire.Marshal(body), everybody...)
		if err != nil {
			t.Fatal(err)
		}
		link := wire.Link{
			Type: wire.TypeRecord, Previous: a.Head, Server: k.s1.id(), Content: wire.EntryHash(entry), Time: a.Time + 1,
			Epoch: wire.Epoch{Generation: a.Epoch.Generation, Position: a.Epoch.Position + 1},
		}
		if body.Kind == members.KindRestore {
			link.Epoch.Generation++
		}
		errA, errB := a.Fold(link, entry, revID), b.Fold(link, entry, revID)
		if !reflect.DeepEqual(errA, errB) || !reflect.DeepEqual(a, b) {
			t.Fatalf("two replicas: %v, %v", errA, errB)
		}
		look(a, a.Time+5)
		if errA == nil && len(a.Voids) > 0 {
			void := clone(base)
			void.Voids = a.Voids
			void.advance(link)
			if !reflect.DeepEqual(a, void) {
				t.Error("a void record changed the state")
			}
		}
		if !reflect.DeepEqual(base, same) {
			t.Error("a value that was handed out has changed")
		}
	})
}

// FuzzEntry folds any bytes as an entry: they are void, and no error.
func FuzzEntry(f *testing.F) {
	k, records := fuzzKit(f)
	for _, o := range records {
		f.Add(o.Entry)
	}
	f.Add([]byte{})
	base := replay(records)
	f.Fuzz(func(t *testing.T, entry []byte) {
		s := clone(base)
		link := wire.Link{
			Type: wire.TypeRecord, Previous: s.Head, Server: k.s1.id(), Content: wire.EntryHash(entry), Time: s.Time,
			Epoch: wire.Epoch{Generation: s.Epoch.Generation, Position: s.Epoch.Position + 1},
		}
		if err := s.Fold(link, entry, nil); err != nil {
			t.Fatal(err)
		}
		if len(s.Voids) != 1 {
			t.Error("bytes that nobody signed were applied")
		}
	})
}

// FuzzRecord opens any bytes as a record of the store.
func FuzzRecord(f *testing.F) {
	k, _ := fuzzKit(f)
	whole := k.records()
	for _, r := range whole {
		f.Add(r)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := k.log.open(store.Record{Index: 2, Data: data})
		if err == nil && !bytes.Equal(data, whole[1]) {
			t.Errorf("opened a record that nobody wrote: %+v", o.Link)
		}
	})
}
