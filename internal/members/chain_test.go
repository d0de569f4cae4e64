// SPDX-License-Identifier: Apache-2.0

package members_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"claviger/internal/members"
	"claviger/internal/wire"
)

// apply makes d's state that after a link, which must hold.
func (d *domain) apply(kind string, payload any, signers ...person) {
	d.t.Helper()
	next, err := d.state.Apply(d.link(kind, payload, signers...))
	if err != nil {
		d.t.Fatalf("%s: %v", kind, err)
	}
	d.state = next
}

// refused applies a link that must not hold, and wants the state unchanged.
func (d *domain) refused(kind string, payload any, want error, signers ...person) {
	d.t.Helper()
	before := *d.state
	servers := slices.Clone(d.state.Servers)
	if next, err := d.state.Apply(d.link(kind, payload, signers...)); !errors.Is(err, want) || next != nil {
		d.t.Errorf("%s: got %v, want %v", kind, err, want)
	}
	if !reflect.DeepEqual(before, *d.state) || !reflect.DeepEqual(servers, d.state.Servers) {
		d.t.Errorf("%s: refused, and the state changed", kind)
	}
}

func keySet(threshold uint64, people ...person) members.Keys {
	keys := members.Keys{Threshold: threshold}
	for _, p := range people {
		keys.Keys = append(keys.Keys, p.admin())
	}
	return keys
}

func TestKeySets(t *testing.T) {
	d := newDomain(t)
	dan := newPerson("dan")
	twin := dan
	twin.name = "twin"
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(ec.Public())
	if err != nil {
		t.Fatal(err)
	}
	odd := keySet(1, d.a)
	odd.Keys[0].Public = der
	cut := keySet(1, d.a)
	cut.Keys[0].Public = cut.Keys[0].Public[1:]
	tail := keySet(1, d.a)
	tail.Keys[0].Public = append(slices.Clone(tail.Keys[0].Public), 0)
	badName := keySet(1, d.a)
	badName.Keys[0].Name = "Ann Example"
	sameName := keySet(1, d.a, dan)
	sameName.Keys[1].Name = "ann"
	tests := map[string]members.Keys{
		"none": keySet(0), "no threshold": keySet(0, d.a), "threshold out of reach": keySet(3, d.a, d.b),
		"one key under two names": keySet(1, dan, twin), "one name with two keys": sameName, "a name with a space": badName,
		"P-384": odd, "a key cut short": cut, "a key with a tail": tail, "a server's key": keySet(1, d.a, d.server),
		"17 keys": keySet(1, slices.Repeat([]person{d.a}, members.MaxKeys+1)...),
	}
	for name, keys := range tests {
		t.Log(name)
		d.refused(members.KindKeys, keys, members.ErrChain, d.a, d.b, dan, d.server)
	}
	d.refused(members.KindKeys, struct{ X int }{1}, members.ErrChain, d.a, d.b)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err = x509.MarshalPKIXPublicKey(p256.Public())
	if err != nil {
		t.Fatal(err)
	}
	token := keySet(2, d.a, d.b)
	token.Keys = append(token.Keys, members.Key{Name: "token", Public: der})
	link := d.link(members.KindKeys, token, d.a, d.b)
	link, err = wire.AddSignature(link, wire.TypeBody, wire.MaxMembers, p256)
	if err != nil {
		t.Fatal(err)
	}
	next, err := d.state.Apply(link)
	if err != nil {
		t.Fatalf("a P-256 key: %v", err)
	}
	if k, pub, ok := next.Admin(wire.KeyHash(p256.Public())); !ok || k.Name != "token" || !p256.PublicKey.Equal(pub) {
		t.Error("the new admin is not found by key id")
	}
	if _, _, ok := d.state.Admin(wire.KeyHash(p256.Public())); ok {
		t.Error("an admin before coming")
	}
}

func TestReplacedKeysCountNoMore(t *testing.T) {
	d := newDomain(t)
	dan := newPerson("dan")
	s2 := newPerson("s2")
	d.apply(members.KindKeys, keySet(2, d.a, dan), d.b, d.c, dan)
	d.refused(members.KindJoin, s2.server(), members.ErrThreshold, d.b, d.c, s2)
	d.refused(members.KindJoin, s2.server(), members.ErrThreshold, d.a, d.b, s2)
	d.apply(members.KindJoin, s2.server(), d.a, dan, s2)
	d.apply(members.KindKeys, keySet(1, dan), d.a, dan)
	d.apply(members.KindFence, members.Fence{Server: s2.server().ID()}, dan)
}

