// SPDX-License-Identifier: Apache-2.0

package standing

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/authority/authoritytest"
	"claviger/internal/secret"
	"claviger/internal/store"
	"claviger/internal/wire"
)

const app = "spiffe://acme/workload/app"

var errDown, errCut = errors.New("down"), errors.New("cut")

// domain is a log with one key, a store, and a choke point that notes what it
// releases under which one-time key.
type domain struct {
	*authoritytest.Domain
	store    store.Store
	seal     *secret.Bytes
	key      wire.KeyID
	versions uint64

	mu       sync.Mutex
	released map[wire.Hash]int // by one-time key: how often
	sent     []Parcel
	trouble  error // of Deliver
	refusal  error // of Release
	denied   bool
}

func newDomain(t *testing.T) *domain {
	d := &domain{Domain: authoritytest.New(t), store: store.NewMem(), key: wire.KeyID{7}, released: map[wire.Hash]int{}}
	d.seal = d.Options.SlotSeal
	d.Create(d.Log, d.key, "k")
	d.version()
	return d
}

func (d *domain) append(kind string, payload any, by crypto.Signer) {
	d.Helper()
	d.Append(d.Log, kind, payload, by)
}

// version makes the key's next version.
func (d *domain) version() {
	d.Helper()
	if d.versions > 0 {
		d.append(authority.KindKeyRotate, authority.KeyRef{ID: d.key}, d.Admin)
	}
	d.versions++
	d.Version(d.key, d.versions)
}

// open starts a server with this number on a store.
func (d *domain) open(number byte, s Slots) *Standing {
	d.Helper()
	out, err := Open(context.Background(), Options{
		Store: s, Seal: d.seal, Domain: d.ID, Server: wire.ServerID{number}, Log: d.Log, Clock: d.Clock, Logger: slog.New(slog.DiscardHandler),
		Release: d.release, Deliver: d.deliver,
	})
	if err != nil {
		d.Fatal(err)
	}
	return out
}

func (d *domain) release(_ context.Context, r *Request, key []byte) (Made, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refusal != nil {
		return Made{}, d.refusal
	}
	d.released[wire.HPKEHash(key)]++
	if d.denied {
		return Made{Versions: make([]uint64, len(r.Items))}, nil
	}
	sealed := fmt.Appendf(nil, "%s %d", wire.HPKEHash(key), d.versions)
	return Made{Sealed: sealed, Versions: []uint64{d.versions}, Expires: d.Clock.Now().Add(time.Hour).UnixMilli()}, nil
}

func (d *domain) deliver(_ context.Context, p Parcel) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.trouble == nil {
		d.sent = append(d.sent, p)
	}
	return d.trouble
}

// request is a standing request of a client's mailbox with n new keys.
func (d *domain) request(client string, mailbox byte, n int) Request {
	r := Request{
		Client: client, Chain: [][]byte{{1}}, Mailbox: wire.Hash{mailbox}, Items: []wire.Item{{Name: "k", Purpose: wire.PurposeData, Operations: []string{"encrypt"}}},
		Until: d.Clock.Now().Add(24 * time.Hour).UnixMilli(), Told: []uint64{d.versions},
	}
	rand.Read(r.Sealed[:])
	for range n {
		key := make([]byte, wire.PublicKeySize)
		rand.Read(key)
		r.Keys = append(r.Keys, key)
	}
	return r
}

func (d *domain) keep(s *Standing, r Request) {
	d.Helper()
	if err := s.Keep(context.Background(), r, d.Clock.Now().Add(48*time.Hour).UnixMilli()); err != nil {
		d.Fatal(err)
	}
}

// once holds that no key was released under twice, and how many were.
func (d *domain) once(want int) {
	d.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, n := range d.released {
		if n > 1 {
			d.Errorf("%d releases under the one-time key %s", n, key)
		}
	}
	if len(d.released) != want && want >= 0 {
		d.Errorf("%d releases, want %d", len(d.released), want)
	}
}

