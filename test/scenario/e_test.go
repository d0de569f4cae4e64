// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"claviger/client"
	"claviger/internal/testkit"
	"claviger/internal/testkit/hostile"
	"claviger/internal/wire"
)

// patient is how long what has to give up by itself may take: several times the
// timeouts that the product has.
const patient = 2 * time.Minute

// Scenario 62: data without end, a byte now and then, lines on which nothing comes.
// Who has another way goes on by that; who hasn't has an error, having taken little.
func TestScenario62_EndlessAndSlow(t *testing.T) {
	t.Parallel()
	w := newWorldBy(t, relayed)
	var taken atomic.Int64
	endless := func(kind string, frames bool) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", kind)
			piece := bytes.Repeat([]byte{0x80}, 64<<10)
			for r.Context().Err() == nil {
				out := piece
				if frames {
					out = append([]byte{0xff, 0xff, 0xff, 0xff}, piece...)
				}
				n, err := rw.Write(out)
				taken.Add(int64(n))
				if err != nil {
					return
				}
			}
		}
	}
	slow := func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/cbor")
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			if _, err := rw.Write([]byte{0x80}); err != nil || http.NewResponseController(rw).Flush() != nil {
				return
			}
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	}
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	badly := map[string]http.HandlerFunc{
		"endless": endless("application/cbor", false), "an endless error": func(rw http.ResponseWriter, r *http.Request) {
			rw.WriteHeader(http.StatusBadGateway)
			endless("application/json", false)(rw, r)
		},
		"a byte now and then": slow, "silent": silent,
	}
	for _, route := range []string{hostile.Introductions, hostile.Exchange} {
		for name, handler := range badly {
			if route == hostile.Exchange && name == "silent" {
				continue // as long as a byte now and then, and less trouble
			}
			taken.Store(0)
			w.relay.Instead(route, handler)
			alone, besides := w.hurried(w.relay.Address), w.hurried(w.relay.Address, w.Address)
			within(t, patient, func() {
				var both sync.WaitGroup
				both.Go(func() { w.refuses(alone, cards, client.ErrUnavailable) })
				both.Go(func() { // the server's port is still there
					if _, err := besides.Encrypt(t.Context(), cards, plaintext, client.EncryptOptions{}); err != nil {
						t.Errorf("%s, %s: by the other way: %v", route, name, err)
					}
				})
				both.Wait()
			})
			// What is read stands in the product; what lies in buffers on the way is the
			// system's: some megabytes for each line.
			if n := taken.Load(); n > 64<<20 {
				t.Errorf("%s, %s: %d bytes were taken", route, name, n)
			}
			w.relay.Honest()
		}
	}
	// A stream of statements that never ends a frame: it is given up, and uses of the
	// key go on.
	w.relay.Instead(hostile.Follow, endless("application/cbor", true))
	c := w.Dial(w.app1)
	w.opens(c, w.seal(c, cards), cards)
	w.relay.Honest()
	w.seal(w.Dial(w.app1), cards)
}

// hurried dials with little patience, until the test ends.
func (w *world) hurried(addresses ...string) *client.Client {
	w.t.Helper()
	p := *w.app1
	p.Addresses = addresses
	c, err := client.Dial(w.t.Context(), &p, client.Options{Clock: w.Clock(), Timeout: 500 * time.Millisecond})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() }) // its receipts are of no use
	return c
}

