// SPDX-License-Identifier: Apache-2.0

package keyserver_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"iter"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/api"
	"claviger/internal/keyserver/keyservertest"
	"claviger/internal/keyserver/outward"
	"claviger/internal/wire"
)

// pigeon is a relay that takes parcels, and nothing comes from it.
type pigeon struct{ parcels chan []byte }

func (pigeon) Address() string                               { return "pigeon" }
func (pigeon) PutIntroduction(context.Context, []byte) error { return nil }
func (pigeon) PutStatement(context.Context, []byte) error    { return nil }
func (pigeon) PutTokens(context.Context, []wire.Hash) error  { return nil }
func (pigeon) Statements(context.Context) ([][]byte, error)  { return nil, nil }
func (pigeon) Answer(context.Context, []byte, []byte) error  { return nil }

func (p pigeon) PutParcel(_ context.Context, _ wire.Hash, _ time.Time, sealed []byte) error {
	p.parcels <- sealed
	return nil
}

func (pigeon) Receive(ctx context.Context) iter.Seq2[*wire.Delivery, error] {
	return func(yield func(*wire.Delivery, error) bool) {
		<-ctx.Done()
		yield(nil, ctx.Err())
	}
}

// atPigeon is a rig with a key and a client whose releases come by pigeon.
func atPigeon(t *testing.T) (*keyservertest.Rig, pigeon, *keyservertest.Workload) {
	t.Helper()
	p := pigeon{make(chan []byte, 64)}
	r := keyservertest.NewWith(t, keyservertest.Setup{
		Serve:    func(o *keyserver.Options) { o.Mailbox = wire.Hash{9} },
		Carriers: func(wire.DomainID) []outward.Carrier { return []outward.Carrier{p} },
	})
	r.CreateKey("k", authority.AES256)
	r.Allow(`permit(principal, action, resource);`)
	w := r.Enroll("app1")
	w.NewMailbox()
	return r, p, w
}

// standingRequest sends one with n keys, and returns them and the request's hash.
func standingRequest(r *keyservertest.Rig, w *keyservertest.Workload, n int, items ...wire.Item) (wire.Hash, []*wire.Key) {
	r.T.Helper()
	var keys []*wire.Key
	sealed, status := request(r, w, func(req *wire.Request) {
		req.Items, req.Until = items, clock.System().Now().Add(time.Hour).UnixMilli()
		for range n {
			keys = append(keys, wire.NewKey())
			req.Standing = append(req.Standing, keys[len(keys)-1].Public())
		}
	})
	if status != 200 {
		r.T.Fatalf("standing request: %d", status)
	}
	return wire.SealedHash(sealed), keys
}

// request sends one as changed, and returns it and the answer's status.
func request(r *keyservertest.Rig, w *keyservertest.Workload, change func(*wire.Request)) ([]byte, int) {
	r.T.Helper()
	req := wire.Request{
		Type: wire.TypeRequest, Domain: r.Founded.Domain, Client: w.ID, HPKE: wire.NewKey().Public(),
		Descriptor: wire.DescriptorHash(r.Signed), NotAfter: clock.System().Now().Add(30 * time.Second).UnixMilli(),
		Mailbox: wire.MailboxID(w.Mailbox.Public().(ed25519.PublicKey)),
	}
	rand.Read(req.Nonce[:])
	change(&req)
	msg, err := wire.SignChain(wire.TypeRequest, wire.Marshal(req), w.Chain, w.Key)
	if err != nil {
		r.T.Fatal(err)
	}
	sealed := r.Seal(wire.TypeRequest, msg)
	status, _ := r.Exchange(w, sealed)
	return sealed, status
}

// opened waits for the next release by pigeon and opens it with the key that fits.
func (p pigeon) opened(r *keyservertest.Rig, request wire.Hash, keys []*wire.Key) (int, *wire.Grant) {
	r.T.Helper()
	var sealed []byte
	select {
	case sealed = <-p.parcels:
	case <-time.After(30 * time.Second):
		r.T.Fatal("no release came")
	}
	for n, key := range keys {
		plain, err := key.Open(wire.TypeRelease, wire.ReleaseInfo(request), sealed, wire.MaxRelease)
		if err != nil {
			continue
		}
		release, err := wire.ParseRelease(plain)
		if err != nil {
			r.T.Fatal(err)
		}
		grant, err := wire.ParseGrant(release.Grant, r.ServerKey())
		if err != nil || grant.HPKE != wire.HPKEHash(key.Public()) || grant.Request != request || len(release.Keys) != len(grant.Items) {
			r.T.Fatalf("grant %+v: %v", grant, err)
		}
		return n, grant
	}
	r.T.Fatal("no key opens the release")
	return 0, nil
}