func look(servers ...*Standing) {
	var all sync.WaitGroup
	for _, s := range servers {
		all.Go(func() { s.look(context.Background()) })
	}
	all.Wait()
}

// TestTwoServers: of servers that race for a new version one claims a key, and a
// version is released once.
func TestTwoServers(t *testing.T) {
	d := newDomain(t)
	a, b := d.open(1, d.store), d.open(2, d.store)
	d.keep(a, d.request(app, 1, 16))
	if err := b.scan(t.Context()); err != nil || b.Count() != 1 {
		t.Fatalf("the other server knows %d: %v", b.Count(), err)
	}
	for n := range 16 {
		d.version()
		look(a, b, a, b)
		d.once(n + 1)
	}
	d.version()
	look(a, b)
	d.once(16)
	if len(d.sent) != 16 {
		t.Errorf("%d sent", len(d.sent))
	}
}

// TestFactsOfTheMoment: what ends a request, and that it leaves the store.
func TestFactsOfTheMoment(t *testing.T) {
	for name, end := range map[string]func(*domain){
		"client revoked":     func(d *domain) { d.append(authority.KindClientRevoke, authority.Subject{Client: app}, d.Admin) },
		"everything revoked": func(d *domain) { d.append(authority.KindRevokeAll, authority.Subject{}, d.Admin) },
		"key disabled":       func(d *domain) { d.append(authority.KindKeyDisable, authority.KeyRef{ID: d.key}, d.Admin) },
		"its time":           func(d *domain) { d.Clock.Advance(24 * time.Hour) },
		"no caller any more": func(d *domain) { d.refusal = ErrEnded },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDomain(t)
			s := d.open(1, d.store)
			d.keep(s, d.request(app, 1, 2))
			d.version()
			end(d)
			look(s)
			d.once(0)
			if s.Count() != 0 {
				t.Error("it is kept")
			}
			for slot := range d.store.List(t.Context(), "") {
				t.Errorf("slot %s is left", slot.Key)
			}
		})
	}
}

// TestCertificateBounds: no longer than the certificate, nor than a request may.
func TestCertificateBounds(t *testing.T) {
	d := newDomain(t)
	s := d.open(1, d.store)
	now := d.Clock.Now().UnixMilli()
	for _, c := range []struct{ until, certificate, want int64 }{
		{now + 1000, now + 2000, now + 1000},
		{now + 2000, now + 1000, now + 1000},
		{now + 2*wire.MaxStandingLife, now + 3*wire.MaxStandingLife, now + wire.MaxStandingLife},
	} {
		r := d.request(app, 1, 1)
		r.Until = c.until
		if err := s.Keep(t.Context(), r, c.certificate); err != nil {
			t.Fatal(err)
		}
		got, _, err := s.slots.read(t.Context(), s.slots.name(app, r.Mailbox))
		if err != nil || got.Until != c.want {
			t.Errorf("until %d, want %d: %v", got.Until, c.want, err)
		}
	}
	if err := s.Keep(t.Context(), d.request(app, 2, 1), now); err != nil || s.Count() != 1 {
		t.Errorf("kept past the certificate: %d, %v", s.Count(), err)
	}
}

// TestRenewal: a new request takes the old one's place, without the keys that were
// claimed.
func TestRenewal(t *testing.T) {
	d := newDomain(t)
	s := d.open(1, d.store)
	first := d.request(app, 1, 2)
	d.keep(s, first)
	d.version()
	look(s)
	d.once(1)
	second := d.request(app, 1, 1)
	second.Keys = append(first.Keys[:1:1], second.Keys...) // one that was claimed
	d.keep(s, second)
	if s.Count() != 1 {
		t.Errorf("%d are kept", s.Count())
	}
	for range 3 {
		d.version()
		look(s)
	}
	d.once(2)
	if len(d.sent) != 2 || strings.Contains(string(d.sent[1].Sealed), wire.HPKEHash(first.Keys[1]).String()) {
		t.Errorf("sent %d, the second under a key of the request that was replaced", len(d.sent))
	}
}