func TestRecoveryQuorum(t *testing.T) {
	d := newDomain(t)
	rex, rio, dan, eve := newPerson("rex"), newPerson("rio"), newPerson("dan"), newPerson("eve")
	recovery := members.Recovery{Keys: keySet(2, rex, rio).Keys, Threshold: 2, Wait: 60}
	for name, edit := range map[string]func(*members.Recovery){
		"no threshold":           func(r *members.Recovery) { r.Threshold = 0 },
		"threshold out of reach": func(r *members.Recovery) { r.Threshold = 3 },
		"no keys":                func(r *members.Recovery) { r.Keys = nil },
		"a wait of years":        func(r *members.Recovery) { r.Wait = members.MaxRecoveryWait + 1 },
		"one key twice":          func(r *members.Recovery) { r.Keys = append(r.Keys[:1:1], r.Keys[0]) },
		"a server's key":         func(r *members.Recovery) { r.Keys = append(r.Keys[:1:1], d.server.admin()) },
		"17 keys":                func(r *members.Recovery) { r.Keys = make([]members.Key, members.MaxKeys+1) },
	} {
		r := recovery
		edit(&r)
		t.Log(name)
		d.refused(members.KindRecovery, r, members.ErrChain, d.a, d.b)
	}
	d.refused(members.KindRecovery, recovery, members.ErrThreshold, d.a)
	d.refused(members.KindRecovery, recovery, members.ErrThreshold, rex, rio)
	d.apply(members.KindRecovery, recovery, d.a, d.b)

	fresh := keySet(2, dan, eve)
	d.refused(members.KindRecover, fresh, members.ErrThreshold, rex, dan, eve)
	d.refused(members.KindRecover, fresh, members.ErrThreshold, d.a, d.b, d.c, dan, eve)
	d.refused(members.KindRecover, fresh, members.ErrThreshold, rex, rio, dan)
	d.refused(members.KindRecover, keySet(1, dan, eve), members.ErrChain, rex, rio, dan, eve)
	d.refused(members.KindKeys, fresh, members.ErrThreshold, rex, rio, dan, eve)
	// A recovery asks every key it names, also one that was there before.
	d.refused(members.KindRecover, keySet(2, dan, d.a), members.ErrThreshold, rex, rio, dan)
	d.apply(members.KindRecover, fresh, rex, rio, dan, eve)
	if d.state.Keys.Keys[0].Name != "dan" || len(d.state.Recovery.Keys) != 2 {
		t.Error("after the recovery")
	}
	d.apply(members.KindRecovery, members.Recovery{}, dan, eve)
	d.refused(members.KindRecover, fresh, members.ErrThreshold, rex, rio, dan, eve)
}

func TestServersComeAndGo(t *testing.T) {
	d := newDomain(t)
	s1, s2 := d.server.server().ID(), newPerson("s2")
	other := newPerson("s1") // another key under a name in use
	quorum := []person{d.a, d.b}
	d.refused(members.KindJoin, other.server(), members.ErrChain, d.a, d.b, other)
	d.refused(members.KindJoin, d.server.server(), members.ErrChain, d.a, d.b, d.server)
	short := s2.server()
	short.EpochKey = short.EpochKey[1:]
	d.refused(members.KindJoin, short, members.ErrChain, d.a, d.b, s2)
	named := s2.server()
	named.Name = "S 2"
	d.refused(members.KindJoin, named, members.ErrChain, d.a, d.b, s2)
	person := members.Server{Name: "s3", Key: d.c.public(), EpochKey: make([]byte, wire.PublicKeySize)}
	d.refused(members.KindJoin, person, members.ErrChain, d.a, d.b, d.c)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(p256.Public())
	if err != nil {
		t.Fatal(err)
	}
	d.refused(members.KindJoin, members.Server{Name: "s3", Key: der, EpochKey: make([]byte, wire.PublicKeySize)}, members.ErrChain, quorum...)
	d.apply(members.KindJoin, s2.server(), d.a, d.b, s2)

	status := func(id wire.ServerID) members.Status {
		m, _ := d.state.Server(id)
		return m.Status
	}
	two := members.Fence{Server: s2.server().ID()}
	d.refused(members.KindUnfence, two, members.ErrChain, quorum...)
	d.apply(members.KindFence, two, d.c)
	d.refused(members.KindFence, two, members.ErrChain, d.c)
	if status(two.Server) != members.StatusFenced || status(s1) != members.StatusActive || two.Server == s1 {
		t.Error("after fencing")
	}
	d.apply(members.KindUnfence, two, quorum...)
	d.apply(members.KindFence, two, d.c)
	d.apply(members.KindLeave, two, quorum...)
	if status(two.Server) != members.StatusLeft || status(two.Server).String() != "left" {
		t.Error("after leaving")
	}
	d.refused(members.KindLeave, two, members.ErrChain, quorum...)
	d.refused(members.KindUnfence, two, members.ErrChain, quorum...)
	d.refused(members.KindJoin, s2.server(), members.ErrChain, d.a, d.b, s2) // its key is used up
	again := newPerson("s2")
	d.apply(members.KindJoin, again.server(), d.a, d.b, again) // its name is not
	if _, ok := d.state.Server(wire.ServerID{9}); ok || len(d.state.Servers) != 3 {
		t.Error("servers")
	}
	d.refused(members.KindFence, members.Fence{Server: wire.ServerID{9}}, members.ErrChain, d.a)
	d.refused(members.KindFence, members.Fence{Server: s1, Reason: strings.Repeat("r", wire.MaxReason+1)}, members.ErrChain, d.a)
}

