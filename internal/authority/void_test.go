// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"claviger/internal/members"
	"claviger/internal/wire"
)

// hostile is an entry that must not hold, and why.
type hostile struct {
	name string
	want error
	make func(k *kit) []byte
}

func policyOf(text string) Policy { return Policy{Source: []byte(text)} }

// invalidEntries come after a policy that people set in record 2, and a join of
// s2 in record 3.
func invalidEntries() []hostile {
	body := func(edit func(*kit, *wire.Body)) func(*kit) []byte {
		return func(k *kit) []byte {
			return k.entryWith(KindPolicy, policyOf("new"), func(b *wire.Body) { edit(k, b) }, k.ann, k.bob)
		}
	}
	return []hostile{
		{"one admin where two are needed", members.ErrThreshold, func(k *kit) []byte { return k.entry(KindPolicy, policyOf("new"), k.ann) }},
		{"one admin who signed twice", ErrRefused, func(k *kit) []byte { return k.entry(KindPolicy, policyOf("new"), k.ann, k.ann) }},
		{"no signature", members.ErrThreshold, func(k *kit) []byte { return k.entry(KindPolicy, policyOf("new")) }},
		{"signatures over other bytes", members.ErrThreshold, func(k *kit) []byte {
			return bytes.Replace(k.entry(KindPolicy, policyOf("permit"), k.ann, k.bob), []byte("permit"), []byte("PERMIT"), 1)
		}},
		{"another type's signatures", members.ErrThreshold, func(k *kit) []byte {
			b := k.state().NewBody(KindPolicy, "policy", policyOf("new"), k.clock.Now().Add(time.Hour))
			return must(wire.Sign(wire.TypeRequest, wire.Marshal(b), k.ann.key, k.bob.key))
		}},
		{"strangers", members.ErrThreshold, func(k *kit) []byte {
			return k.entry(KindPolicy, policyOf("new"), newPerson("ann"), newPerson("bob"))
		}},
		{"expired", ErrRefused, body(func(k *kit, b *wire.Body) { b.Expires = k.clock.Now().UnixMilli() - 1 })},
		{"good for years", ErrRefused, body(func(k *kit, b *wire.Body) { b.Expires = k.clock.Now().Add(8 * 24 * time.Hour).UnixMilli() })},
		{"of another domain", ErrRefused, body(func(_ *kit, b *wire.Body) { b.Domain[0] ^= 1 })},
		{"replaces what was replaced", ErrRefused, body(func(_ *kit, b *wire.Body) { b.Replaces = wire.Hash{} })},
		{"replaces another object's body", ErrRefused, body(func(k *kit, b *wire.Body) { b.Replaces = k.state().Members.Newest })},
		{"base of another head", ErrRefused, body(func(_ *kit, b *wire.Body) { b.BaseHead[0] ^= 1 })},
		{"base beyond the log", ErrRefused, body(func(_ *kit, b *wire.Body) { b.Base.Position += 5 })},
		{"base at nothing", ErrRefused, body(func(_ *kit, b *wire.Body) { b.Base.Position = 0 })},
		{"base of another generation", ErrRefused, body(func(_ *kit, b *wire.Body) { b.Base.Generation = 2 })},
		{"base before the members changed", ErrRefused, body(func(k *kit, b *wire.Body) {
			b.Base.Position = 2
			b.BaseHead, _ = k.state().HeadAt(2)
		})},
		{"unknown kind", ErrRefused, body(func(_ *kit, b *wire.Body) { b.Kind = "policy.other" })},
		{"payload of another kind", ErrRefused, body(func(_ *kit, b *wire.Body) { b.Payload = wire.Marshal(Backup{}) })},
		{"payload with a tail", ErrRefused, body(func(_ *kit, b *wire.Body) { b.Payload = append(b.Payload, 0) })},
		{"no payload", ErrRefused, body(func(_ *kit, b *wire.Body) { b.Payload = nil })},
		{"no id", ErrRefused, body(func(_ *kit, b *wire.Body) { b.ID = wire.BodyID{} })},
		{"not a body", ErrRefused, func(k *kit) []byte { return must(wire.Sign(wire.TypeBody, []byte{0x80}, k.ann.key, k.bob.key)) }},
		{"not signed at all", ErrRefused, func(*kit) []byte { return []byte("claviger") }},
		{"a reason longer than a line", ErrRefused, func(k *kit) []byte {
			return k.entry(KindPolicy, Policy{Source: []byte("x"), Reason: strings.Repeat("x", wire.MaxReason+1)}, k.ann, k.bob)
		}},
		{"a second genesis", ErrRefused, func(k *kit) []byte { return k.genesis }},
		{"a server's kind signed by people", members.ErrThreshold, func(k *kit) []byte {
			return k.entry(KindAnchor, Anchor{Server: k.s1.id()}, k.ann, k.bob, k.cyd)
		}},
		{"a server's kind signed by another server", members.ErrThreshold, func(k *kit) []byte {
			return k.entry(KindAnchor, Anchor{Server: k.s1.id()}, k.s2)
		}},
	}
}

