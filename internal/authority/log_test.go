// SPDX-License-Identifier: Apache-2.0

package authority

import (
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
