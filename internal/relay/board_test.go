// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"bytes"
	"crypto/ed25519"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/members"
	"claviger/internal/relay"
	"claviger/internal/wire"
)

// list reads an array of messages.
func (c *caller) list(target string) [][]byte {
	c.t.Helper()
	got := c.ask("GET", target, nil)
	must(c.t, target, got)
	var out [][]byte
	if err := wire.Unmarshal(got.body, &out, 4<<20); err != nil {
		c.t.Fatal(err)
	}
	return out
}

func TestBoard(t *testing.T) {
	d := newDomain(t)
	x := start(t, setup{domains: []wire.DomainID{d.id()}})
	reader := x.caller()
	if got := reader.list(d.board("introductions")); len(got) != 0 {
		t.Errorf("an empty board shows %d introductions", len(got))
	}
	if got := reader.ask("GET", d.board("statements"), nil); !bytes.Equal(got.body, []byte{0x80}) || got.header.Get("Content-Type") != "application/cbor" {
		t.Errorf("an empty board shows %x", got.body)
	}
	second := newPerson("s2")
	d.change(members.KindJoin, second.joined(), second)
	one, two := x.server(d, d.first), x.server(d, second)
	now := one.box.now()
	first := one.statement(now)
	must(t, "statement", one.box.owner("PUT", d.board("statement"), first))
	must(t, "statement", two.box.owner("PUT", d.board("statement"), two.statement(now)))
	if got := reader.list(d.board("introductions")); len(got) != 2 {
		t.Errorf("%d introductions", len(got))
	}
	if got := reader.list(d.board("statements")); len(got) != 2 {
		t.Errorf("%d statements", len(got))
	}
	newer := one.statement(now.Add(time.Millisecond))
	must(t, "a newer statement", one.box.owner("PUT", d.board("statement"), newer))
	must(t, "the same again", one.box.owner("PUT", d.board("statement"), newer))
	one.box.owner("PUT", d.board("statement"), first).is(t, "an older statement", 409, "refused")
	got := reader.list(d.board("statements"))
	if len(got) != 2 || !bytes.Equal(got[0], newer) && !bytes.Equal(got[1], newer) {
		t.Error("the newer statement isn't there")
	}
	one.introduce(now.Add(-time.Minute)).is(t, "an older introduction", 409, "refused")
	must(t, "a newer introduction", one.introduce(now.Add(time.Second)))
	if got := reader.list(d.board("introductions")); len(got) != 2 {
		t.Errorf("%d introductions after a renewal", len(got))
	}
}

func TestIntroductionsRefused(t *testing.T) {
	d, other := newDomain(t), newDomain(t)
	x := start(t, setup{domains: []wire.DomainID{d.id()}})
	now := clock.System().Now()
	make := func(edit func(*wire.Descriptor)) *keyServer {
		return &keyServer{domain: d, person: d.first, box: x.caller(), edit: edit}
	}
	for name, s := range map[string]*keyServer{
		"an expired descriptor": make(func(d *wire.Descriptor) {
			d.Issued, d.NotAfter = now.Add(-2*time.Hour).UnixMilli(), now.Add(-time.Hour).UnixMilli()
		}),
		"one from the future":       make(func(d *wire.Descriptor) { d.Issued += 120_000 }),
		"another domain's":          make(func(d *wire.Descriptor) { d.Domain[0]++ }),
		"another mailbox":           make(func(d *wire.Descriptor) { d.Mailbox[0]++ }),
		"no mailbox":                make(func(d *wire.Descriptor) { d.Mailbox = wire.Hash{} }),
		"another server's name":     make(func(d *wire.Descriptor) { d.Server[0]++ }),
		"signed by nobody's key":    {domain: d, person: newPerson("s1"), box: x.caller(), edit: func(e *wire.Descriptor) { e.Server = wire.ServerIDOf(d.first.key.Public()) }},
		"a server that didn't join": {domain: d, person: newPerson("s9"), box: x.caller()},
		"a chain of another domain": {domain: other, person: other.first, box: x.caller(), edit: func(e *wire.Descriptor) { e.Domain = d.id() }},
	} {
		s.box.owner("PUT", d.board("introduction"), s.introduction(now)).is(t, name, 403, "denied")
	}
	s := make(nil)
	s.box.owner("PUT", d.board("introduction"), []byte("garbage")).is(t, "garbage", 400, "malformed")
	s.box.owner("PUT", d.board("introduction"), bytes.Repeat([]byte{1}, wire.MaxIntroduction+1)).is(t, "too large", 413, "too-large")
	if got := s.box.list(d.board("introductions")); len(got) != 0 {
		t.Errorf("the board shows %d", len(got))
	}
}

