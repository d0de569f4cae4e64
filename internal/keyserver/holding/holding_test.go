// SPDX-License-Identifier: Apache-2.0

package holding_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"claviger/internal/audit"
	"claviger/internal/authority"
	"claviger/internal/authority/authoritytest"
	"claviger/internal/keyserver/holding"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// kit is a domain of one key and one server, with its two logs.
type kit struct {
	*authoritytest.Domain
	audit  *audit.Log
	opened audit.Options
	key    wire.KeyID
}

func newKit(t *testing.T) *kit {
	k := &kit{Domain: authoritytest.New(t), key: wire.KeyID{1}}
	k.opened = audit.Options{Dir: t.TempDir(), Domain: k.ID, Server: k.ServerID(), Signer: k.Server, Clock: k.Clock}
	k.reopen()
	k.Create(k.Log, k.key, "k")
	k.Version(k.key, 1)
	t.Cleanup(func() { k.audit.Close() })
	return k
}

// reopen closes the audit log and opens it again, as another run does.
func (k *kit) reopen() {
	k.Helper()
	var err error
	if k.audit != nil {
		err = k.audit.Close()
	}
	if err == nil {
		k.audit, err = audit.Open(k.opened)
	}
	if err != nil {
		k.Fatal(err)
	}
}

func (k *kit) append(kind string, payload any, by ...crypto.Signer) {
	k.Helper()
	k.Append(k.Log, kind, payload, by...)
}

func (k *kit) epoch() wire.Epoch {
	e, _ := authoritytest.At(k.Log)
	return e
}

// leaf records a release of the key to a client.
func (k *kit) leaf(change func(*audit.Leaf)) {
	k.Helper()
	l := audit.Leaf{
		Time: k.Clock.Now().UnixMilli(), Kind: audit.Decision, Caller: "spiffe://acme/workload/app", Action: "release", Operations: []string{"encrypt"},
		Resource: "k", KeyID: k.key, Version: 1, Purpose: wire.PurposeData, Route: "native", Epoch: k.epoch(), Decision: wire.DecisionAllowed,
		Lease: 3600, KC: wire.Hash{1}, Request: wire.Hash{1},
	}
	if change != nil {
		change(&l)
	}
	_, ticket, err := k.audit.Enter(l)
	if err == nil {
		err = ticket.Wait(context.Background())
	}
	if err != nil {
		k.Fatal(err)
	}
}

func (k *kit) open() *holding.Holding {
	k.Helper()
	h, err := holding.Open(holding.Options{
		Log: k.Log, Audit: k.audit, Server: wire.ServerIDOf(k.Server.Public()), Clock: k.Clock, Name: authoritytest.Name, Observe: func(time.Duration) {},
	})
	if err != nil {
		k.Fatal(err)
	}
	return h
}

// TestRecall reads what an earlier run gave out: what can still be in use, and
// nothing else.
func TestRecall(t *testing.T) {
	k := newKit(t)
	for range 10 {
		k.leaf(nil)
		k.Clock.Advance(10 * time.Minute)
	}
	k.leaf(func(l *audit.Leaf) { l.Decision, l.KC, l.Lease, l.Reason = wire.DecisionDenied, wire.Hash{}, 0, "no" })
	k.leaf(func(l *audit.Leaf) { l.Action, l.KC, l.Lease = "encrypt", wire.Hash{}, 0 })
	k.leaf(func(l *audit.Leaf) { l.KeyID, l.Resource = wire.KeyID{9}, "gone" })
	k.reopen()
	h := k.open()
	// An hour and the slack: the leaves at 40 to 90 minutes, at 100 now.
	if n, since, err := h.Recall(1000); n != 6 || since != 0 || err != nil {
		t.Errorf("%d leases since %d, %v", n, since, err)
	}
	k.append(authority.KindKeyDisable, authority.KeyRef{ID: k.key}, k.Admin)
	r, err := h.Watch(t.Context(), holding.Question{Epoch: k.epoch()}, 0)
	if err != nil || r.Holders != 1 || r.Lit[0].Client != "spiffe://acme/workload/app" || !r.Lit[0].Mailbox.IsZero() || r.Done {
		t.Fatalf("%v %+v", err, r)
	}
	// Given at 90 minutes, for an hour: the staleness bound isn't known.
	if want := k.Clock.Now().Add(50 * time.Minute).UnixMilli(); r.Lit[0].Ends != want {
		t.Errorf("ends at %d, want %d", r.Lit[0].Ends, want)
	}
	// With room for less, it is said what isn't known.
	size := func() uint64 { _, n := k.audit.Size(); return n }()
	n, since, err := h.Recall(5)
	if n >= 6 || since == 0 || err != nil || size < 13 {
		t.Errorf("%d leases since %d of %d leaves, %v", n, since, size, err)
	}
}