// standingCount waits until the server keeps so many standing requests.
func standingCount(r *keyservertest.Rig, want int) {
	r.T.Helper()
	got := -1
	for range 600 {
		err := r.Server.With(r.T.Context(), func(_ context.Context, c *keyserver.Core) error { got = c.Standing(); return nil })
		if err == nil && got == want {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
	r.T.Fatalf("%d standing requests are kept, want %d", got, want)
}

func rotate(r *keyservertest.Rig, name string) {
	r.T.Helper()
	r.Propose(authority.KindKeyRotate, authority.KeyRef{ID: r.KeyOf(name).ID})
}

// TestStandingReleaseEndToEnd: each new version is released ahead of need under a
// key of its own, before and after a restart, with a leaf that says so.
func TestStandingReleaseEndToEnd(t *testing.T) {
	r, p, w := atPigeon(t)
	request, keys := standingRequest(r, w, 3, keyservertest.DataKey("k", "encrypt"))
	standingCount(r, 1)
	for n := range 2 {
		rotate(r, "k")
		at, grant := p.opened(r, request, keys)
		if i := grant.Items[0]; at != n || i.Version != uint64(n+2) || i.Decision != wire.DecisionAllowed {
			t.Errorf("rotation %d: key %d, %+v", n, at, i)
		}
	}
	leaves := standingLeaves(r)
	if len(leaves) != 2 || leaves[0].Decision != wire.DecisionAllowed || leaves[0].Caller != w.ID {
		t.Errorf("leaves %+v", leaves)
	}
	r.Restart()
	standingCount(r, 1)
	rotate(r, "k")
	if at, grant := p.opened(r, request, keys); at != 2 || grant.Items[0].Version != 4 {
		t.Errorf("after a restart: key %d, %+v", at, grant.Items[0])
	}
	if len(p.parcels) > 0 {
		t.Error("more than was due")
	}
}

func standingLeaves(r *keyservertest.Rig) (out []api.LeafInfo) {
	r.T.Helper()
	status, body := r.AsAdmin("GET", "/v1/admin/audit?n=1000", nil)
	var all struct{ Leaves []api.LeafInfo }
	if err := json.Unmarshal(body, &all); err != nil || status != 200 {
		r.T.Fatalf("audit: %d %s", status, body)
	}
	for _, l := range all.Leaves {
		if l.Route == "standing" {
			out = append(out, l)
		}
	}
	return out
}

// TestStandingIsDecidedAnew: the policy of the moment decides, and knows the route;
// what is revoked or disabled ends the request.
func TestStandingIsDecidedAnew(t *testing.T) {
	r, p, w := atPigeon(t)
	request, keys := standingRequest(r, w, 4, keyservertest.DataKey("k", "encrypt"))
	standingCount(r, 1)
	r.Allow(`permit(principal, action, resource); forbid(principal, action, resource) when { context has route && context.route == "standing" };`)
	rotate(r, "k")
	for range 600 {
		if len(standingLeaves(r)) > 0 {
			break
		}
		<-time.After(50 * time.Millisecond)
	}
	if l := standingLeaves(r); len(l) != 1 || l[0].Decision != wire.DecisionDenied || len(p.parcels) > 0 {
		t.Errorf("forbidden: %+v, %d sent", l, len(p.parcels))
	}
	r.Allow(`permit(principal, action, resource);`)
	rotate(r, "k")
	if at, grant := p.opened(r, request, keys); at != 1 || grant.Items[0].Version != 3 {
		t.Errorf("permitted again: key %d, %+v", at, grant.Items[0])
	}
	id := r.KeyOf("k").ID
	r.Propose(authority.KindKeyDisable, authority.KeyRef{ID: id})
	standingCount(r, 0)
	r.Propose(authority.KindKeyEnable, authority.KeyRef{ID: id})
	standingRequest(r, w, 4, keyservertest.DataKey("k", "encrypt"))
	standingCount(r, 1)
	r.Propose(authority.KindClientRevoke, authority.Subject{Client: w.ID})
	standingCount(r, 0)
	rotate(r, "k")
	r.Restart()
	standingCount(r, 0)
	if len(p.parcels) > 0 {
		t.Error("released to a client that is revoked")
	}
}

// TestStandingIsNotKept: where nothing was permitted, nothing can change, or nothing
// could be delivered.
func TestStandingIsNotKept(t *testing.T) {
	r, _, w := atPigeon(t)
	r.CreateKey("other", authority.AES256)
	r.Allow(`permit(principal, action, resource == Key::"k");`)
	first := keyservertest.DataKey("k", "encrypt")
	first.Version = 1
	standingRequest(r, w, 2, first)
	standingRequest(r, w, 2, keyservertest.DataKey("other", "encrypt"))
	standingCount(r, 0)
	standingRequest(r, w, 2, keyservertest.DataKey("other", "encrypt"), keyservertest.DataKey("k", "encrypt"))
	standingCount(r, 1)
	alone := keyservertest.New(t)
	alone.CreateKey("k", authority.AES256)
	alone.Allow(`permit(principal, action, resource);`)
	w = alone.Enroll("app1")
	w.NewMailbox()
	standingRequest(alone, w, 2, keyservertest.DataKey("k", "encrypt"))
	standingCount(alone, 0)
}