func TestStatementsRefused(t *testing.T) {
	d := newDomain(t)
	x := start(t, setup{domains: []wire.DomainID{d.id()}})
	second := newPerson("s2")
	d.change(members.KindJoin, second.joined(), second)
	now := clock.System().Now()
	early := &keyServer{domain: d, person: d.first, box: x.caller()}
	early.box.owner("PUT", d.board("statement"), early.statement(now)).is(t, "without an introduction", 403, "denied")
	one, two := x.server(d, d.first), x.server(d, second)
	one.box.owner("PUT", d.board("statement"), two.statement(now)).is(t, "of another server", 403, "denied")
	x.caller().owner("PUT", d.board("statement"), one.statement(now)).is(t, "from another mailbox", 403, "denied")
	one.box.owner("PUT", d.board("statement"), one.statement(now.Add(2*time.Minute))).is(t, "from the future", 403, "denied")
	forged := &keyServer{domain: d, person: newPerson("s1"), box: one.box}
	st := wire.Statement{Type: wire.TypeStatement, Domain: d.id(), Server: wire.ServerIDOf(d.first.key.Public()), Issued: now.UnixMilli()}
	signed, err := wire.Sign(wire.TypeStatement, wire.Marshal(st), forged.key)
	if err != nil {
		t.Fatal(err)
	}
	one.box.owner("PUT", d.board("statement"), signed).is(t, "signed with another key", 403, "denied")
	st.Domain[0]++
	if signed, err = wire.Sign(wire.TypeStatement, wire.Marshal(st), d.first.key); err != nil {
		t.Fatal(err)
	}
	one.box.owner("PUT", d.board("statement"), signed).is(t, "of another domain", 403, "denied")
	one.box.owner("PUT", d.board("statement"), []byte("garbage")).is(t, "garbage", 400, "malformed")
	if got := one.box.list(d.board("statements")); len(got) != 0 {
		t.Errorf("the board shows %d", len(got))
	}
}

// TestFencedServer: as soon as another server's introduction says that one is
// fenced, it is shown to nobody and takes no place.
func TestFencedServer(t *testing.T) {
	d := newDomain(t)
	x := start(t, setup{domains: []wire.DomainID{d.id()}})
	second := newPerson("s2")
	d.change(members.KindJoin, second.joined(), second)
	two := x.server(d, second)
	before := *d
	now := two.box.now()
	must(t, "statement", two.box.owner("PUT", d.board("statement"), two.statement(now)))
	d.fence(second)
	one := x.server(d, d.first)
	must(t, "statement", one.box.owner("PUT", d.board("statement"), one.statement(now)))
	for _, what := range []string{"introductions", "statements"} {
		if got := one.box.list(d.board(what)); len(got) != 1 {
			t.Errorf("%d %s", len(got), what)
		}
	}
	two.box.owner("PUT", d.board("statement"), two.statement(now.Add(time.Second))).is(t, "a statement of a fenced server", 403, "denied")
	old := &keyServer{domain: &before, person: second, box: two.box}
	two.box.owner("PUT", d.board("introduction"), old.introduction(now.Add(time.Second))).is(t, "with the chain from before", 403, "denied")
	two.introduce(now.Add(time.Second)).is(t, "with the newest chain", 403, "denied")
	behind := &keyServer{domain: &before, person: d.first, box: x.caller()}
	must(t, "a server that serves, behind", behind.introduce(now.Add(2*time.Second)))
}

