// SPDX-License-Identifier: Apache-2.0

package standing_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"claviger/client/internal/leases"
	"claviger/client/internal/standing"
	"claviger/client/internal/trust"
	"claviger/internal/clock"
	"claviger/internal/testkit/fakeserver"
	"claviger/internal/wire"
)

// nothing keeps nothing.
type nothing struct{}

func (nothing) SaveMark(m trust.Mark) (trust.Mark, error) { return m, nil }
func (nothing) SaveMembers([][]byte) error                { return nil }
func (nothing) SaveProof(string, []byte, []byte) error    { return nil }

// asking makes requests that nobody answers.
type asking struct {
	t    testing.TB
	view *trust.View
	peer *trust.Peer
	key  *ecdsa.PrivateKey
	age  time.Duration
	*standing.Requests
}

func newAsking(t testing.TB) *asking {
	clk := clock.NewManual(time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC))
	d := fakeserver.New(t, fakeserver.Options{Clock: clk})
	a := &asking{t: t}
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	introduction, err := d.Server("one").Introduction(t.Context())
	must(err)
	a.view, err = trust.New(trust.Options{Domain: d.ID(), Members: d.Members().Chain, Keeper: nothing{}, Clock: clk})
	must(err)
	a.peer, err = a.view.Introduce(introduction)
	must(err)
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	a.Requests = standing.New(func(*trust.Asked) time.Duration { return a.age })
	return a
}

// make makes a request for keys of the given names.
func (a *asking) make(names ...string) standing.Request {
	a.t.Helper()
	r := standing.Request{Keys: standing.NewKeys()}
	var items []wire.Item
	for _, name := range names {
		r.Asks = append(r.Asks, leases.Ask{Name: name})
		items = append(items, wire.Item{Name: name, Purpose: wire.PurposeData, Operations: []string{"encrypt"}})
	}
	var err error
	r.Asked, err = a.view.Ask(a.peer, trust.Identity{Client: "spiffe://acme/workload/app", Chain: [][]byte{{1}}, Key: a.key}, trust.Question{
		Items: items, Mailbox: wire.Hash{1}, Standing: r.Keys.Public(), StandFor: standing.Life,
	})
	if err != nil {
		a.t.Fatal(err)
	}
	a.Made(r)
	return r
}

// parcel is a release to one of a request's keys, as far as its seal goes.
func (a *asking) parcel(r standing.Request, key int) []byte {
	a.t.Helper()
	sealed, err := wire.Seal(r.Keys.Public()[key], wire.TypeRelease, wire.ReleaseInfo(r.Asked.Hash()), []byte("plain"))
	if err != nil {
		a.t.Fatal(err)
	}
	return sealed
}

func (a *asking) opens(r standing.Request, key int) bool {
	out, ok := a.Open(a.parcel(r, key))
	return ok && string(out.Plain) == "plain" && out.Asked == r.Asked && out.Key == wire.HPKEHash(r.Keys.Public()[key])
}

func TestOpen(t *testing.T) {
	a := newAsking(t)
	first := a.make("a")
	second := a.make("a") // whose answer is lost: both may be kept
	if !a.opens(first, 3) || a.opens(first, 3) || !a.opens(second, 0) || !a.opens(first, 4) {
		t.Error("not each key opens, and once")
	}
	a.Stands(second.Asked)
	if a.opens(first, 0) || !a.opens(second, 1) {
		t.Error("a request that was replaced is answered, or the one that stands is not")
	}
	other, err := wire.Seal(second.Keys.Public()[2], wire.TypeEnrolled, wire.ReleaseInfo(second.Asked.Hash()), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := a.Open(other); ok {
		t.Error("a message of another type is taken for a release")
	}
	a.age = standing.Life
	if a.opens(second, 2) {
		t.Error("a request is answered after its end")
	}
	a.age = 0
	a.Forget()
	if a.opens(second, 3) {
		t.Error("a key that was forgotten opens")
	}
}

// TestManyLost: the one that stands outlasts those whose answers never came, and they
// are bounded.
func TestManyLost(t *testing.T) {
	a := newAsking(t)
	stands := a.make("a")
	a.Stands(stands.Asked)
	lost := []standing.Request{a.make("a"), a.make("a"), a.make("a"), a.make("a")}
	if !a.opens(stands, 0) || a.opens(lost[0], 0) || !a.opens(lost[1], 0) || !a.opens(lost[3], 0) {
		t.Error("not the one that stands and the last three")
	}
}

func TestDue(t *testing.T) {
	a := newAsking(t)
	one, both := []leases.Ask{{Name: "a"}}, []leases.Ask{{Name: "a"}, {Name: "b"}}
	check := func(what string, asks []leases.Ask, age time.Duration, want bool) {
		t.Helper()
		if a.age = age; a.Due(asks) != want {
			t.Errorf("%s: due is %v", what, !want)
		}
	}
	check("nothing to ask for", nil, 0, false)
	check("nothing made", one, 0, true)
	r := a.make("a")
	check("not answered", one, 0, true)
	a.Stands(r.Asked)
	check("stands", one, 0, false)
	check("fewer", nil, 0, false)
	check("others, at once", both, time.Minute, false)
	check("others, later", both, 5*time.Minute, true)
	check("three eighths of its life", one, standing.Life/8*3-1, false)
	check("five eighths of its life", one, standing.Life/8*5, true)
	for n := range wire.MaxStanding/2 - 1 {
		a.opens(r, n)
	}
	check("more than half of the keys left", one, 0, false)
	a.opens(r, wire.MaxStanding-1)
	check("half of the keys left", one, 0, true)
	a.Forget()
	check("forgotten", one, 0, true)
}

// FuzzOpen: what anybody can leave in a mailbox opens nothing and uses no key up.
func FuzzOpen(f *testing.F) {
	a := newAsking(f)
	r := a.make("a")
	good := a.parcel(r, 0)
	f.Add(good[:len(good)-1])
	f.Add(wire.Marshal(wire.Sealed{Type: wire.TypeRelease, Enc: make([]byte, 1120), CT: []byte{1}}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if string(data) == string(good) {
			return
		}
		if _, ok := a.Open(data); ok {
			t.Error("opened")
		}
		a.Stands(r.Asked)
		if a.Due([]leases.Ask{{Name: "a"}}) {
			t.Error("keys were used up")
		}
	})
}