// TestInvalidIsRefusedAndVoid holds that what doesn't hold is not appended, and
// if a server gone bad appends it all the same, changes nothing and is listed.
func TestInvalidIsRefusedAndVoid(t *testing.T) {
	for _, test := range invalidEntries() {
		t.Run(test.name, func(t *testing.T) {
			k := newKit(t)
			k.do(KindPolicy, policyOf("old"), k.ann, k.bob)
			k.do(members.KindJoin, k.s2.server(), k.ann, k.bob, k.s2)
			before := k.epoch()
			entry := test.make(k)
			if _, err := k.log.Append(t.Context(), entry); !errors.Is(err, test.want) {
				t.Errorf("append: got %v, want %v", err, test.want)
			}
			if k.epoch() != before || len(k.records()) != 3 {
				t.Fatal("refused and written")
			}
			k.force(nil, entry)
			if err := k.log.Refresh(t.Context()); err != nil {
				t.Fatalf("refresh over a void record: %v", err)
			}
			for _, s := range []*State{k.state(), k.reopen().state} {
				if len(s.Voids) != 1 || s.Voids[0].Epoch.Position != 4 || s.Voids[0].Reason == "" {
					t.Errorf("voids: %+v", s.Voids)
				}
				if string(s.Policy.Source) != "old" || s.Epoch.Position != 4 || len(s.Members.Servers) != 2 {
					t.Error("a void record changed the state")
				}
			}
			k.do(KindPolicy, policyOf("next"), k.ann, k.cyd)
		})
	}
}

func TestBodyIsAppliedOnce(t *testing.T) {
	k := newKit(t)
	// Disabling is signed once; enabling in between must not let it count again.
	k.do(KindKeyCreate, createKey(1, "a"), k.ann)
	disable := k.entryWith(KindKeyDisable, KeyRef{ID: keyID(1)}, func(*wire.Body) {}, k.s1)
	if _, err := k.log.Append(t.Context(), disable); err != nil {
		t.Fatal(err)
	}
	k.force(nil, disable)
	if err := k.log.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v := k.state().Voids; len(v) != 1 || v[0].Reason != "refused: it was applied before" {
		t.Errorf("voids: %+v", v)
	}
}

func TestAppliedIdsAreForgottenOnlyWhenExpired(t *testing.T) {
	k := newKit(t)
	k.log.state.forgetAt = 3
	entry := k.entry(KindAnchor, Anchor{Server: k.s1.id()}, k.s1)
	if _, err := k.log.Append(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		k.do(KindAnchor, Anchor{Server: k.s1.id(), Checkpoint: wire.Checkpoint{Size: uint64(i + 1)}}, k.s1)
	}
	if _, err := k.log.Append(t.Context(), entry); err == nil || !strings.Contains(err.Error(), "applied before") {
		t.Errorf("replayed body: %v", err)
	}
	k.state().forgetAt = 3
	k.clock.Advance(2 * time.Hour)
	k.do(KindAnchor, Anchor{Server: k.s1.id(), Checkpoint: wire.Checkpoint{Size: 9}}, k.s1)
	if n := len(k.state().applied); n != 1 {
		t.Errorf("%d body ids are kept, all but one expired", n)
	}
	if _, err := k.log.Append(t.Context(), entry); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("forgotten body: %v", err)
	}
}

func TestVoidReasonIsShort(t *testing.T) {
	k := newKit(t)
	k.force(nil, k.entryWith(KindPolicy, policyOf("x"), func(b *wire.Body) { b.Kind = strings.Repeat("\x01", 64) }, k.ann, k.bob))
	if err := k.log.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	v := k.state().Voids[0]
	if len(v.Reason) > maxVoidReason+3 || len(v.Kind) != 64 {
		t.Errorf("void of %d and %d bytes", len(v.Reason), len(v.Kind))
	}
}

// TestBadLinksStopTheLog forces records whose link doesn't follow: the log is
// not believed beyond them.
func TestBadLinksStopTheLog(t *testing.T) {
	restore := func(k *kit, signers ...person) []byte {
		return k.entry(members.KindRestore, members.Restore{Generation: 2, Epoch: k.state().Epoch, Head: k.state().Head}, signers...)
	}
	tests := []struct {
		name  string
		want  error
		edit  func(*wire.Link)
		entry func(k *kit) []byte
	}{
		{"previous hash", ErrLog, func(l *wire.Link) { l.Previous[0] ^= 1 }, nil},
		{"position", ErrLog, func(l *wire.Link) { l.Epoch.Position++ }, nil},
		{"time goes back", ErrLog, func(l *wire.Link) { l.Time -= 10_000 }, nil},
		{"time far ahead", ErrAhead, func(l *wire.Link) { l.Time += 31_000 }, nil},
		{"content", ErrLog, func(l *wire.Link) { l.Content[0] ^= 1 }, nil},
		{"generation rises without a restore", ErrLog, func(l *wire.Link) { l.Epoch.Generation = 2 }, nil},
		{"generation jumps", ErrLog, func(l *wire.Link) { l.Epoch.Generation = 3 }, nil},
		{"restore that one admin signed", ErrLog, nil, func(k *kit) []byte { return restore(k, k.ann) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := newKit(t)
			k.clock.Advance(time.Second)
			k.do(KindConfirm, Confirm{Admin: "ann"}, k.ann)
			entry := k.entry(KindConfirm, Confirm{Admin: "bob"}, k.bob)
			if test.entry != nil {
				entry = test.entry(k)
			}
			link := k.log.nextLink(entry)
			if test.edit != nil {
				test.edit(&link)
			}
			if err := k.store.Append(t.Context(), 2, k.log.bodies.SealRecord(link, entry)); err != nil {
				t.Fatal(err)
			}
			if err := k.log.Refresh(t.Context()); !errors.Is(err, test.want) {
				t.Errorf("refresh: got %v, want %v", err, test.want)
			}
			if _, err := k.open(); !errors.Is(err, test.want) {
				t.Errorf("open: got %v, want %v", err, test.want)
			}
			if k.epoch().Position != 2 {
				t.Error("the record was taken")
			}
			if closed := k.log.Err() != nil; closed != (test.want == ErrLog) {
				t.Errorf("after %v the log says %v", test.want, k.log.Err())
			}
		})
	}
}