// files are a profile's, but for what grows with each honest answer.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		switch {
		case rel == "mark", rel == "members", rel == "pins.json", rel == "send-tokens", rel == ".lock", filepath.Dir(rel) == "receipts":
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(name)
		out[rel] = fmt.Sprintf("%v %x", info.Mode(), data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// same holds that a profile's own files did not change.
func same(t *testing.T, what string, before, after map[string]string) {
	t.Helper()
	for name := range after {
		if before[name] != after[name] {
			t.Errorf("%s: %s has changed, or is new", what, name)
		}
	}
	if len(before) > len(after) {
		t.Errorf("%s: %d files became %d", what, len(before), len(after))
	}
}

// settings is what a relay might want to tell a client, in the forms that programs
// like to read.
var settings = []byte(`{"log_level":"debug","endpoint":"https://relay.evil:8444","addresses":["https://relay.evil:8444"],"proxy":"http://127.0.0.1:1","ca":"-----BEGIN CERTIFICATE-----","demo":true,"policy":{"auto_enroll":true},"upload_diagnostics":"/v1/diagnostics"}`)

// Scenario 63: the relay sends settings by every road that it has, and asks for
// diagnostics. Nothing of it has an effect, and nothing that it gets tells of keys,
// names or content.
func TestScenario63_PushedSettings(t *testing.T) {
	t.Parallel()
	w := newWorldBy(t, relayed)
	honest := w.Dial(w.app1)
	kept := w.seal(honest, cards)
	before := files(t, w.app1.Dir)
	cbor := wire.Marshal(map[string]any{"type": "claviger/v1/settings", "settings": settings})
	for name, answer := range map[string][]byte{
		"JSON": settings, "CBOR": cbor, "a list": wire.Marshal([][]byte{settings, cbor}),
		"trouble":         wire.Marshal(wire.Trouble{Type: wire.TypeTrouble, Status: 426, Code: "upgrade", Message: string(settings[:200])}),
		"trouble, solved": wire.Marshal(wire.Trouble{Type: wire.TypeTrouble, Status: 200, Code: "settings", Message: "log_level=debug"}),
	} {
		for _, route := range []string{hostile.Introductions, hostile.Statements, hostile.Exchange} {
			w.relay.On(route, func(testkit.Message, func(testkit.Message) testkit.Answer) testkit.Answer {
				return testkit.Answer{Status: http.StatusOK, Body: answer}
			})
			c := w.Dial(w.app1)
			if _, err := c.Encrypt(t.Context(), cards, plaintext, client.EncryptOptions{}); route != hostile.Statements && err == nil {
				t.Errorf("%s as %s: taken for an answer", name, route)
			}
			_ = c.Refresh(t.Context()) // whatever it says, it changes nothing
			w.relay.Honest()
		}
	}
	w.relay.Frames(hostile.Follow, func(frame []byte) [][]byte { return [][]byte{settings, frame, cbor} })
	w.relay.Frames(hostile.Receive, func(frame []byte) [][]byte {
		return [][]byte{wire.Marshal(wire.Delivery{Number: 1, Data: settings}), frame, wire.Marshal(wire.Delivery{Correlation: make([]byte, 32), Data: cbor})}
	})
	w.unchanged(func() {
		c := w.Dial(w.app1)
		w.opens(c, kept, cards)
		// What is no delivery at all: the server leaves a line on which such comes, and
		// takes the next.
		w.relay.Frames(hostile.Receive, func([]byte) [][]byte { return [][]byte{settings} })
		w.refuses(w.hurried(w.relay.Address), cards, client.ErrUnavailable)
		w.relay.Honest()
		w.Await()
		w.opens(c, w.seal(c, orders), orders)
	})
	same(t, "pushed settings", before, files(t, w.app1.Dir))
	// What the relay got: sealed messages, send tokens, and nothing that it asked for.
	canaries := map[string][]byte{"plaintext": plaintext, "key's name": []byte(cards), "client's name": []byte(appOne)}
	sinks := map[string][]byte{}
	for i, p := range w.relay.Seen("") {
		sinks[fmt.Sprintf("%s %d", p.Route, i)] = append([]byte(p.Path), p.Question...)
		switch p.Route {
		case hostile.Introductions, hostile.Statements, hostile.Follow, hostile.Exchange, hostile.Receive, hostile.Answer,
			hostile.PutIntroduction, hostile.PutStatement, hostile.PutTokens, hostile.Parcels:
		default:
			t.Errorf("%s was asked for", p.Path)
		}
	}
	scan(t, sinks, canaries)
}

// Scenario 64: the relay sends clients elsewhere: by redirects of every kind, to
// files, to other hosts, to plain HTTP. Nobody goes.
func TestScenario64_Redirects(t *testing.T) {
	t.Parallel()
	w := newWorldBy(t, relayed)
	var hits atomic.Int64
	elsewhere := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { hits.Add(1); _, _ = rw.Write([]byte{0x80}) })
	plain, tls := httptest.NewServer(elsewhere), httptest.NewTLSServer(elsewhere)
	defer plain.Close()
	defer tls.Close()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte{0x80}, 0o600); err != nil {
		t.Fatal(err)
	}
	before := files(t, w.app1.Dir)
	targets := []string{
		plain.URL + "/v1/x", tls.URL + "/v1/x", "file://" + secret, "http://169.254.169.254/latest/meta-data/", "//" + plain.Listener.Addr().String(),
		w.relay.Origin + "/v1/health", "gopher://127.0.0.1:1/", "",
	}
	for _, route := range []string{hostile.Introductions, hostile.Exchange} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			for _, to := range targets {
				w.relay.Instead(route, func(rw http.ResponseWriter, _ *http.Request) {
					rw.Header().Set("Location", to)
					rw.Header().Set("Refresh", "0; url="+to)
					rw.Header().Set("Alt-Svc", `h3="`+tls.Listener.Addr().String()+`", h2="`+tls.Listener.Addr().String()+`"`)
					rw.Header().Set("Content-Type", "application/cbor")
					rw.WriteHeader(status)
				})
				w.refuses(w.Dial(w.app1), cards, client.ErrUnavailable)
				if route == hostile.Exchange {
					break // one target of each status: what is asked before is honest
				}
			}
		}
	}
	w.relay.Honest()
	for _, p := range w.relay.Seen("health") {
		t.Errorf("a redirect to %s was followed", p.Path)
	}
	if hits.Load() != 0 {
		t.Errorf("%d redirects were followed", hits.Load())
	}
	same(t, "redirects", before, files(t, w.app1.Dir))
	w.seal(w.Dial(w.app1), cards)
}