// TestRecallOverLogs reads on in the log before when the current one is young.
func TestRecallOverLogs(t *testing.T) {
	k := newKit(t)
	k.leaf(nil)
	k.Clock.Advance(10 * time.Minute)
	k.opened.MaxBytes = 1 // two leaves a number
	k.reopen()
	for range 3 {
		k.leaf(nil)
		k.Clock.Advance(10 * time.Minute)
	}
	h := k.open()
	number, _ := k.audit.Size()
	if n, since, err := h.Recall(1000); n != 4 || since != 0 || err != nil || number < 2 {
		t.Errorf("%d leases since %d, %v, in %d logs", n, since, err, number)
	}
	k.Clock.Advance(25 * time.Minute)
	if n, since, err := h.Recall(1000); n > 4 || n < 3 || since != 0 || err != nil {
		t.Errorf("%d leases since %d, %v", n, since, err)
	}
}

// TestOtherServers: what others gave out isn't known, so nothing is done before
// every lease has ended, and words of theirs may keep holders going.
func TestOtherServers(t *testing.T) {
	k := newKit(t)
	h := k.open()
	_, second, _ := ed25519.GenerateKey(rand.Reader)
	k.append(members.KindJoin, members.Server{Name: "server2", Key: k.Public(second), EpochKey: wire.NewKey().Public()}, k.Admin, second)
	mailbox := make([]byte, ed25519.PublicKeySize)
	h.Gave(wire.MailboxID(mailbox), &wire.Grant{
		Client: "spiffe://acme/workload/app", Epoch: k.epoch(), Issued: k.Clock.Now().UnixMilli(), Items: []wire.GrantItem{
			{KeyID: k.key, Version: 1, Decision: wire.DecisionAllowed, Lease: 1800, Staleness: 60, Revocation: []wire.RevocationID{{1}}},
			{KeyID: k.key, Version: 2, Decision: wire.DecisionDenied},
		},
	})
	other := make([]byte, ed25519.PublicKeySize)
	other[0]++
	h.Gave(wire.MailboxID(other), &wire.Grant{
		Client: "spiffe://acme/workload/other", Epoch: k.epoch(), Issued: k.Clock.Now().UnixMilli(), Items: []wire.GrantItem{
			{KeyID: k.key, Version: 1, Decision: wire.DecisionAllowed, Lease: 1800, Staleness: 60, Revocation: []wire.RevocationID{{1}}},
		},
	})
	bye := &wire.Ack{Mailbox: other, Epoch: k.epoch(), At: k.Clock.Now().UnixMilli(), NotAfter: k.Clock.Now().Add(time.Minute).UnixMilli(), Gone: true}
	k.Log.View(func(s *authority.State) { bye.Domain, bye.Head = s.Members.Domain, s.Head })
	if outcome, err := h.Ack(bye); outcome != holding.AckTaken || err != nil || h.Holders() != 1 {
		t.Fatalf("%d holders after one has ended: %v, %v", h.Holders(), outcome, err)
	}
	if outcome, err := h.Ack(bye); outcome != holding.AckUnknown || err != nil {
		t.Errorf("its second word: %v, %v", outcome, err)
	}
	k.append(authority.KindKeyDisable, authority.KeyRef{ID: k.key}, k.Admin)
	q := holding.Question{Of: "key:" + k.key.String()}
	r, err := h.Watch(t.Context(), q, 0)
	if err != nil || len(r.Others) != 1 || r.Others[0].Name != "server2" || r.Done || r.Holders != 1 {
		t.Fatalf("%v %+v", err, r)
	}
	if want := k.Clock.Now().Add(30 * time.Minute).UnixMilli(); r.Ends != want {
		t.Errorf("ends at %d, want %d: a word of the other server may keep it going", r.Ends, want)
	}
	ack := &wire.Ack{Mailbox: mailbox, Epoch: k.epoch(), At: k.Clock.Now().UnixMilli(), NotAfter: k.Clock.Now().Add(time.Minute).UnixMilli()}
	k.Log.View(func(s *authority.State) { ack.Domain, ack.Head = s.Members.Domain, s.Head })
	if outcome, err := h.Ack(ack); outcome != holding.AckTaken || err != nil {
		t.Fatal(outcome, err)
	}
	if r, _ := h.Watch(t.Context(), q, 0); r.Dark != 1 || r.Done {
		t.Errorf("done before the other server's leases have ended: %+v", r)
	}
	k.Clock.Advance(time.Hour)
	if r, _ := h.Watch(t.Context(), q, 0); !r.Done {
		t.Errorf("not done when everything has ended: %+v", r)
	}
	if _, err := h.Watch(t.Context(), holding.Question{Of: "client:x"}, 0); !errors.Is(err, holding.ErrNotFound) {
		t.Error(err)
	}
}