// TestGone: the requests of a run that has ended go, and no other run's.
func TestGone(t *testing.T) {
	d := newDomain(t)
	s := d.open(1, d.store)
	for mailbox := range byte(3) {
		d.keep(s, d.request(app, mailbox, 2))
	}
	s.Gone(t.Context(), wire.Hash{1})
	s.Gone(t.Context(), wire.Hash{9})
	if again := d.open(2, d.store); s.Count() != 2 || again.Count() != 2 {
		t.Errorf("%d are kept, %d in the store", s.Count(), again.Count())
	}
	d.version()
	look(s)
	d.once(2)
	for _, p := range d.sent {
		if p.To == (wire.Hash{1}) {
			t.Error("a run that has ended is sent a release")
		}
	}
}

// TestUndelivered: a release that nobody takes is sent later as it is; a key that
// was claimed for nothing is followed by the next, after a minute.
func TestUndelivered(t *testing.T) {
	d := newDomain(t)
	s := d.open(1, d.store)
	d.keep(s, d.request(app, 1, 4))
	d.trouble = errDown
	d.version()
	look(s)
	look(s)
	d.trouble = nil
	look(s)
	look(s)
	d.once(1)
	if len(d.sent) != 1 {
		t.Errorf("sent %d times", len(d.sent))
	}
	d.refusal = errDown
	d.version()
	look(s)
	d.refusal = nil
	look(s)
	d.once(1)
	d.Clock.Advance(claimGood)
	look(s)
	d.once(2)
	d.denied = true
	d.version()
	look(s)
	look(s)
	d.Clock.Advance(claimGood)
	look(s)
	d.once(3)
	if len(d.sent) != 2 {
		t.Errorf("sent %d in all", len(d.sent))
	}
}

// TestBounds: one client keeps so many, and the eldest gives way; strangers' stay.
func TestBounds(t *testing.T) {
	d := newDomain(t)
	s := d.open(1, d.store)
	d.keep(s, d.request("spiffe://acme/workload/other", 1, 1))
	for n := range perClient + 5 {
		r := d.request(app, byte(n), 1)
		r.Until += int64(n)
		d.keep(s, r)
	}
	if s.Count() != perClient+1 {
		t.Errorf("%d are kept", s.Count())
	}
	if r, _, _ := s.slots.read(t.Context(), s.slots.name(app, wire.Hash{4})); r != nil {
		t.Error("the eldest is there")
	}
	for n := s.Count(); n < maxKept; n++ {
		s.known[fmt.Sprint(n)] = &entry{client: fmt.Sprint(n), busy: true}
	}
	err := s.Keep(t.Context(), d.request("spiffe://acme/workload/more", 1, 1), d.Clock.Now().Add(time.Hour).UnixMilli())
	if !errors.Is(err, ErrFull) {
		t.Errorf("one more: %v", err)
	}
	large := d.request(app, 1, 16)
	large.Chain = [][]byte{make([]byte, maxSlot)}
	if err := s.Keep(t.Context(), large, d.Clock.Now().Add(time.Hour).UnixMilli()); !errors.Is(err, ErrFull) {
		t.Errorf("a large one: %v", err)
	}
}

// TestForeignSlots: what is no request of its place is passed over.
func TestForeignSlots(t *testing.T) {
	d := newDomain(t)
	s := d.open(1, d.store)
	r := d.request(app, 1, 1)
	d.keep(s, r)
	name := s.slots.name(app, r.Mailbox)
	value, _, err := d.store.Get(t.Context(), name)
	if err != nil || strings.Contains(name+string(value), "app") {
		t.Fatalf("%s: %v", name, err)
	}
	moved := s.slots.ofClient("spiffe://acme/workload/other") + strings.Repeat("0", 2*idSize)
	for at, v := range map[string][]byte{moved: value, prefix + "x": {1}, prefix + "y": s.slots.box.Seal(wire.Marshal("x"), []byte(prefix+"y"))} {
		if err := d.store.Put(t.Context(), at, 0, v); err != nil {
			t.Fatal(err)
		}
	}
	if n := d.open(2, d.store).Count(); n != 1 {
		t.Errorf("%d are known", n)
	}
	// In its own place, a broken one gives way to the next request.
	_, version, _ := d.store.Get(t.Context(), name)
	if err := d.store.Put(t.Context(), name, version, []byte{1}); err != nil {
		t.Fatal(err)
	}
	if err := s.scan(t.Context()); err != nil || s.Count() != 0 {
		t.Errorf("%d are known: %v", s.Count(), err)
	}
	d.keep(s, d.request(app, 1, 1))
	if s.Count() != 1 {
		t.Error("a broken slot keeps a request out")
	}
}