// Scenario 65: scripts, pages and programs in the place of every answer. There is
// nothing that would run them: no such answer is one, and none of it reaches a disk.
// That the product starts no program that data name is scenario 78.
func TestScenario65_CodeFromRelay(t *testing.T) {
	t.Parallel()
	w := newWorldBy(t, relayed)
	before := files(t, w.app1.Dir)
	code := map[string][]byte{
		"text/html":                []byte("<!doctype html><script src=//evil/x.js></script>"),
		"application/javascript":   []byte("fetch('/v1/keys')"),
		"application/octet-stream": append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 512)...),
		"application/cbor":         []byte("#!/bin/sh\nid > /tmp/owned\n"),
		"application/wasm":         []byte("\x00asm\x01\x00\x00\x00"),
		"":                         []byte("MZ\x90\x00"),
	}
	for kind, body := range code {
		for _, route := range []string{hostile.Introductions, hostile.Exchange} {
			w.relay.Instead(route, func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header()["Content-Type"] = []string{kind}
				rw.Header().Set("Content-Disposition", `attachment; filename="../../claviger"`)
				_, _ = rw.Write(body)
			})
			if out, err := w.Dial(w.app1).Encrypt(t.Context(), cards, plaintext, client.EncryptOptions{}); err == nil || out != nil {
				t.Errorf("%s as %s was taken for an answer", kind, route)
			}
			w.relay.Honest()
		}
	}
	same(t, "code", before, files(t, w.app1.Dir))
	w.seal(w.Dial(w.app1), cards)
}

