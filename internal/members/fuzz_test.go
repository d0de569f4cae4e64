// SPDX-License-Identifier: Apache-2.0

package members_test

import (
	"reflect"
	"testing"

	"claviger/internal/members"
	"claviger/internal/wire"
)

var fuzzKinds = []string{
	members.KindKeys, members.KindJoin, members.KindFence, members.KindUnfence, members.KindLeave,
	members.KindRestore, members.KindAnchors, members.KindRecovery, members.KindRecover, members.KindGenesis,
}

// FuzzApply has everybody sign a payload of any bytes: nothing panics, the old
// state stays, and what is applied is a chain that verifies again.
func FuzzApply(f *testing.F) {
	d := newDomain(f)
	s2, rex := newPerson("s2"), newPerson("rex")
	d.apply(members.KindJoin, s2.server(), d.a, d.b, s2)
	d.apply(members.KindRecovery, members.Recovery{Keys: keySet(1, rex).Keys, Threshold: 1}, d.a, d.b)
	s3 := newPerson("s3")
	for i, payload := range []any{
		keySet(2, d.a, d.b), s3.server(), members.Fence{Server: s2.server().ID()}, members.Fence{Server: s2.server().ID()},
		members.Fence{Server: s2.server().ID()}, members.Restore{Generation: 2}, members.Anchors{Anchors: d.state.Anchors},
		members.Recovery{}, keySet(2, d.a, rex), d.state.Genesis,
	} {
		f.Add(byte(i), wire.Marshal(payload))
	}
	same, err := members.Verify(d.state.Chain, d.state.Domain)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, kind byte, payload []byte) {
		body := wire.Body{Domain: d.state.Domain, Kind: fuzzKinds[int(kind)%len(fuzzKinds)], Replaces: d.state.Newest, Payload: payload}
		next, err := d.state.Apply(d.sign(body, d.a, d.b, d.c, rex, s2, s3))
		if !reflect.DeepEqual(d.state, same) {
			t.Fatal("Apply changed the state that it was called on")
		}
		if err != nil {
			return
		}
		again, err := members.Verify(next.Chain, d.state.Domain)
		if err != nil || !reflect.DeepEqual(again, next) {
			t.Fatalf("the chain with the new link: %v", err)
		}
		if err := next.Keys.Check(); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzChain verifies any bytes as a chain of one or two links.
func FuzzChain(f *testing.F) {
	d := newDomain(f)
	f.Add(d.state.Chain[0], d.link(members.KindFence, members.Fence{Server: d.server.server().ID()}, d.a))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		s, err := members.Verify([][]byte{first, second}, d.state.Domain)
		if err == nil && len(s.Chain) != 2 {
			t.Fatal("a chain of two links has another length")
		}
		if s, err := members.Found(first); err == nil && s.Domain != wire.DomainID(wire.Hash(s.Newest)) {
			t.Fatal("a domain is not named by its genesis")
		}
	})
}