// cutter is a store on which a server ends at some write: what it wrote may have
// landed or not, and nothing works any more.
type cutter struct {
	store.Store
	left   int
	landed bool
}

func (c *cutter) Put(ctx context.Context, key string, version uint64, value []byte) error {
	c.left--
	if c.left < 0 || c.left == 0 && !c.landed {
		return errCut
	}
	err := c.Store.Put(ctx, key, version, value)
	if c.left == 0 {
		return errCut
	}
	return err
}

// TestCutAnywhere ends a server before or after each of its writes, lets another
// run go on, and counts what was released under each one-time key.
func TestCutAnywhere(t *testing.T) {
	for left := range 6 {
		for _, landed := range []bool{false, true} {
			d := newDomain(t)
			d.keep(d.open(1, d.store), d.request(app, 1, 16))
			first := d.open(1, &cutter{d.store, left, landed})
			for range 3 {
				d.version()
				look(first)
			}
			second := d.open(1, d.store)
			look(second)
			d.once(-1)
			last := fmt.Sprint(" ", d.versions)
			if n := len(d.sent); n == 0 || !strings.HasSuffix(string(d.sent[n-1].Sealed), last) {
				t.Errorf("cut at %d (%v): the newest version was not sent", left, landed)
			}
			before := len(d.released)
			look(second)
			d.once(before)
		}
	}
}

// TestEachKeyOnce lets runs of two servers, renewals, rotations, troubles and cuts
// come in any order: no one-time key is ever used twice.
func TestEachKeyOnce(t *testing.T) {
	for seed := range uint64(20) {
		random := mathrand.New(mathrand.NewPCG(seed, 1))
		d := newDomain(t)
		servers := []*Standing{d.open(1, d.store), d.open(2, d.store)}
		last := d.request(app, 1, 4)
		d.keep(servers[0], last)
		for range 60 {
			n := random.IntN(2)
			switch random.IntN(8) {
			case 0:
				r := d.request(app, 1, 1+random.IntN(4))
				r.Keys = append(r.Keys, last.Keys[:random.IntN(len(last.Keys)+1)]...)
				d.keep(servers[n], r)
				last = r
			case 1:
				servers[n] = d.open(byte(n+1), d.store)
			case 2:
				servers[n] = d.open(byte(n+1), &cutter{d.store, 1 + random.IntN(4), random.IntN(2) == 0})
				look(servers[0], servers[1])
				servers[n] = d.open(byte(n+1), d.store)
			case 3:
				d.trouble = []error{nil, errDown}[random.IntN(2)]
			case 4:
				d.Clock.Advance(time.Duration(random.IntN(90)) * time.Second)
			case 5:
				_ = servers[n].scan(t.Context())
			default:
				d.version()
			}
			look(servers[0], servers[1], servers[n])
		}
		d.once(-1)
		if len(d.released) < 5 {
			t.Errorf("seed %d: only %d releases", seed, len(d.released))
		}
	}
}

func FuzzSlot(f *testing.F) {
	f.Add([]byte{0x80})
	f.Add(wire.Marshal(Request{Type: typeSlot, Client: app, Items: []wire.Item{{Name: "k", Purpose: wire.PurposeData, Operations: []string{"encrypt"}}}, Told: []uint64{1}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := parse(data)
		if r != nil && (len(r.Told) != len(r.Items) || len(r.Keys) > wire.MaxStanding) {
			t.Errorf("%+v", r)
		}
	})
}