func TestServerLimit(t *testing.T) {
	d := newDomain(t)
	for i := range members.MaxServers - 1 {
		s := newPerson("s" + string(rune('a'+i)))
		d.apply(members.KindJoin, s.server(), d.a, d.b, s)
	}
	more := newPerson("more")
	d.refused(members.KindJoin, more.server(), members.ErrChain, d.a, d.b, more)
	d.apply(members.KindLeave, members.Fence{Server: d.server.server().ID()}, d.a, d.b)
	d.apply(members.KindJoin, more.server(), d.a, d.b, more)
}

func TestAnchors(t *testing.T) {
	d := newDomain(t)
	outside := func(name, prefix string) members.Anchor {
		return members.Anchor{Name: name, Prefix: prefix, Roots: [][]byte{{1}}}
	}
	embedded := members.Anchor{Name: "embedded", Prefix: "spiffe://test/workload/", Embedded: true}
	rooted, empty, large := embedded, outside("x", "spiffe://x/workload/"), outside("x", "spiffe://x/workload/")
	rooted.Roots = [][]byte{{1}}
	empty.Roots = [][]byte{{}}
	large.Intermediates = [][]byte{make([]byte, wire.MaxCertificate+1)}
	rootless, many, foreign := outside("x", "spiffe://x/workload/"), outside("x", "spiffe://x/workload/"), embedded
	rootless.Roots, rootless.Intermediates = nil, [][]byte{{1}}
	many.Roots = slices.Repeat([][]byte{{1}}, 9)
	foreign.Prefix = "spiffe://other/workload/"
	tests := map[string][]members.Anchor{
		"an embedded one with roots": {rooted}, "an outside one without roots": {rootless}, "nine certificates": {many},
		"an empty certificate": {empty}, "a large certificate": {large}, "an embedded one for another name": {foreign},
		"one name twice":       {outside("x", "spiffe://x/workload/"), outside("x", "spiffe://y/workload/")},
		"one prefix twice":     {outside("x", "spiffe://x/workload/"), outside("y", "spiffe://x/workload/")},
		"a prefix in another":  {outside("x", "spiffe://x/workload/"), outside("y", "spiffe://x/workload/a/")},
		"another in a prefix":  {outside("x", "spiffe://x/workload/a/"), outside("y", "spiffe://x/workload/")},
		"no path":              {outside("x", "spiffe://x/")},
		"no scheme":            {outside("x", "x/workload/")},
		"a prefix within":      {outside("x", "spiffe://x/workload/a")},
		"a path that climbs":   {outside("x", "spiffe://x/workload/../")},
		"an empty part":        {outside("x", "spiffe://x/workload//")},
		"no trust domain":      {outside("x", "spiffe:///workload/")},
		"a deep trust domain":  {outside("x", "spiffe://x/y/workload/")},
		"a long prefix":        {outside("x", "spiffe://x/workload/"+strings.Repeat("a", 256)+"/")},
		"a name with a space":  {outside("a b", "spiffe://x/workload/")},
		"more than eight":      make([]members.Anchor, members.MaxAnchors+1),
		"the second one wrong": {embedded, outside("", "spiffe://x/workload/")},
	}
	for name, anchors := range tests {
		t.Log(name)
		d.refused(members.KindAnchors, members.Anchors{Anchors: anchors}, members.ErrChain, d.a, d.b)
	}
	good := []members.Anchor{embedded, outside("x", "spiffe://x/workload/"), outside("y", "spiffe://y/workload/a/"), outside("z", "spiffe://y/workload/ab/")}
	d.apply(members.KindAnchors, members.Anchors{Anchors: good}, d.a, d.b)
	if len(d.state.Anchors) != 4 {
		t.Error("anchors")
	}
}

