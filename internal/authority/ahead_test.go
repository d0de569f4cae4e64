// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"claviger/internal/authority/ahead"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// falsified is an entry whose signature by one person is of other bytes.
func falsified(entry []byte, by person) []byte {
	signed := must(wire.ParseSigned(wire.TypeBody, entry, wire.MaxBody))
	for _, sig := range signed.Signatures {
		if sig.KID == wire.KeyHash(by.key.Public()) {
			return bytes.Replace(entry, sig.Value, bytes.Repeat([]byte{7}, len(sig.Value)), 1)
		}
	}
	panic("not signed by " + by.name)
}

// TestReplayVerifiesEverySignature: records with a false signature of an admin, of
// the server or of one of two admins, which a server gone bad put into the store,
// are void however they come in, and what stands between them is taken.
func TestReplayVerifiesEverySignature(t *testing.T) {
	k := newKit(t)
	for n := range byte(40) {
		k.do(KindKeyCreate, createKey(n, "good"+strconv.Itoa(int(n))), k.ann)
	}
	running := must(k.open())
	one := falsified(k.entry(KindKeyCreate, createKey(100, "bad"), k.ann), k.ann)
	two := falsified(k.entry(KindPolicy, Policy{Source: []byte("permit (principal, action, resource);")}, k.ann, k.bob), k.bob)
	own := falsified(k.entry(KindKeyVersion, version(3, 1), k.s1), k.s1)
	for i, entry := range [][]byte{one, two, own} {
		k.log = must(k.open())
		k.force(nil, entry)
		k.log = must(k.open())
		k.do(KindKeyCreate, createKey(byte(200+i), "between"+strconv.Itoa(i)), k.ann)
	}
	if err := running.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]*Log{"started": must(k.open()), "running": running} {
		l.View(func(s *State) {
			if len(s.Voids) != 3 || s.KeyCount() != 43 || s.KeyNamed("bad") != nil || len(s.Policy.Source) != 0 || len(s.Key(keyID(3)).Versions) != 0 {
				t.Errorf("%s: %d keys, voids %+v", name, s.KeyCount(), s.Voids)
			}
		})
	}
}

// TestKeysThatCameBetween: who is made an admin in the records that are replayed
// counts from then on and not before, and who was one counts no more.
func TestKeysThatCameBetween(t *testing.T) {
	k := newKit(t)
	dan := newPerson("dan")
	early := k.entry(KindKeyCreate, createKey(1, "early"), dan)
	k.force(nil, early)
	k.log = must(k.open())
	k.do(members.KindKeys, members.Keys{Keys: []members.Key{k.ann.admin(), k.bob.admin(), dan.admin()}, Threshold: 2}, k.ann, k.bob, dan)
	k.do(KindKeyCreate, createKey(2, "dans"), dan)
	k.force(nil, k.entry(KindKeyCreate, createKey(3, "cyds"), k.cyd))
	must(k.open()).View(func(s *State) {
		if len(s.Voids) != 2 || s.KeyCount() != 1 || s.KeyNamed("dans") == nil {
			t.Errorf("%d keys, voids %+v", s.KeyCount(), s.Voids)
		}
	})
}

// TestStandingIsAskedInTurn: a good signature, verified ahead, counts for no more
// than the signer has a right to when the record's turn comes.
func TestStandingIsAskedInTurn(t *testing.T) {
	k := newKit(t)
	s := k.state()
	entry := k.entry(KindPolicy, Policy{}, k.ann, k.cyd)
	r := ahead.Parse(k.log.nextLink(entry), entry)
	r.Verify(ahead.KeysOf(s.Members))
	if r.Signed.Verified() != 0b11 {
		t.Fatalf("marks %b", r.Signed.Verified())
	}
	m := *s.Members
	m.Keys.Keys = []members.Key{k.ann.admin(), k.bob.admin()} // cyd was taken out meanwhile
	s.Members = &m
	if err := s.FoldParsed(r, revID); err != nil {
		t.Fatal(err)
	}
	if len(s.Voids) != 1 || !strings.Contains(s.Voids[0].Reason, "1 of 2") {
		t.Errorf("voids %+v", s.Voids)
	}
}
