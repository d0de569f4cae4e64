// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"errors"
	"testing"
	"time"

	"claviger/internal/members"
	"claviger/internal/wire"
)

// TestLockOutGuard keeps the last server that serves.
func TestLockOutGuard(t *testing.T) {
	k := newKit(t)
	k.refused(members.KindFence, members.Fence{Server: k.s1.id()}, ErrRefused, k.ann, k.bob, k.cyd)
	k.refused(members.KindLeave, members.Fence{Server: k.s1.id()}, ErrRefused, k.ann, k.bob, k.cyd)
	k.second()
	k.do(members.KindFence, members.Fence{Server: k.s2.id()}, k.ann)
	k.refused(members.KindFence, members.Fence{Server: k.s1.id()}, ErrRefused, k.ann)
	k.do(members.KindUnfence, members.Fence{Server: k.s2.id()}, k.ann, k.bob)
	k.do(members.KindLeave, members.Fence{Server: k.s1.id()}, k.ann, k.bob)
	// From now on s1 may not write.
	k.refused(KindAnchor, Anchor{Server: k.s1.id()}, members.ErrChain, k.s1)
}

func TestConfirmed(t *testing.T) {
	k := newKit(t)
	s := k.state()
	if !s.Confirmed("ann") || s.Confirmed("bob") || s.Confirmed("nobody") {
		t.Error("who signed the genesis")
	}
	k.do(KindConfirm, Confirm{Admin: "bob"}, k.bob)
	k.refused(KindConfirm, Confirm{Admin: "cyd"}, members.ErrThreshold, k.bob)
	k.refused(KindConfirm, Confirm{Admin: "zoe"}, ErrRefused, k.bob)
	if !s.Confirmed("bob") || s.Confirmed("cyd") {
		t.Error("who confirmed")
	}
	// A new key has signed its own coming; one that keeps a name doesn't inherit.
	cyd := newPerson("cyd")
	k.do(members.KindKeys, members.Keys{Keys: []members.Key{k.ann.admin(), k.bob.admin(), cyd.admin()}, Threshold: 2}, k.ann, k.bob, cyd)
	if !s.Confirmed("cyd") || s.confirmed[k.cyd.admin().Hash()] {
		t.Error("a replaced key")
	}
}

func recoveryKeys(k *kit, dan person) members.Keys {
	return members.Keys{Keys: []members.Key{dan.admin(), k.rex.admin()}, Threshold: 2}
}

func TestRecovery(t *testing.T) {
	k := newKit(t)
	dan, eve := newPerson("dan"), newPerson("eve")
	keys := recoveryKeys(k, dan)
	signers := []person{k.rex, k.rio, dan}
	k.refused(members.KindRecover, keys, ErrRefused, signers...) // not announced
	k.refused(KindRecoverBegin, members.Keys{Threshold: 1}, members.ErrChain, k.rex, k.rio)
	k.do(KindRecoverBegin, keys, k.rex, k.rio)
	begun := k.state().Time
	early := k.entry(members.KindRecover, keys, signers...)
	if out, err := k.log.Propose(t.Context(), early); err != nil || out.Pending == nil {
		t.Fatalf("proposed early: %+v, %v", out, err)
	}
	announced, r := k.state().Announced, k.state().Members.Recovery
	due, ok := announced.Due(wire.Marshal(keys), r)
	if !ok || due.UnixMilli() != begun+recoveryWait*1000 {
		t.Errorf("due %v, %t", due, ok)
	}
	if first, ok := announced.First(r); !ok || !first.Equal(due) {
		t.Errorf("first %v, %t", first, ok)
	}
	if _, ok := announced.Due(wire.Marshal(recoveryKeys(k, eve)), r); ok {
		t.Error("other keys are said to be announced")
	}
	k.clock.Advance((recoveryWait - 1) * time.Second)
	k.refused(members.KindRecover, keys, members.ErrThreshold, signers...)
	k.clock.Advance(time.Second - time.Millisecond)
	if w := k.waiting(); len(w) != 1 {
		t.Fatalf("%d wait", len(w))
	}
	k.refused(members.KindRecover, recoveryKeys(k, eve), ErrRefused, k.rex, k.rio, eve) // announced were others
	k.clock.Advance(time.Millisecond)
	k.propose(k.waiting()[0].Entry, true)
	if len(k.state().Members.Keys.Keys) != 2 {
		t.Error("the keys are the old ones")
	}
	if first, ok := k.state().Announced.First(r); ok {
		t.Errorf("what was done is still announced for %v", first)
	}
	k.refused(KindPolicy, policyOf("x"), members.ErrThreshold, k.ann, k.bob)
	k.do(KindPolicy, policyOf("x"), dan, k.rex)
}