// TestContradictingChains: two histories of one domain don't stand on one board.
func TestContradictingChains(t *testing.T) {
	d := newDomain(t)
	x := start(t, setup{domains: []wire.DomainID{d.id()}})
	second, third := newPerson("s2"), newPerson("s3")
	fork := *d
	d.change(members.KindJoin, second.joined(), second)
	fork.change(members.KindJoin, third.joined(), third)
	x.server(d, second)
	other := &keyServer{domain: &fork, person: third, box: x.caller()}
	other.introduce(other.box.now()).is(t, "another history", 409, "refused")
}

func TestBoardIsBounded(t *testing.T) {
	d := newDomain(t)
	people := []person{d.first}
	for range wire.MaxBoardServers {
		p := newPerson("s" + string(rune('b'+len(people))))
		if len(people) == members.MaxServers { // a domain has no more than the board holds
			break
		}
		d.change(members.KindJoin, p.joined(), p)
		people = append(people, p)
	}
	x := start(t, setup{domains: []wire.DomainID{d.id()}})
	for _, p := range people[:min(len(people), wire.MaxBoardServers)] {
		x.server(d, p)
	}
	if got := x.caller().list(d.board("introductions")); len(got) != min(len(people), wire.MaxBoardServers) {
		t.Errorf("%d introductions", len(got))
	}
	if len(people) > wire.MaxBoardServers {
		s := &keyServer{domain: d, person: people[wire.MaxBoardServers], box: x.caller()}
		s.introduce(s.box.now()).is(t, "one too many", 429, "full")
	}
}

func TestDescriptorsEnd(t *testing.T) {
	clk := clock.NewManual(clock.System().Now())
	d := newDomain(t)
	x := start(t, setup{domains: []wire.DomainID{d.id()}, options: func(o *relay.Options) { o.Clock = clk }})
	s := &keyServer{domain: d, person: d.first, box: x.caller()}
	s.box.now = clk.Now
	must(t, "introduction", s.introduce(clk.Now()))
	must(t, "statement", s.box.owner("PUT", d.board("statement"), s.statement(clk.Now())))
	clk.Advance(12*time.Hour + time.Second)
	for _, what := range []string{"introductions", "statements"} {
		if got := s.box.list(d.board(what)); len(got) != 0 {
			t.Errorf("%d %s of a server whose descriptor has ended", len(got), what)
		}
	}
	s.box.owner("PUT", d.board("statement"), s.statement(clk.Now())).is(t, "a statement then", 403, "denied")
	must(t, "the next descriptor", s.introduce(clk.Now()))
	must(t, "the next statement", s.box.owner("PUT", d.board("statement"), s.statement(clk.Now())))
}

func TestBoardWritesAreRationed(t *testing.T) {
	clk := clock.NewManual(clock.System().Now())
	d := newDomain(t)
	x := start(t, setup{domains: []wire.DomainID{d.id()}, options: func(o *relay.Options) { o.Clock = clk }})
	s := &keyServer{domain: d, person: d.first, box: x.caller()}
	s.box.now = clk.Now
	for range 20 {
		must(t, "introduction", s.introduce(clk.Now()))
	}
	s.introduce(clk.Now()).is(t, "the next", 429, "busy")
	clk.Advance(time.Second)
	must(t, "a second later", s.introduce(clk.Now()))
}

