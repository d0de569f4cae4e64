// SPDX-License-Identifier: Apache-2.0

package members_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"testing"

	"claviger/internal/members"
	"claviger/internal/wire"
)

// person is an admin or a server with a signing key.
type person struct {
	name string
	key  ed25519.PrivateKey
}

func newPerson(name string) person {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	return person{name, key}
}

func (p person) public() []byte {
	der, _ := x509.MarshalPKIXPublicKey(p.key.Public())
	return der
}

func (p person) admin() members.Key { return members.Key{Name: p.name, Public: p.public()} }

func (p person) server() members.Server {
	return members.Server{Name: p.name, Key: p.public(), EpochKey: make([]byte, wire.PublicKeySize)}
}

// domain is a domain of three admins, threshold two, with one server.
type domain struct {
	t       testing.TB
	a, b, c person
	server  person
	state   *members.State
}

func newDomain(t testing.TB) *domain {
	t.Helper()
	d := &domain{t: t, a: newPerson("ann"), b: newPerson("bob"), c: newPerson("cyd"), server: newPerson("s1")}
	g := members.Genesis{
		Name: "test", RootGeneration: 1, Root: wire.Sum("root"), Server: d.server.server(),
		Keys:    members.Keys{Keys: []members.Key{d.a.admin(), d.b.admin(), d.c.admin()}, Threshold: 2},
		Anchors: []members.Anchor{{Name: "embedded", Prefix: "spiffe://test/workload/", Embedded: true}},
	}
	rand.Read(g.Random[:])
	entry := d.sign(wire.Body{Kind: members.KindGenesis, Payload: wire.Marshal(g)}, d.a)
	state, err := members.Found(entry)
	if err != nil {
		t.Fatal(err)
	}
	d.state = state
	return d
}

func (d *domain) sign(body wire.Body, signers ...person) []byte {
	body.Type, body.Expires = wire.TypeBody, 1
	rand.Read(body.ID[:])
	var keys []crypto.Signer
	for _, s := range signers {
		keys = append(keys, s.key)
	}
	out, err := wire.Sign(wire.TypeBody, wire.Marshal(body), keys...)
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

func (d *domain) link(kind string, payload any, signers ...person) []byte {
	return d.sign(wire.Body{Domain: d.state.Domain, Kind: kind, Replaces: d.state.Newest, Payload: wire.Marshal(payload)}, signers...)
}

func TestThresholds(t *testing.T) {
	d := newDomain(t)
	s2, dan, mallory := newPerson("s2"), newPerson("dan"), newPerson("mal")
	fence := members.Fence{Server: d.server.server().ID()}
	newKeys := members.Keys{Keys: []members.Key{d.a.admin(), dan.admin()}, Threshold: 2}
	tests := []struct {
		name    string
		kind    string
		payload any
		signers []person
		want    error
	}{
		{"join by a quorum and the server", members.KindJoin, s2.server(), []person{d.a, d.b, s2}, nil},
		{"join by one", members.KindJoin, s2.server(), []person{d.a, s2}, members.ErrThreshold},
		{"join without the server's signature", members.KindJoin, s2.server(), []person{d.a, d.b}, members.ErrThreshold},
		{"join signed by strangers", members.KindJoin, s2.server(), []person{mallory, dan, s2}, members.ErrThreshold},
		{"fence by one admin", members.KindFence, fence, []person{d.c}, nil},
		{"fence by the server itself", members.KindFence, fence, []person{d.server}, members.ErrThreshold},
		{"keys by quorum and newcomer", members.KindKeys, newKeys, []person{d.b, d.c, dan}, nil},
		{"keys without the newcomer", members.KindKeys, newKeys, []person{d.b, d.c}, members.ErrThreshold},
		{"keys by one and the newcomer", members.KindKeys, newKeys, []person{d.a, dan}, members.ErrThreshold},
		{"recover without a recovery quorum", members.KindRecover, newKeys, []person{d.a, d.b, d.c, dan}, members.ErrThreshold},
		{"leave by one", members.KindLeave, fence, []person{d.a}, members.ErrThreshold},
		{"unfence of a server that serves", members.KindUnfence, fence, []person{d.a, d.b}, members.ErrChain},
		{"restore by one", members.KindRestore, members.Restore{Generation: 2}, []person{d.a}, members.ErrThreshold},
		{"restore that skips a generation", members.KindRestore, members.Restore{Generation: 3}, []person{d.a, d.b}, members.ErrChain},
		{"anchors by one", members.KindAnchors, members.Anchors{}, []person{d.a}, members.ErrThreshold},
		{"unknown kind", "members.other", fence, []person{d.a, d.b}, members.ErrChain},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := d.state.Apply(d.link(test.kind, test.payload, test.signers...))
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestChainOrderAndPin(t *testing.T) {
	d := newDomain(t)
	s2, s3 := newPerson("s2"), newPerson("s3")
	join := d.link(members.KindJoin, s2.server(), d.a, d.b, s2)
	one, err := d.state.Apply(join)
	if err != nil {
		t.Fatal(err)
	}
	d.state = one
	two, err := one.Apply(d.link(members.KindJoin, s3.server(), d.a, d.b, s3))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := members.Verify(two.Chain, two.Domain); err != nil {
		t.Fatalf("whole chain: %v", err)
	}
	if _, err := members.Verify(two.Chain, wire.DomainID{1}); !errors.Is(err, members.ErrChain) {
		t.Errorf("other pin: %v", err)
	}
	swapped := [][]byte{two.Chain[0], two.Chain[2], two.Chain[1]}
	if _, err := members.Verify(swapped, two.Domain); !errors.Is(err, members.ErrChain) {
		t.Errorf("swapped links: %v", err)
	}
	if _, err := two.Apply(join); !errors.Is(err, members.ErrChain) {
		t.Errorf("replayed link: %v", err)
	}
	if !two.Contains(one.Newest) || one.Contains(two.Newest) {
		t.Error("Contains does not tell an older chain from a newer one")
	}
}

func TestFencedServerHasNoKey(t *testing.T) {
	d := newDomain(t)
	id := d.server.server().ID()
	if _, err := d.state.ServerKey(id); err != nil {
		t.Fatal(err)
	}
	fenced, err := d.state.Apply(d.link(members.KindFence, members.Fence{Server: id}, d.a))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fenced.ServerKey(id); !errors.Is(err, members.ErrChain) {
		t.Errorf("fenced server's key: %v", err)
	}
	if _, err := d.state.ServerKey(wire.ServerID{9}); !errors.Is(err, members.ErrChain) {
		t.Errorf("unknown server's key: %v", err)
	}
}

func TestLinkOfAnotherDomainIsRefused(t *testing.T) {
	d, other := newDomain(t), newDomain(t)
	s2 := newPerson("s2")
	link := d.sign(wire.Body{
		Domain: other.state.Domain, Kind: members.KindJoin, Replaces: d.state.Newest, Payload: wire.Marshal(s2.server()),
	}, d.a, d.b, s2)
	if _, err := d.state.Apply(link); !errors.Is(err, members.ErrChain) {
		t.Errorf("got %v", err)
	}
}