func TestRestoreRaisesTheGeneration(t *testing.T) {
	d := newDomain(t)
	d.refused(members.KindRestore, members.Restore{Generation: 1}, members.ErrChain, d.a, d.b)
	d.refused(members.KindRestore, members.Restore{Generation: 2, Reason: strings.Repeat("r", wire.MaxReason+1)}, members.ErrChain, d.a, d.b)
	d.apply(members.KindRestore, members.Restore{Generation: 2}, d.a, d.b)
	d.apply(members.KindRestore, members.Restore{Generation: 3}, d.b, d.c)
	if d.state.Generation != 3 {
		t.Errorf("generation %d", d.state.Generation)
	}
}

// TestChainIsNotBlownUp holds against an admin who would use the chain up.
func TestChainIsNotBlownUp(t *testing.T) {
	d := newDomain(t)
	fence := members.Fence{Server: d.server.server().ID()}
	junk := []person{d.a}
	for range members.MaxKeys + 1 {
		junk = append(junk, newPerson("junk"))
	}
	d.refused(members.KindFence, fence, members.ErrChain, junk...)
	body := wire.Marshal(wire.Body{
		Type: wire.TypeBody, Domain: d.state.Domain, Kind: members.KindFence, ID: wire.BodyID{1}, Expires: 1, Replaces: d.state.Newest,
		Payload: wire.Marshal(fence),
	})
	chained, err := wire.SignChain(wire.TypeBody, body, [][]byte{make([]byte, 10000)}, d.a.key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.state.Apply(chained); !errors.Is(err, members.ErrChain) {
		t.Errorf("a link with certificates: %v", err)
	}
	// What joins fill stops short of the end: keys can still be changed.
	for i := 0; ; i++ {
		s := newPerson("s" + strings.Repeat("x", i))
		next, err := d.state.Apply(d.link(members.KindJoin, s.server(), d.a, d.b, s))
		if errors.Is(err, members.ErrChain) {
			break
		}
		if err != nil || i > 100 {
			t.Fatal(err)
		}
		d.state = next
		next, err = d.state.Apply(d.link(members.KindLeave, members.Fence{Server: s.server().ID()}, d.a, d.b))
		if errors.Is(err, members.ErrChain) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		d.state = next
	}
	size := 0
	for _, link := range d.state.Chain {
		size += len(link)
	}
	if size < wire.MaxMembers-20<<10 || size > wire.MaxMembers-16<<10 {
		t.Errorf("joins fill %d bytes of %d", size, wire.MaxMembers)
	}
	dan := newPerson("dan")
	d.apply(members.KindKeys, keySet(2, d.a, d.b, dan), d.a, d.b, dan)
	if _, err := members.Verify(d.state.Chain, d.state.Domain); err != nil {
		t.Errorf("the whole chain: %v", err)
	}
	for {
		next, err := d.state.Apply(d.link(members.KindKeys, keySet(2, d.a, d.b, dan), d.a, d.b))
		if err != nil {
			if !errors.Is(err, members.ErrChain) {
				t.Error(err)
			}
			break
		}
		d.state = next
	}
	if _, err := members.Verify(append(d.state.Chain, make([]byte, wire.MaxMembers)), d.state.Domain); !errors.Is(err, members.ErrChain) {
		t.Errorf("a chain over the limit: %v", err)
	}
}

func TestFoundRefuses(t *testing.T) {
	good := func() members.Genesis {
		a, s := newPerson("ann"), newPerson("s1")
		return members.Genesis{Name: "test", RootGeneration: 1, Root: wire.Sum("root"), Server: s.server(), Keys: keySet(1, a)}
	}
	d := newDomain(t)
	tests := map[string]func(*members.Genesis, *wire.Body){
		"no name":           func(g *members.Genesis, _ *wire.Body) { g.Name = "" },
		"no root":           func(g *members.Genesis, _ *wire.Body) { g.Root = wire.Hash{} },
		"root generation":   func(g *members.Genesis, _ *wire.Body) { g.RootGeneration = 2 },
		"no keys":           func(g *members.Genesis, _ *wire.Body) { g.Keys = members.Keys{} },
		"half a recovery":   func(g *members.Genesis, _ *wire.Body) { g.Recovery.Threshold = 1 },
		"an anchor":         func(g *members.Genesis, _ *wire.Body) { g.Anchors = make([]members.Anchor, 1) },
		"a server":          func(g *members.Genesis, _ *wire.Body) { g.Server.EpochKey = nil },
		"a server as admin": func(g *members.Genesis, _ *wire.Body) { g.Server.Key = g.Keys.Keys[0].Public },
		"a server recovers": func(g *members.Genesis, _ *wire.Body) {
			g.Recovery = members.Recovery{Keys: []members.Key{{Name: "r", Public: g.Server.Key}}, Threshold: 1}
		},
		"another kind":      func(_ *members.Genesis, b *wire.Body) { b.Kind = members.KindKeys },
		"a domain":          func(_ *members.Genesis, b *wire.Body) { b.Domain = wire.DomainID{1} },
		"a base":            func(_ *members.Genesis, b *wire.Body) { b.Base.Position = 1 },
		"a base's head":     func(_ *members.Genesis, b *wire.Body) { b.BaseHead = wire.Hash{1} },
		"replaces anything": func(_ *members.Genesis, b *wire.Body) { b.Replaces = wire.Hash{1} },
	}
	for name, edit := range tests {
		g := good()
		a := newPerson("ann")
		g.Keys = keySet(1, a)
		body := wire.Body{Kind: members.KindGenesis}
		edit(&g, &body)
		body.Payload = wire.Marshal(g)
		if _, err := members.Found(d.sign(body, a)); !errors.Is(err, members.ErrChain) {
			t.Errorf("%s: %v", name, err)
		}
	}
	g, a := good(), newPerson("ann")
	g.Keys = keySet(1, a)
	body := wire.Body{Kind: members.KindGenesis, Payload: wire.Marshal(g)}
	if _, err := members.Found(d.sign(body, newPerson("ann"))); !errors.Is(err, members.ErrThreshold) {
		t.Errorf("signed by nobody whom it names: %v", err)
	}
	body.Payload = append(body.Payload, 0)
	if _, err := members.Found(d.sign(body, a)); !errors.Is(err, members.ErrChain) {
		t.Errorf("with a tail: %v", err)
	}
	for _, garbage := range [][]byte{nil, []byte("x")} {
		if _, err := members.Found(garbage); !errors.Is(err, members.ErrChain) {
			t.Errorf("garbage: %v", err)
		}
		if _, err := d.state.Apply(garbage); !errors.Is(err, members.ErrChain) {
			t.Errorf("garbage link: %v", err)
		}
	}
	if _, err := members.Verify(nil, d.state.Domain); !errors.Is(err, members.ErrChain) {
		t.Errorf("an empty chain: %v", err)
	}
}

// TestReplayedLink plays a fence again that would hold if it were new.
func TestReplayedLink(t *testing.T) {
	d := newDomain(t)
	s2 := newPerson("s2")
	d.apply(members.KindJoin, s2.server(), d.a, d.b, s2)
	two := members.Fence{Server: s2.server().ID()}
	fence := d.link(members.KindFence, two, d.a)
	next, err := d.state.Apply(fence)
	if err != nil {
		t.Fatal(err)
	}
	d.state = next
	d.apply(members.KindUnfence, two, d.a, d.b)
	if _, err := d.state.Apply(fence); !errors.Is(err, members.ErrChain) {
		t.Errorf("the same fence again: %v", err)
	}
	if _, err := members.Verify(append(slices.Clip(d.state.Chain), fence), d.state.Domain); !errors.Is(err, members.ErrChain) {
		t.Errorf("a chain that ends with it: %v", err)
	}
}

// TestApplyLeavesTheOldState applies two different links to one state.
func TestApplyLeavesTheOldState(t *testing.T) {
	d := newDomain(t)
	s2, s3 := newPerson("s2"), newPerson("s3")
	d.apply(members.KindJoin, s2.server(), d.a, d.b, s2)
	base := *d.state
	base.Servers = slices.Clone(base.Servers)
	one, err := d.state.Apply(d.link(members.KindJoin, s3.server(), d.a, d.b, s3))
	if err != nil {
		t.Fatal(err)
	}
	two, err := d.state.Apply(d.link(members.KindFence, members.Fence{Server: s2.server().ID()}, d.a))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(base, *d.state) || len(one.Servers) != 3 || len(two.Servers) != 2 || one.Newest == two.Newest {
		t.Error("one link shows in the other's state")
	}
	if one.Contains(two.Newest) || !one.Contains(base.Newest) || !two.Contains(base.Newest) {
		t.Error("the chains run into each other")
	}
	if m, _ := one.Server(s2.server().ID()); m.Status != members.StatusActive {
		t.Error("fenced in the wrong state")
	}
}
