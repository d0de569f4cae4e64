// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"claviger/client"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/testkit"
	"claviger/internal/testkit/hostile"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// TestTwoRelays: one of two relays lies in every way that it can; clients reach their
// keys by the other, and their log names the one that lied.
func TestTwoRelays(t *testing.T) {
	t.Parallel()
	w := &world{t: t, clock: clock.NewManual(start)}
	o := testkit.Options{Clock: running{w.clock, clock.System(), clock.System().Boot()}}
	var evil *hostile.Relay
	o.Relays = func(domain wire.DomainID) []string {
		evil = hostile.New(t, hostile.Options{Clock: o.Clock}, domain)
		w.relay = hostile.New(t, hostile.Options{Clock: o.Clock}, domain)
		return []string{evil.Address, w.relay.Address}
	}
	w.found(o)
	w.Mole(true) // so that there is a membership of before
	kept := w.seal(w.Dial(w.app1), cards)
	answer, board := last(evil, hostile.Exchange), last(evil, hostile.Introductions)
	foreign := newWorldBy(t, direct)
	_, descriptor, _ := foreign.Introduction()
	theirs := foreign.Send(nil, testkit.Message{Method: "GET", Path: "/v1/introduction"}).Body
	if descriptor == nil || len(theirs) == 0 {
		t.Fatal("the other domain doesn't introduce itself")
	}
	edited := func(m testkit.Message, forward func(testkit.Message) testkit.Answer) testkit.Answer {
		a := forward(m)
		if a.Status == http.StatusOK {
			a.Body = bytes.Clone(a.Body)
			a.Body[len(a.Body)-1] ^= 1
		}
		return a
	}
	for name, lie := range map[string]struct {
		route string
		do    hostile.Script
	}{
		"an old answer": {hostile.Exchange, func(testkit.Message, func(testkit.Message) testkit.Answer) testkit.Answer {
			return testkit.Answer{Status: 200, Body: answer}
		}},
		"a changed answer":       {hostile.Exchange, edited},
		"a changed introduction": {hostile.Introductions, edited},
		"another domain": {hostile.Introductions, func(testkit.Message, func(testkit.Message) testkit.Answer) testkit.Answer {
			return testkit.Answer{Status: 200, Body: wire.Marshal([][]byte{theirs})}
		}},
		"the members of before": {hostile.Introductions, func(testkit.Message, func(testkit.Message) testkit.Answer) testkit.Answer {
			in := introduction(t, board)
			in.Members = in.Members[:1]
			return testkit.Answer{Status: 200, Body: wire.Marshal([][]byte{wire.Marshal(*in)})}
		}},
	} {
		evil.On(lie.route, lie.do)
		var log locked
		c, err := client.Dial(t.Context(), w.app1, client.Options{Clock: o.Clock, Timeout: 10 * time.Second, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		w.seal(c, cards)
		w.opens(c, kept, cards)
		if said := string(log.bytes()); !strings.Contains(said, evil.Address) || strings.Contains(said, w.relay.Address) {
			t.Errorf("%s: the log names the wrong one, or none: %s", name, said)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		evil.Honest()
	}
	if n := w.Decisions(wire.DecisionDenied, appOne, cards); n != 0 {
		t.Errorf("%d requests were denied", n)
	}
}

// firewall is a listener that can be shut.
type firewall struct {
	net.Listener
	shut *atomic.Bool
	came *atomic.Int64
}

func (f firewall) Accept() (net.Conn, error) {
	for {
		conn, err := f.Listener.Accept()
		if err != nil || !f.shut.Load() {
			return conn, err
		}
		f.came.Add(1)
		conn.Close()
	}
}

// TestEnrolmentThroughRelay: a workload that has an invite and nothing else, and a
// server whose port nobody reaches.
func TestEnrolmentThroughRelay(t *testing.T) {
	t.Parallel()
	var shut atomic.Bool
	var came atomic.Int64
	w := worldBy(t, relayed, testkit.Options{Listen: func(l net.Listener) net.Listener { return firewall{l, &shut, &came} }})
	line := w.Invite("app3")
	w.Allow("app3", cards)
	shut.Store(true)
	dir := filepath.Join(t.TempDir(), "app3")
	p, err := client.Enroll(t.Context(), dir, line, client.EnrollOptions{Clock: w.Clock()})
	if err != nil {
		t.Fatal(err)
	}
	c := w.Dial(p)
	w.opens(c, w.seal(c, cards), cards)
	if err := c.Renew(t.Context()); err != nil {
		t.Errorf("renewal: %v", err)
	}
	w.denied(c, orders, "no policy allows it")
	if n := came.Load(); n != 0 {
		t.Errorf("%d connections came to the port", n)
	}
	// The line works once, whatever the relay does with what it has seen of its use.
	for _, seen := range w.relay.Seen(hostile.Exchange) {
		if a := w.Carry(seen.Question); a.Status == http.StatusOK && !bytes.Equal(a.Body, seen.Answer) {
			t.Error("a message that was seen is answered anew")
		}
		if bytes.Contains(seen.Question, []byte(testkit.ID("app3"))) {
			t.Error("the relay reads who enrols")
		}
	}
	if _, err := client.Enroll(t.Context(), filepath.Join(t.TempDir(), "again"), line, client.EnrollOptions{Clock: w.Clock()}); !isDenied(err) {
		t.Errorf("the invite, a second time: %v", err)
	}
	shut.Store(false)
	if n := w.Decisions(wire.DecisionAllowed, testkit.ID("app3"), cards); n < 2 { // and what is released ahead of need
		t.Errorf("%d releases were recorded, want 2", n)
	}
}

// Scenario 67: everything that ever passed a relay, all that it keeps, and
// afterwards one client's certificate key and disk. No key of the past is in it or
// can be opened with it, those released ahead of need included.
func TestScenario67_FullCapture(t *testing.T) {
	t.Parallel()
	w := newWorldBy(t, relayed)
	c := w.Dial(w.app1)
	raw := w.Raw(w.app1.Dir)
	canaries := map[string][]byte{"plaintext": plaintext, "client's name": []byte(appOne), "key's name": []byte(cards)}
	hashes := map[wire.Hash]string{} // of every one-time key, by what it was for
	// Releases of a long time, each with a rotation between.
	for n := range 4 {
		kept := w.seal(c, cards)
		w.opens(c, kept, cards)
		req, key := raw.Request(testkit.DataItem(cards, "encrypt"))
		leaf := w.captured(raw, req, key)
		canaries[fmt.Sprintf("key %d", n)] = leaf
		canaries[fmt.Sprintf("one-time key %d", n)] = seedOf(t, key)
		hashes[wire.HPKEHash(key.Public())] = "a request"
		w.Rotate(cards)
		w.clock.Advance(2 * time.Hour)
	}
	w.standing(raw, canaries, hashes)
	for _, g := range w.Grants(w.app1.Dir) {
		hashes[g.HPKE] = "the client's own request"
	}
	if len(hashes) < 10 {
		t.Fatalf("only %d one-time keys", len(hashes))
	}
	// The thief comes: first he only looks.
	sinks := map[string][]byte{}
	for i, p := range w.relay.Seen("") {
		sinks[fmt.Sprintf("traffic: %s %d", p.Route, i)] = bytes.Join([][]byte{[]byte(p.Path), p.Question, p.Answer}, []byte("|"))
	}
	read(t, sinks, "the relay's disk", w.relay.Dir)
	if len(sinks) < 50 {
		t.Fatalf("only %d messages and files", len(sinks))
	}
	lying := false
	for where, data := range sinks {
		for _, p := range w.relay.Seen(hostile.Parcels) {
			lying = lying || strings.HasPrefix(where, "the relay's disk") && bytes.Contains(data, p.Question)
		}
	}
	if !lying {
		t.Error("no parcel lies on the relay's disk: the search there shows nothing")
	}
	scan(t, sinks, canaries)
	stolen := map[string][]byte{}
	read(t, stolen, "the client's disk", w.app1.Dir)
	delete(canaries, "client's name")
	delete(canaries, "key's name")
	scan(t, stolen, canaries)
	// Then he tries whatever could be a one-time key: the relay's traffic opens to
	// those and to nothing else.
	for where, data := range stolen {
		if strings.Contains(where, "receipts") {
			continue // signed, public, and named after what they are
		}
		if what := opensAny(data, hashes); what != "" {
			t.Errorf("%s holds the key of %s", where, what)
		}
	}
	key := wire.NewKey()
	control := map[wire.Hash]string{wire.HPKEHash(key.Public()): "a control"}
	if opensAny(append([]byte("leading"), seedOf(t, key)...), control) == "" {
		t.Error("the search finds nothing even where something is")
	}
	// And he asks: what he has seen is answered no more, and what he signs himself
	// ends with a revocation.
	w.clock.Advance(time.Hour)
	for _, p := range w.relay.Seen(hostile.Exchange) {
		if a := w.Carry(p.Question); a.Status == http.StatusOK {
			t.Error("a request of the past was answered")
		}
	}
	w.Propose(authority.KindClientRevoke, authority.Subject{Client: appOne, Reason: "stolen"})
	if g := w.ask(w.Raw(w.app1.Dir), testkit.DataItem(cards, "decrypt")); g.Items[0].Decision != wire.DecisionDenied {
		t.Error("the thief was released to after the revocation")
	}
}

// captured sends a request over the relay and returns the key that came.
func (w *world) captured(raw *testkit.Raw, req *wire.Request, key *wire.Key) []byte {
	w.t.Helper()
	sealed := w.Seal(wire.TypeRequest, raw.Sign(req))
	a := raw.Exchange(sealed)
	if a.Status != http.StatusOK {
		w.t.Fatalf("exchange: %d %s", a.Status, a.Body)
	}
	return w.openedBy(key, wire.SealedHash(sealed), a.Body)
}

// openedBy opens a release and returns its first key.
func (w *world) openedBy(key *wire.Key, request wire.Hash, sealed []byte) []byte {
	w.t.Helper()
	plain, err := key.Open(wire.TypeRelease, wire.ReleaseInfo(request), sealed, wire.MaxRelease)
	if err != nil {
		w.t.Fatal(err)
	}
	release, err := wire.ParseRelease(plain)
	if err != nil || len(release.Keys) == 0 || len(release.Keys[0]) != 32 {
		w.t.Fatalf("release: %v", err)
	}
	return release.Keys[0]
}

// standing asks ahead of need and lets the parcels lie at the relay.
func (w *world) standing(raw *testkit.Raw, canaries map[string][]byte, hashes map[wire.Hash]string) {
	w.t.Helper()
	req, first := raw.Request(testkit.DataItem(cards, "encrypt"))
	box := transport.NewMailbox()
	req.Mailbox, req.Until = box.ID(), w.Clock().Now().Add(24*time.Hour).UnixMilli()
	var keys []*wire.Key
	for range 3 {
		k := wire.NewKey()
		keys, req.Standing = append(keys, k), append(req.Standing, k.Public())
		hashes[wire.HPKEHash(k.Public())] = "a standing request"
	}
	sealed := w.Seal(wire.TypeRequest, raw.Sign(req))
	a := raw.Exchange(sealed)
	if a.Status != http.StatusOK {
		w.t.Fatalf("standing request: %d %s", a.Status, a.Body)
	}
	request := wire.SealedHash(sealed)
	canaries["key of the standing request"] = w.openedBy(first, request, a.Body)
	for n := range 2 {
		w.Rotate(cards)
		var parcels []hostile.Passed
		eventually(w.t, "a parcel", func() bool {
			parcels = nil
			for _, p := range w.relay.Seen(hostile.Parcels) {
				if strings.Contains(p.Path, box.ID().String()) {
					parcels = append(parcels, p)
				}
			}
			return len(parcels) > n
		})
		canaries[fmt.Sprintf("key ahead of need %d", n)] = w.openedBy(keys[n], request, parcels[n].Question)
		canaries[fmt.Sprintf("one-time key ahead of need %d", n)] = seedOf(w.t, keys[n])
	}
	keys[0].Wipe()
	keys[1].Wipe()
}

func seedOf(t *testing.T, k *wire.Key) []byte {
	t.Helper()
	seed, err := k.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(seed)
}

// read takes every file under a directory; of PEM what is in it, too.
func read(t *testing.T, into map[string][]byte, what, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		into[what+": "+rel] = data
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			into[what+": in "+rel] = block.Bytes
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// opensAny takes every 32 bytes in a row for a one-time key and says whose it is.
func opensAny(data []byte, hashes map[wire.Hash]string) string {
	step := 1
	if racing {
		step = 7
	}
	for at := 0; at+32 <= len(data); at += step {
		key, err := wire.KeyFromSeed(data[at : at+32])
		if err != nil {
			continue
		}
		if what, ok := hashes[wire.HPKEHash(key.Public())]; ok {
			return what
		}
		key.Wipe()
	}
	return ""
}
