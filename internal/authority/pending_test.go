// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"claviger/internal/members"
	"claviger/internal/store"
	"claviger/internal/testkit/faultstore"
	"claviger/internal/wire"
)

// propose brings an entry and wants it to wait or to be applied.
func (k *kit) propose(entry []byte, applied bool) Outcome {
	k.t.Helper()
	out, err := k.log.Propose(k.t.Context(), entry)
	if err != nil || out.Applied != applied || applied == (out.Pending != nil) {
		k.t.Fatalf("propose: %+v, %v", out, err)
	}
	return out
}

func (k *kit) waiting() []Pending {
	k.t.Helper()
	out, err := k.log.Pending(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	return out
}

func (k *kit) slots() (n int) {
	for _, err := range k.store.List(k.t.Context(), pendingPrefix) {
		if err == nil {
			n++
		}
	}
	return n
}

func sign(entry []byte, signers ...person) []byte {
	return must(wire.AddSignature(entry, wire.TypeBody, wire.MaxBody, keysOf(signers)...))
}

func TestProposalWaitsForSignatures(t *testing.T) {
	k := newKit(t)
	first := k.entry(KindPolicy, policyOf("one"), k.ann)
	out := k.propose(first, false)
	if !slices.Equal(out.Pending.Signed, []string{"ann"}) || out.Pending.Missing == "" || out.Pending.Body.Kind != KindPolicy {
		t.Errorf("waits as %+v", out.Pending)
	}
	if k.epoch().Position != 1 {
		t.Error("what waits is in the log")
	}
	k.propose(first, false) // again changes nothing
	if w := k.waiting(); len(w) != 1 || w[0].ID != out.Pending.ID {
		t.Fatalf("waiting: %+v", w)
	}
	// Bob signs what waits, or the same bytes on his own machine: both count.
	body := must(wire.ParseSigned(wire.TypeBody, first, wire.MaxBody)).Payload
	alone := must(wire.Sign(wire.TypeBody, body, k.bob.key))
	if out := k.propose(alone, true); out.Epoch.Position != 2 {
		t.Errorf("applied at %s", out.Epoch)
	}
	if len(k.waiting()) != 0 || k.slots() != 0 {
		t.Error("it still waits")
	}
}

func TestProposalsOnTwoServersMerge(t *testing.T) {
	k := newKit(t)
	two := k.second()
	entry := k.entry(KindPolicy, policyOf("one"), k.ann)
	k.propose(entry, false)
	body := must(wire.ParseSigned(wire.TypeBody, entry, wire.MaxBody)).Payload
	out, err := two.Propose(t.Context(), must(wire.Sign(wire.TypeBody, body, k.cyd.key)))
	if err != nil || !out.Applied {
		t.Errorf("the other server's half: %+v, %v", out, err)
	}
}

func TestProposeRefuses(t *testing.T) {
	k := newKit(t)
	k.do(KindKeyCreate, createKey(1, "a"), k.ann)
	loose := settings()
	loose.Lease = MaxLease + 1
	tests := map[string][]byte{
		"nobody's":                  k.entry(KindPolicy, policyOf("x")),
		"a stranger's":              k.entry(KindPolicy, policyOf("x"), newPerson("ann")),
		"a server's":                k.entry(KindPolicy, policyOf("x"), k.s1),
		"a recovery nobody signed":  k.entry(KindRecoverBegin, members.Keys{Keys: []members.Key{k.ann.admin()}, Threshold: 1}),
		"a recovery an admin wants": k.entry(KindRecoverBegin, members.Keys{Keys: []members.Key{k.ann.admin()}, Threshold: 1}, k.ann),
		"garbage":                   []byte("x"),
		// What no signature would help is refused before people sign it.
		"loosening out of bounds":    k.entry(KindKeySettings, KeySettings{ID: keyID(1), Settings: loose}, k.ann),
		"destroying no such key":     k.entry(KindKeyDestroy, Destroy{ID: keyID(9)}, k.ann),
		"enabling what is enabled":   k.entry(KindEnableAll, Subject{}, k.ann),
		"a server that joined":       k.entry(members.KindJoin, k.s1.server(), k.ann, k.s1),
		"the last server's leaving":  k.entry(members.KindLeave, members.Fence{Server: k.s1.id()}, k.ann),
		"an invite for no workload":  k.entry(KindInvite, Invite{ID: wire.BodyID{1}, Client: "x", Key: make([]byte, 32), Expires: k.clock.Now().Add(time.Hour).UnixMilli()}, k.ann),
		"something that has expired": k.entryWith(KindPolicy, policyOf("x"), func(b *wire.Body) { b.Expires = 1 }, k.ann),
	}
	for name, entry := range tests {
		if out, err := k.log.Propose(t.Context(), entry); err == nil || out.Pending != nil || out.Applied {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
	for _, name := range []string{"nobody's", "a stranger's", "a server's", "a recovery nobody signed", "a recovery an admin wants"} {
		if _, err := k.log.Propose(t.Context(), tests[name]); !errors.Is(err, members.ErrThreshold) {
			t.Errorf("%s: got %v, want one that says who has to sign", name, err)
		}
	}
	if k.slots() != 0 {
		t.Error("something is kept")
	}
}

func TestOtherSignedBytesUnderOneID(t *testing.T) {
	k := newKit(t)
	id := wire.BodyID{5}
	k.propose(k.entryWith(KindPolicy, policyOf("one"), func(b *wire.Body) { b.ID = id }, k.ann), false)
	other := k.entryWith(KindPolicy, policyOf("two"), func(b *wire.Body) { b.ID = id }, k.bob)
	if _, err := k.log.Propose(t.Context(), other); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v", err)
	}
	if w := k.waiting(); len(w) != 1 || !slices.Equal(w[0].Signed, []string{"ann"}) {
		t.Errorf("waiting: %+v", w)
	}
}

func TestPendingExpiresAndIsOvertaken(t *testing.T) {
	k := newKit(t)
	k.propose(k.entry(KindPolicy, policyOf("one"), k.ann), false)
	k.propose(k.entry(KindInviteRule, InviteRule{Admin: "cyd", Prefix: "ci/"}, k.ann), false)
	k.do(KindPolicy, policyOf("two"), k.bob, k.cyd)
	if w := k.waiting(); len(w) != 1 || w[0].Body.Kind != KindInviteRule || k.slots() != 1 {
		t.Errorf("after another policy: %d wait", len(w))
	}
	k.clock.Advance(time.Hour + time.Second)
	if w := k.waiting(); len(w) != 0 || k.slots() != 0 {
		t.Errorf("an hour later: %d wait", len(w))
	}
	k.propose(k.entry(KindPolicy, policyOf("three"), k.ann), false)
	k.do(members.KindJoin, k.s2.server(), k.ann, k.bob, k.s2)
	if w := k.waiting(); len(w) != 0 {
		t.Errorf("after the members changed: %d wait", len(w))
	}
}

// TestCompletedButNotApplied was left by a server that died: it is shown, kept,
// and applied when it is proposed again.
func TestCompletedButNotApplied(t *testing.T) {
	k := newKit(t)
	out := k.propose(k.entry(KindPolicy, policyOf("one"), k.ann), false)
	full := sign(out.Pending.Entry, k.bob)
	key := pendingKey(out.Pending.ID)
	_, version, err := k.store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.store.Put(t.Context(), key, version, k.log.pending.Seal(full, []byte(out.Pending.ID.String()))); err != nil {
		t.Fatal(err)
	}
	w := k.waiting()
	if len(w) != 1 || w[0].Missing != "" {
		t.Fatalf("waiting: %+v", w)
	}
	k.propose(w[0].Entry, true)
}

func TestOnePersonCannotUseUpThePlaces(t *testing.T) {
	k := newKit(t)
	rule := func(p person, i int) []byte {
		return k.entry(KindInviteRule, InviteRule{Admin: p.name + string(rune('a'+i%26)) + string(rune('a'+i/26)), Prefix: "ci/"}, p)
	}
	var first []byte
	for i := range maxPerSigner {
		entry := rule(k.ann, i)
		k.propose(entry, false)
		if first == nil {
			first = entry
		}
	}
	if _, err := k.log.Propose(t.Context(), rule(k.ann, maxPerSigner)); !errors.Is(err, ErrRefused) {
		t.Errorf("one more of hers: %v", err)
	}
	k.propose(rule(k.bob, 0), false)
	k.propose(sign(first, k.bob), true)
	k.propose(rule(k.ann, maxPerSigner), false)
}

func TestHostilePendingSlots(t *testing.T) {
	fs := faultstore.New(store.NewMem())
	k := newKitOn(t, fs)
	out := k.propose(k.entry(KindPolicy, policyOf("one"), k.ann), false)
	key := pendingKey(out.Pending.ID)
	value, _, err := fs.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	moved := pendingKey(wire.BodyID{1})
	if err := fs.Put(t.Context(), moved, 0, value); err != nil {
		t.Fatal(err)
	}
	if w := k.waiting(); len(w) != 1 || w[0].ID != out.Pending.ID {
		t.Errorf("a slot under another id: %+v", w)
	}
	fs.FlipSlot(key, 300)
	if w := k.waiting(); len(w) != 0 {
		t.Errorf("a flipped slot: %+v", w)
	}
	if _, err := k.log.Propose(t.Context(), sign(out.Pending.Entry, k.bob)); !errors.Is(err, ErrLog) {
		t.Errorf("a signature for a flipped slot: %v", err)
	}
}

// TestServerThatIsBehindForgetsNothing can't tell what was overtaken.
func TestServerThatIsBehindForgetsNothing(t *testing.T) {
	fs := faultstore.New(store.NewMem())
	k := newKitOn(t, fs)
	two := k.second()
	k.do(KindConfirm, Confirm{Admin: "cyd"}, k.cyd)
	k.propose(k.entry(KindPolicy, policyOf("one"), k.ann), false)
	two.broken = errors.New("cut off")
	if w, err := two.Pending(t.Context()); err != nil || len(w) != 0 {
		t.Errorf("behind: %+v, %v", w, err)
	}
	if k.slots() != 1 {
		t.Error("a server that is behind removed what waits")
	}
	two.broken = nil
	if w, err := two.Pending(t.Context()); err != nil || len(w) != 1 {
		t.Errorf("caught up: %+v, %v", w, err)
	}
}

// TestSignaturesThatArriveAtOnce both count: the slot is compared and swapped.
func TestSignaturesThatArriveAtOnce(t *testing.T) {
	racing := &racingStore{Store: store.NewMem()}
	k := newKitOn(t, racing)
	k.do(members.KindKeys, members.Keys{Keys: []members.Key{k.ann.admin(), k.bob.admin(), k.cyd.admin()}, Threshold: 3}, k.ann, k.bob)
	entry := k.entry(KindPolicy, policyOf("one"))
	body := must(wire.ParseSigned(wire.TypeBody, entry, wire.MaxBody)).Payload
	by := func(p person) []byte { return must(wire.Sign(wire.TypeBody, body, p.key)) }
	k.propose(by(k.ann), false)
	racing.before = func() { k.propose(by(k.bob), false) }
	k.propose(by(k.cyd), true)
}

// racingStore lets somebody else in before the next Put.
type racingStore struct {
	store.Store
	before func()
}

func (s *racingStore) Put(ctx context.Context, key string, old uint64, value []byte) error {
	if race := s.before; race != nil {
		s.before = nil
		race()
	}
	return s.Store.Put(ctx, key, old, value)
}
