// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"claviger/client"
	"claviger/internal/audit"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/members"
	"claviger/internal/policy"
	"claviger/internal/testkit"
	"claviger/internal/testkit/hostile"
	"claviger/internal/wire"
)

// often is how often servers state in tests that wait for it.
const often = 200 * time.Millisecond

// eventually waits for what has to come.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("%s: not within a minute", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// shows has a relay show the same to everybody who asks a route.
func shows(x *hostile.Relay, route string, body []byte) {
	x.On(route, func(testkit.Message, func(testkit.Message) testkit.Answer) testkit.Answer {
		return testkit.Answer{Status: http.StatusOK, Body: bytes.Clone(body)}
	})
}

// last is what a relay answered last to a route.
func last(x *hostile.Relay, route string) []byte {
	all := x.Seen(route)
	return all[len(all)-1].Answer
}

// alarms counts those of a kind in the audit log.
func alarms(d *testkit.Domain, kind string) (n int) {
	for _, l := range d.Leaves() {
		if l.Kind == string(audit.Alarm) && l.Action == kind {
			n++
		}
	}
	return n
}

// withdraw leaves app1 nothing of what policy permits.
func (w *world) withdraw() {
	w.t.Helper()
	source, _, err := policy.Allow(nil, "app2", cards, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Propose(authority.KindPolicy, authority.Policy{Source: source})
}

// Scenario 35: the relay goes on showing the time before a permission was taken back.
func TestScenario35_OldPolicy(t *testing.T) {
	t.Parallel()
	w := newWorldBy(t, relayed)
	mole := w.Mole(true) // stays at the epoch of before
	w.seal(w.Dial(w.app1), cards)
	if err := w.Dial(w.app1).Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := map[string][]byte{hostile.Introductions: last(w.relay, hostile.Introductions), hostile.Exchange: last(w.relay, hostile.Exchange)}
	eventually(t, "a statement", func() bool { return len(w.relay.Seen(hostile.PutStatement)) > 0 })
	statements := w.relay.Seen(hostile.PutStatement)
	board := wire.Marshal([][]byte{statements[len(statements)-1].Question})
	w.withdraw()
	// The whole world of before: a new process asks with a nonce, so it gets nothing.
	for route, body := range old {
		shows(w.relay, route, body)
	}
	shows(w.relay, hostile.Statements, board)
	w.refuses(w.Dial(w.app1), cards, client.ErrIntegrity)
	// The board of before, and an answer of now: it is the answer that counts.
	w.relay.Honest()
	shows(w.relay, hostile.Introductions, old[hostile.Introductions])
	shows(w.relay, hostile.Statements, board)
	w.denied(w.Dial(w.app1), cards, "no policy allows it")
	// Who has seen the present takes no server's word for the past.
	w.refuses(w.Dial(w.app1, mole.Address), cards, client.ErrRollback)
	w.relay.Honest()
	w.denied(w.Dial(w.app1), cards, "no policy allows it")
	if n := w.Decisions(wire.DecisionDenied, appOne, cards); n < 2 { // and those of clients that look ahead
		t.Errorf("%d denials were recorded, want 2", n)
	}
}

// Scenario 36: the relay shows nothing new any more. A key that was disabled serves
// until its staleness bound, and no moment longer.
func TestScenario36_Freeze(t *testing.T) {
	t.Parallel()
	w := newWorldBy(t, relayed)
	c := w.Dial(w.app1)
	kept := w.seal(c, cards)
	w.opens(c, kept, cards)
	statements := w.relay.Seen(hostile.PutStatement)
	frozen := statements[len(statements)-1].Question
	shows(w.relay, hostile.Statements, wire.Marshal([][]byte{frozen}))
	w.relay.Frames(hostile.Follow, func([]byte) [][]byte { return [][]byte{frozen} }) // the same again and again
	w.relay.On(hostile.Exchange, func(testkit.Message, func(testkit.Message) testkit.Answer) testkit.Answer {
		return testkit.Answer{Status: http.StatusServiceUnavailable, Body: []byte(`{"error":{"code":"offline","message":"offline","retryable":true}}`)}
	})
	w.Propose(authority.KindKeyDisable, authority.KeyRef{ID: w.Key(cards).ID, Reason: "stolen"})
	bound := time.Duration(w.Key(cards).Settings.Staleness) * time.Second
	w.clock.Advance(bound - time.Minute)
	w.opens(c, kept, cards)
	w.clock.Advance(time.Minute)
	w.closedTo(c, kept, client.DecryptOptions{Keys: []string{cards}}, client.ErrUnavailable)
	w.refuses(c, cards, client.ErrUnavailable)
	w.relay.Honest()
	w.denied(c, cards, "the key is disabled")
}

// introduction takes the one introduction of a board apart.
func introduction(t *testing.T, board []byte) *wire.Introduction {
	t.Helper()
	var list [][]byte
	if err := wire.Unmarshal(board, &list, 1<<20); err != nil || len(list) != 1 {
		t.Fatalf("a board of %d: %v", len(list), err)
	}
	in, err := wire.ParseIntroduction(list[0])
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// Scenario 37: parts of two times put together: descriptors, member chains,
// statements; and a chain that ends before an admin was removed.
func TestScenario37_MixAndMatch(t *testing.T) {
	t.Parallel()
	w := worldBy(t, relayed, testkit.Options{Admins: 2})
	w.seal(w.Dial(w.app1), cards)
	before := introduction(t, last(w.relay, hostile.Introductions))
	// The second admin is removed; then a server joins.
	der, err := x509.MarshalPKIXPublicKey(w.Admins[0].Public())
	if err != nil {
		t.Fatal(err)
	}
	w.Propose(members.KindKeys, members.Keys{Threshold: 1, Keys: []members.Key{{Name: "admin1", Public: der}}})
	removed := w.Admins[1]
	w.Admins = w.Admins[:1]
	w.Mole(true)
	invite := w.Invite("app3")
	w.seal(w.Dial(w.app1), cards)
	now := introduction(t, last(w.relay, hostile.Introductions))
	if len(now.Members) != len(before.Members)+2 {
		t.Fatalf("chains of %d and %d links", len(before.Members), len(now.Members))
	}
	forged, err := wire.Sign(wire.TypeBody, []byte("a body of the removed admin"), removed)
	if err != nil {
		t.Fatal(err)
	}
	end := len(now.Members) - 1
	for name, c := range map[string]struct {
		in   wire.Introduction
		want error
	}{
		"the chain of before":                 {wire.Introduction{Descriptor: now.Descriptor, Members: before.Members}, client.ErrRollback},
		"all of before":                       {*before, client.ErrRollback},
		"cut after the removal":               {wire.Introduction{Descriptor: now.Descriptor, Members: now.Members[:end]}, client.ErrRollback},
		"without the removal":                 {wire.Introduction{Descriptor: now.Descriptor, Members: append(append([][]byte{}, now.Members[:end-1]...), now.Members[end])}, client.ErrIntegrity},
		"the removed admin's link":            {wire.Introduction{Descriptor: now.Descriptor, Members: append(append([][]byte{}, before.Members...), forged)}, client.ErrIntegrity},
		"links exchanged":                     {wire.Introduction{Descriptor: now.Descriptor, Members: append(append([][]byte{}, now.Members[:end-1]...), now.Members[end], now.Members[end-1])}, client.ErrIntegrity},
		"no chain":                            {wire.Introduction{Descriptor: now.Descriptor}, client.ErrIntegrity},
		"a statement in a descriptor's place": {wire.Introduction{Descriptor: w.relay.Seen(hostile.PutStatement)[0].Question, Members: now.Members}, client.ErrIntegrity},
	} {
		shows(w.relay, hostile.Introductions, wire.Marshal([][]byte{wire.Marshal(c.in)}))
		if err := w.failure(w.Dial(w.app1)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		// The invite names the newest link, so a new client knows as much.
		dir := filepath.Join(t.TempDir(), "app3")
		_, err := client.Enroll(t.Context(), dir, invite, client.EnrollOptions{Clock: w.Clock()})
		if !errors.Is(err, client.ErrRollback) && !errors.Is(err, client.ErrIntegrity) {
			t.Errorf("%s: enrolment: %v", name, err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: a profile was written", name)
		}
	}
	w.relay.Honest()
	if _, err := client.Enroll(t.Context(), filepath.Join(t.TempDir(), "app3"), invite, client.EnrollOptions{Clock: w.Clock()}); err != nil {
		t.Errorf("with an honest relay: %v", err)
	}
	mixed(t, w)
}

// mixed shows the signature of one statement under the words of another.
func mixed(t *testing.T, w *world) {
	t.Helper()
	first := w.relay.Seen(hostile.PutStatement)
	w.Rotate(cards)
	var second []hostile.Passed
	eventually(t, "another statement", func() bool {
		second = w.relay.Seen(hostile.PutStatement)
		return len(second) > len(first)
	})
	a, b := first[len(first)-1].Question, bytes.Clone(second[len(second)-1].Question)
	copy(b[len(b)-ed25519.SignatureSize:], a[len(a)-ed25519.SignatureSize:])
	c := w.Dial(w.app1)
	w.seal(c, cards)
	shows(w.relay, hostile.Statements, wire.Marshal([][]byte{b}))
	if err := c.Refresh(t.Context()); !errors.Is(err, client.ErrIntegrity) {
		t.Errorf("a statement under another's signature: %v", err)
	}
	w.relay.Honest()
}

// Scenario 38: two clients are shown two histories. There is no witness in this
// product yet; what a server signed is one: who meets both histories keeps the proof
// and uses neither, and the honest server stops until people fence the other.
func TestScenario38_SplitView(t *testing.T) {
	t.Parallel()
	w := worldBy(t, relayed, testkit.Options{StatementEvery: often})
	mole := w.Mole(true)
	mole.Lie(func(f *testkit.Forgery) { f.Grant.Head[0] ^= 1 })
	one, two := w.Dial(w.app1), w.Dial(w.Enroll("app3"), mole.Address)
	w.Allow("app3", cards)
	mole.Learn()
	w.seal(one, cards) // sees 9a
	if _, err := two.Encrypt(t.Context(), cards, plaintext, client.EncryptOptions{}); err != nil {
		t.Fatal(err) // sees 9b, and can't know
	}
	w.refuses(w.Dial(w.app1, mole.Address), cards, client.ErrFork)
	if proofs, err := os.ReadDir(filepath.Join(w.app1.Dir, "proofs")); err != nil || len(proofs) == 0 {
		t.Errorf("no proof is kept: %v", err)
	}
	// The server hears of it by the relay's board.
	if alarms(w.Domain, "fork") != 0 {
		t.Error("an alarm before there was a reason")
	}
	lie := mole.Statement(func(s *wire.Statement) { s.Head[0] ^= 1 })
	shows(w.relay, hostile.Statements, wire.Marshal([][]byte{lie}))
	raw := w.Raw(w.app1.Dir)
	stopped := func() bool {
		req, _ := raw.Request(testkit.DataItem(cards, "encrypt"))
		return raw.Exchange(w.Seal(wire.TypeRequest, raw.Sign(req))).Status == http.StatusServiceUnavailable
	}
	eventually(t, "the server stops", stopped)
	w.relay.Honest()
	if n := alarms(w.Domain, "fork"); n != 1 {
		t.Errorf("%d alarms of a fork in the audit log, want 1", n)
	}
	if proofs, err := os.ReadDir(filepath.Join(w.Dir, "proofs")); err != nil || len(proofs) != 1 {
		t.Errorf("the server keeps %d proofs: %v", len(proofs), err)
	}
	w.Propose(members.KindFence, members.Fence{Server: mole.ID, Reason: "two histories"})
	eventually(t, "the server goes on", func() bool { return !stopped() })
	w.seal(w.Dial(w.app1), cards)                                      // knows of the fence from now on
	w.refuses(w.Dial(w.app1, mole.Address), cards, client.ErrRollback) // shows the members of before
	mole.Learn()
	w.refuses(w.Dial(w.app1, mole.Address), cards, client.ErrIntegrity)
	w.seal(w.Dial(w.app1), cards)
}

// Scenario 39: a server that was joined claims an epoch far ahead. There is no key of
// time in this product: positions are claimed by servers, generations by a quorum
// alone. What the lie costs is availability, until people fence the liar and restore.
func TestScenario39_FastForward(t *testing.T) {
	t.Parallel()
	w := newWorldBy(t, relayed)
	mole := w.Mole(true)
	w.seal(w.Dial(w.app1), cards)
	mole.Lie(func(f *testkit.Forgery) { f.Grant.Epoch.Generation++ })
	w.refuses(w.Dial(w.app1, mole.Address), cards, client.ErrIntegrity)
	mole.Lie(func(f *testkit.Forgery) { f.Grant.Epoch.Position += 1 << 40 })
	w.seal(w.Dial(w.app1, mole.Address), cards) // believed: it has signed for it
	w.refuses(w.Dial(w.app1), cards, client.ErrRollback)
	w.Propose(members.KindFence, members.Fence{Server: mole.ID, Reason: "claims what isn't"})
	at := w.State()
	w.Propose(members.KindRestore, members.Restore{Generation: at.Epoch.Generation + 1, Epoch: at.Epoch, Head: at.Head, Reason: "after a lie"})
	c := w.Dial(w.app1)
	w.opens(c, w.seal(c, cards), cards)
	w.refuses(w.Dial(w.app1, mole.Address), cards, client.ErrRollback) // shows the members of before
	mole.Learn()
	w.refuses(w.Dial(w.app1, mole.Address), cards, client.ErrIntegrity)
}

// Scenario 40: an audit log that has become shorter, or another.
func TestScenario40_ShorterLog(t *testing.T) {
	t.Parallel()
	w := newWorldBy(t, relayed)
	mole := w.Mole(true)
	c := w.Dial(w.app1)
	w.seal(c, cards)
	state := func(log, size uint64, root byte) error {
		w.clock.Advance(time.Second)
		shows(w.relay, hostile.Statements, wire.Marshal([][]byte{mole.Statement(func(s *wire.Statement) {
			s.Checkpoint = wire.Checkpoint{Log: log, Size: size, Root: wire.Hash{root}}
		})}))
		return c.Refresh(t.Context())
	}
	if err := state(2, 10, 1); err != nil {
		t.Fatalf("the first: %v", err)
	}
	before := profileMark(t, w.app1.Dir)
	for name, at := range map[string]struct {
		log, size uint64
		root      byte
	}{"shorter": {2, 9, 1}, "an older log": {1, 99, 1}, "of the same size": {2, 10, 2}} {
		if err := state(at.log, at.size, at.root); err == nil {
			t.Errorf("%s: taken", name)
		}
		if !bytes.Equal(before, profileMark(t, w.app1.Dir)) {
			t.Errorf("%s: the client forgot the one before", name)
		}
	}
	if err := state(2, 11, 3); err != nil {
		t.Errorf("one that goes on: %v", err)
	}
	// The archive of a log that was cut is no archive.
	archive := w.Export()
	keys := map[wire.ServerID]ed25519.PublicKey{w.Founded.Server: w.ServerKey().(ed25519.PublicKey)}
	for _, cut := range []int{len(archive) / 2, len(archive) - 1, 0} {
		report, err := audit.Verify(audit.VerifyOptions{Domain: w.Founded.Domain, Keys: keys, Receipts: audit.Receipts(w.Grants(w.app1.Dir)[0])}, bytes.NewReader(archive[:cut]))
		if err == nil && report.OK() {
			t.Errorf("an archive of %d of %d bytes is in order", cut, len(archive))
		}
	}
}

func profileMark(t *testing.T, dir string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "mark"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Scenario 41: a server releases a key and never writes it down. Nothing is promised
// and merged later in this product: the answer names its leaf, and the client keeps
// the answer.
func TestScenario41_MissingLeaf(t *testing.T) {
	t.Parallel()
	w := newWorldBy(t, relayed)
	mole := w.Mole(true)
	w.seal(w.Dial(w.app1, mole.Address), cards)
	receipts := w.Grants(w.app1.Dir)
	log, err := audit.Open(audit.Options{Dir: t.TempDir(), Domain: w.Founded.Domain, Server: mole.ID, Signer: mole.Key, Clock: w.Clock()})
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := errors.Join(log.Export(&archive), log.Close()); err != nil {
		t.Fatal(err)
	}
	o := audit.VerifyOptions{Domain: w.Founded.Domain, Keys: map[wire.ServerID]ed25519.PublicKey{mole.ID: mole.Key.Public().(ed25519.PublicKey)}}
	if f := verify(t, o, archive.Bytes()); len(f) != 0 {
		t.Errorf("an empty log without receipts: %v", f)
	}
	for _, g := range receipts {
		o.Receipts = append(o.Receipts, audit.Receipts(g)...)
	}
	if f := verify(t, o, archive.Bytes()); len(f) != 1 || f[0] != audit.Skipped && f[0] != audit.Contradicted {
		t.Errorf("a release without a leaf: %v", f)
	}
}

// Scenario 42: a client's files are put back, or its memory of the domain deleted:
// it asks before it uses anything, and is told the present.
func TestScenario42_ClientPutBack(t *testing.T) {
	t.Parallel()
	w := newWorldBy(t, relayed)
	kept := w.seal(w.Dial(w.app1), cards)
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(w.app1.Dir)); err != nil {
		t.Fatal(err)
	}
	answer := last(w.relay, hostile.Exchange)
	w.withdraw()
	w.denied(w.Dial(w.app1), cards, "no policy allows it")
	for name, change := range map[string]func() error{
		"put back": func() error {
			return errors.Join(os.RemoveAll(w.app1.Dir), os.CopyFS(w.app1.Dir, os.DirFS(old)))
		},
		"deleted": func() error { return os.Remove(filepath.Join(w.app1.Dir, "mark")) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		shows(w.relay, hostile.Exchange, answer) // what it was told then
		w.closedTo(w.Dial(w.app1), kept, client.DecryptOptions{Keys: []string{cards}}, client.ErrIntegrity)
		w.relay.On(hostile.Exchange, func(testkit.Message, func(testkit.Message) testkit.Answer) testkit.Answer { return testkit.Answer{} })
		w.closedTo(w.Dial(w.app1), kept, client.DecryptOptions{Keys: []string{cards}}, client.ErrUnavailable)
		w.relay.Honest()
		if _, _, err := w.Dial(w.app1).Decrypt(t.Context(), kept, client.DecryptOptions{Keys: []string{cards}}); !isDenied(err) {
			t.Errorf("%s: %v, want a denial", name, err)
		}
	}
}

func isDenied(err error) bool { _, ok := errors.AsType[*client.DeniedError](err); return ok }

// Scenario 44: clocks that are wrong, jump or stand still.
func TestScenario44_Clocks(t *testing.T) {
	t.Parallel()
	w := newWorldBy(t, relayed)
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		begin      time.Duration // how far the client's clock is off
		boot, wall time.Duration // how it moves while the relay is silent
		ended      bool
	}{
		"most of a day ahead":       {begin: day - time.Hour},
		"a day behind":              {begin: -day},
		"years behind":              {begin: -20 * 365 * day},
		"set back during the lease": {boot: 30 * time.Second, wall: -day},
		"set back, and time passes": {boot: time.Hour, wall: -day, ended: true},
		"set ahead":                 {boot: time.Second, wall: 20 * time.Hour, ended: true},
		"suspended":                 {boot: 2 * time.Hour, wall: 2 * time.Hour, ended: true},
		"put back from a snapshot":  {boot: 0, wall: 2 * time.Hour, ended: true},
		"a leap second":             {boot: time.Second, wall: 0},
	} {
		own := clock.NewManual(w.Clock().Now().Add(c.begin))
		dialled, err := client.Dial(t.Context(), w.app1, client.Options{Clock: own, Timeout: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		kept := w.seal(dialled, cards)
		w.opens(dialled, kept, cards)
		for _, route := range []string{hostile.Introductions, hostile.Statements, hostile.Exchange, hostile.Follow} {
			w.relay.On(route, func(testkit.Message, func(testkit.Message) testkit.Answer) testkit.Answer { return testkit.Answer{} })
		}
		wall := own.Now()
		own.Advance(c.boot)
		own.SetWall(wall.Add(c.wall))
		got, _, err := dialled.Decrypt(t.Context(), kept, client.DecryptOptions{Keys: []string{cards}})
		if c.ended != (err != nil) || c.ended && len(got) > 0 || c.ended && !errors.Is(err, client.ErrUnavailable) && !errors.Is(err, client.ErrStale) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		w.relay.Honest()
		w.opens(dialled, kept, cards) // the present can always be had
		if err := dialled.Close(); err != nil {
			t.Error(err)
		}
	}
	// Further ahead than what a server shows of itself lasts, nothing is asked: the
	// error names the clock.
	ahead, err := client.Dial(t.Context(), w.app1, client.Options{Clock: clock.NewManual(w.Clock().Now().Add(2 * day))})
	if err != nil {
		t.Fatal(err)
	}
	defer ahead.Close()
	w.refuses(ahead, cards, client.ErrStale)
}