// TestRecoveryIsHeardOf: the quorum, if it still exists, can answer while the
// recovery waits; one admin can't stop it.
func TestRecoveryIsHeardOf(t *testing.T) {
	k := newKit(t)
	k.second()
	dan := newPerson("dan")
	keys := recoveryKeys(k, dan)
	k.do(KindRecoverBegin, keys, k.rex, k.rio)
	k.do(members.KindFence, members.Fence{Server: k.s2.id()}, k.cyd)
	k.clock.Advance(recoveryWait * time.Second)
	entry := k.entry(members.KindRecover, keys, k.rex, k.rio, dan)
	if err := k.log.Check(entry); err != nil {
		t.Errorf("after one admin fenced a server: %v", err)
	}
	k.do(members.KindRecovery, members.Recovery{}, k.ann, k.bob)
	if _, err := k.log.Append(t.Context(), entry); !errors.Is(err, ErrRefused) {
		t.Errorf("after the quorum dissolved it: %v", err)
	}
	k.refused(members.KindRecover, keys, members.ErrThreshold, k.rex, k.rio, dan)
}

func TestRecoveryIsAnnouncedToThePresentKeys(t *testing.T) {
	k := newKit(t)
	dan := newPerson("dan")
	keys := recoveryKeys(k, dan)
	k.do(KindRecoverBegin, keys, k.rex, k.rio)
	k.clock.Advance(recoveryWait * time.Second)
	k.do(members.KindKeys, members.Keys{Keys: []members.Key{k.ann.admin(), k.cyd.admin()}, Threshold: 2}, k.ann, k.bob)
	k.refused(members.KindRecover, keys, ErrRefused, k.rex, k.rio, dan)
}

func TestRestoreNamesThisLog(t *testing.T) {
	k := grown(t)
	head, _ := k.state().HeadAt(3)
	at := wire.Epoch{Generation: 1, Position: 3}
	for name, r := range map[string]members.Restore{
		"another head":       {Generation: 2, Epoch: at, Head: wire.Hash{1}},
		"another position":   {Generation: 2, Epoch: wire.Epoch{Generation: 1, Position: 2}, Head: head},
		"another generation": {Generation: 2, Epoch: wire.Epoch{Generation: 2, Position: 3}, Head: head},
		"a skip":             {Generation: 3, Epoch: at, Head: head},
		"the present":        {Generation: 1, Epoch: at, Head: head},
	} {
		entry := k.entry(members.KindRestore, r, k.ann, k.bob)
		if _, err := k.log.Append(t.Context(), entry); err == nil {
			t.Errorf("a restore to %s", name)
		}
	}
	epoch := k.do(members.KindRestore, members.Restore{Generation: 2, Epoch: at, Head: head}, k.ann, k.bob)
	if epoch != (wire.Epoch{Generation: 2, Position: 6}) || k.reopen().state.Epoch != epoch {
		t.Errorf("restored to %s", epoch)
	}
	k.do(KindPolicy, policyOf("after"), k.ann, k.bob)
	if e := k.epoch(); e != (wire.Epoch{Generation: 2, Position: 7}) {
		t.Errorf("then at %s", e)
	}
}

func TestRead(t *testing.T) {
	k := newKit(t)
	k.do(KindPolicy, policyOf("one"), k.ann, k.bob)
	read, err := Read(k.entry(KindPolicy, policyOf("two"), k.ann))
	if err != nil || read.Kind != KindPolicy || read.Replaces != k.state().Policy.Body {
		t.Errorf("read: %+v, %v", read, err)
	}
	if _, err := Read([]byte("x")); !errors.Is(err, ErrRefused) {
		t.Errorf("read garbage: %v", err)
	}
}