// Scenario 66: two customers at one relay, which mixes them up, and one of them
// takes what it can.
func TestScenario66_Neighbours(t *testing.T) {
	t.Parallel()
	ours, theirs := newWorldBy(t, direct), newWorldBy(t, direct)
	x := hostile.New(t, hostile.Options{Clock: ours.clock}, ours.Founded.Domain, theirs.Founded.Domain)
	ours.StandAt(x.Address)
	theirs.StandAt(x.Address)
	for _, w := range []*world{ours, theirs} {
		w.seal(w.Dial(w.app1), cards) // brings a send token
		w.seal(w.Dial(w.app1, x.Address), cards)
	}
	kept := ours.seal(ours.Dial(ours.app1, x.Address), cards)
	// The relay shows the one the other's board, and gives it the other's answers.
	var foreign testkit.Answer
	x.On(hostile.Exchange, func(m testkit.Message, forward func(testkit.Message) testkit.Answer) testkit.Answer {
		foreign = forward(m)
		return foreign
	})
	theirs.seal(theirs.Dial(theirs.app1, x.Address), cards)
	x.On(hostile.Exchange, func(testkit.Message, func(testkit.Message) testkit.Answer) testkit.Answer { return foreign })
	ours.refuses(ours.Dial(ours.app1, x.Address), cards, client.ErrIntegrity)
	board := "/v1/board/" + theirs.Founded.Domain.String() + "/introductions"
	x.Honest()
	x.On(hostile.Introductions, func(m testkit.Message, forward func(testkit.Message) testkit.Answer) testkit.Answer {
		m.Path = board
		return forward(m)
	})
	ours.refuses(ours.Dial(ours.app1, x.Address), cards, client.ErrIntegrity)
	x.Honest()
	neighbours(t, ours, theirs, x)
	// An object of theirs, put in the place of ours.
	object := theirs.seal(theirs.Dial(theirs.app1, x.Address), cards)
	ours.closedTo(ours.Dial(ours.app1, x.Address), object, client.DecryptOptions{Keys: []string{cards}}, client.ErrUnexpectedKey)
	ours.opens(ours.Dial(ours.app1, x.Address), kept, cards)
}

// neighbours asks the relay itself for what is not theirs: what is there and what
// isn't look alike, and one mailbox full of requests fills no other.
func neighbours(t *testing.T, ours, theirs *world, x *hostile.Relay) {
	t.Helper()
	ask := func(method, path, token string) string {
		// The relay's own front, as any stranger asks it.
		r := httptest.NewRequest(method, x.Origin+path, http.NoBody)
		r.RemoteAddr = "192.0.2.7:1"
		if token != "" {
			r.Header.Set("Claviger-Token", token)
		}
		out := httptest.NewRecorder()
		x.ServeHTTP(deadlines{out}, r)
		return fmt.Sprint(out.Code, " ", out.Body)
	}
	_, d, _ := ours.Introduction()
	var nobody wire.Hash
	rand.Read(nobody[:])
	box := func(id wire.Hash, what string) string { return "/v1/mailbox/" + hex.EncodeToString(id[:]) + "/" + what }
	for what, method := range map[string]string{"exchange": "POST", "receive": "GET", "tokens": "PUT"} {
		if a, b := ask(method, box(d.Mailbox, what), ""), ask(method, box(nobody, what), ""); a != b {
			t.Errorf("%s tells a mailbox that is there from one that isn't: %s and %s", what, a, b)
		}
	}
	if a, b := ask("GET", "/v1/board/"+hex.EncodeToString(nobody[:])+"/introductions", ""), ask("GET", "/v1/nothing", ""); a != b {
		t.Errorf("a domain that isn't served: %s, and a route that isn't: %s", a, b)
	}
	// A client of theirs, with a token of theirs, at our mailbox.
	sealed := wire.Marshal(wire.Sealed{Type: wire.TypeRequest, Enc: make([]byte, 1120), CT: make([]byte, 64)})
	if a := theirs.CarryTo(d.Mailbox, sealed); a.Status != http.StatusForbidden {
		t.Errorf("their token at our mailbox: %d %s", a.Status, a.Body)
	}
	for range 300 {
		if a := theirs.Carry(sealed); a.Status == 0 {
			t.Fatal("the relay is gone")
		}
	}
	ours.seal(ours.Dial(ours.app1, x.Address), cards)
	if n := ours.Decisions(wire.DecisionDenied, appOne, cards); n != 0 {
		t.Errorf("%d of our requests were denied", n)
	}
}

// deadlines lets the relay set some on an answer that is only recorded.
type deadlines struct{ *httptest.ResponseRecorder }

func (deadlines) SetReadDeadline(time.Time) error  { return nil }
func (deadlines) SetWriteDeadline(time.Time) error { return nil }