func TestFollow(t *testing.T) {
	x, server, _ := one(t, setup{front: func(f *relay.Front) { f.Hurry(5*time.Second, time.Second, 20*time.Millisecond) }})
	now := server.box.now()
	first := server.statement(now)
	put := func(s []byte) { must(t, "statement", server.box.owner("PUT", server.board("statement"), s)) }
	put(first)
	stream := x.caller().stream(server.board("follow"))
	if got, err := stream.next(); err != nil || !bytes.Equal(got, first) {
		t.Fatalf("the newest comes first: %v", err)
	}
	second := server.statement(now.Add(time.Millisecond))
	put(second)
	if got, err := stream.next(); err != nil || !bytes.Equal(got, second) {
		t.Fatalf("then each new one: %v", err)
	}
	var head [8]byte // two signs of life
	if _, err := stream.resp.Body.Read(head[:1]); err != nil || head[0] != 0 {
		t.Errorf("no sign of life: %v", err)
	}
}

func TestMailboxRequests(t *testing.T) {
	x, server, _ := one(t, setup{})
	target := boxPath(server.box.id(), "tokens")
	body := wire.Marshal([]wire.Hash{{1}})
	for name, edit := range map[string]func(*wire.MailboxRequest){
		"another relay's":     func(m *wire.MailboxRequest) { m.Audience = "https://relay.example:8444" },
		"no audience":         func(m *wire.MailboxRequest) { m.Audience = "" },
		"another method":      func(m *wire.MailboxRequest) { m.Method = "GET" },
		"another target":      func(m *wire.MailboxRequest) { m.Target += "x" },
		"another body":        func(m *wire.MailboxRequest) { m.Body[0]++ },
		"replayed after 61 s": func(m *wire.MailboxRequest) { m.Issued -= 61_000 },
		"61 s ahead":          func(m *wire.MailboxRequest) { m.Issued += 61_000 },
		"another key's":       func(m *wire.MailboxRequest) { m.Mailbox = newPerson("x").key.Public().(ed25519.PublicKey) },
		"another type":        func(m *wire.MailboxRequest) { m.Type = wire.TypeAck },
	} {
		server.box.edit = edit
		server.box.owner("PUT", target, body).is(t, name, 401, "unauthenticated")
	}
	server.box.edit = nil
	must(t, "an honest one", server.box.owner("PUT", target, body))
	stranger := x.caller()
	stranger.owner("PUT", target, body).is(t, "another mailbox's", 401, "unauthenticated")
	good := server.box.prove("PUT", target, body)
	for name, headers := range map[string][]string{
		"none": nil, "two": {"Authorization", good, "Authorization", good}, "another scheme": {"Authorization", "Bearer x"},
		"garbage": {"Authorization", "Claviger AAAA"}, "padded": {"Authorization", good + "="}, "huge": {"Authorization", "Claviger " + string(bytes.Repeat([]byte("A"), 6000))},
	} {
		server.box.ask("PUT", target, body, headers...).is(t, name, 401, "unauthenticated")
	}
	must(t, "the same again: it may be repeated", server.box.ask("PUT", target, body, "Authorization", good))
	for _, what := range []string{"receive", "parcels/1"} {
		method := map[string]string{"receive": "GET", "parcels/1": "DELETE"}[what]
		path := boxPath(server.box.id(), what)
		stranger.owner(method, path, nil).is(t, what+" of another's mailbox", 401, "unauthenticated")
		stranger.ask(method, path, nil).is(t, what+" without proof", 401, "unauthenticated")
	}
}

// TestOrigins: with origins in the settings, what the Host header says counts for
// nothing.
func TestOrigins(t *testing.T) {
	d := newDomain(t)
	x := start(t, setup{domains: []wire.DomainID{d.id()}, options: func(o *relay.Options) { o.Origins = []string{"https://relay.example:8444"} }})
	s := &keyServer{domain: d, person: d.first, box: x.caller()}
	s.introduce(s.box.now()).is(t, "the address as it was reached", 401, "unauthenticated")
	s.box.edit = func(m *wire.MailboxRequest) { m.Audience = "https://relay.example:8444" }
	must(t, "the origin of the settings", s.introduce(s.box.now()))
}
