// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/relay"
	"claviger/internal/wire"
)

func TestRateOfAnAddress(t *testing.T) {
	clk := clock.NewManual(clock.System().Now())
	d := newDomain(t)
	x := start(t, setup{domains: []wire.DomainID{d.id()}, options: func(o *relay.Options) { o.Clock, o.Limits.Rate, o.Limits.Burst = clk, 2, 12 }})
	near, far := x.callerFrom("127.0.0.1"), x.callerFrom("127.0.0.2")
	refused := 0
	for range 13 {
		if got := near.ask("GET", "/v1/health", nil); got.status == 429 {
			refused++
			if got.header.Get("Retry-After") == "" {
				t.Error("busy without a time to wait")
			}
		}
	}
	if refused == 0 || refused == 13 {
		t.Errorf("%d of 13 refused", refused)
	}
	far.ask("GET", "/v1/health", nil).is(t, "another address", 200, "")
	clk.Advance(time.Second)
	for range 2 {
		near.ask("GET", "/v1/health", nil).is(t, "a second later", 200, "")
	}
	near.ask("GET", "/v1/health", nil).is(t, "the third in that second", 429, "busy")
}

// TestAnswersAreNotRationed: a key server answers as often as it is asked, from one
// address.
func TestAnswersAreNotRationed(t *testing.T) {
	clk := clock.NewManual(clock.System().Now())
	d := newDomain(t)
	x := start(t, setup{domains: []wire.DomainID{d.id()}, options: func(o *relay.Options) { o.Clock, o.Limits.Rate, o.Limits.Burst = clk, 0.001, 10 }})
	server := &keyServer{domain: d, person: d.first, box: x.callerFrom("127.0.0.3")}
	server.box.now = clk.Now
	must(t, "introduction", server.introduce(clk.Now()))
	token := server.token()
	server.echo()
	for n := range 40 {
		client := x.callerFrom(fmt.Sprintf("127.0.1.%d", 1+n/8))
		client.ask("POST", boxPath(server.box.id(), "exchange"), sealed("x"), "Claviger-Token", token).is(t, "exchange", 200, "")
	}
}

func TestConnectionsOfAnAddress(t *testing.T) {
	x, _, _ := one(t, setup{options: func(o *relay.Options) { o.Limits.ConnectionsPerAddress, o.Limits.Connections = 5, 7 }})
	host := strings.TrimPrefix(x.url, "https://")
	dial := func(from string) (net.Conn, error) {
		d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		return d.Dial("tcp", host)
	}
	var open []net.Conn
	for range 5 {
		c, err := dial("127.0.0.7")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	sixth, err := dial("127.0.0.7")
	if err != nil {
		t.Fatal(err)
	}
	defer sixth.Close()
	sixth.SetReadDeadline(clock.System().Now().Add(generous))
	if n, err := sixth.Read(make([]byte, 1)); n != 0 || err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("the sixth connection of an address stays: %v", err)
	}
	// Beyond the bound in all, an accepted one waits until another ends.
	client := x.callerFrom("127.0.0.8")
	done := make(chan result, 1)
	filler, err := dial("127.0.0.9")
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	go func() { done <- client.ask("GET", "/v1/health", nil) }()
	open[0].Close()
	open[1].Close()
	(<-done).is(t, "after another has ended", 200, "")
}

// raw opens a TLS connection for HTTP/1.1.
func (x *site) raw() *tls.Conn {
	x.t.Helper()
	c, err := tls.Dial("tcp", strings.TrimPrefix(x.url, "https://"), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { c.Close() })
	c.SetDeadline(clock.System().Now().Add(generous))
	return c
}

// TestSlowSenders: who stops in the middle of a message, or sends a byte now and
// then, is cut off.
func TestSlowSenders(t *testing.T) {
	x, server, token := one(t, setup{front: func(f *relay.Front) { f.Hurry(200*time.Millisecond, time.Second, time.Second) }})
	path := boxPath(server.box.id(), "exchange")
	head := func(more string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: relay\r\nClaviger-Token: " + token + "\r\n" + more + "\r\n"
	}
	for name, request := range map[string]string{
		"half a body":        head("Content-Length: 100\r\n") + "half",
		"half of the chunks": head("Transfer-Encoding: chunked\r\n") + "4\r\nhalf\r\n",
		"no body":            head("Content-Length: 100\r\n"),
	} {
		c := x.raw()
		io.WriteString(c, request)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		read(t, resp).is(t, name, 408, "slow")
		if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s: the connection stays", name)
		}
	}
	// Over HTTP/2 too, where the stream ends and not the connection.
	client := x.caller()
	pipe, w := io.Pipe()
	defer w.Close()
	req, err := http.NewRequest("POST", x.url+path, pipe)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Claviger-Token", token)
	go w.Write([]byte("half"))
	resp, err := client.http.Do(req)
	if err == nil {
		read(t, resp).is(t, "HTTP/2", 408, "slow")
	}
	w.CloseWithError(io.ErrClosedPipe)
	client.ask("GET", "/v1/health", nil).is(t, "afterwards", 200, "")
}

// TestSlowReaders: a follower that takes nothing is cut off, and holds up nobody.
func TestSlowReaders(t *testing.T) {
	x, server, _ := one(t, setup{front: func(f *relay.Front) {
		f.Hurry(3*time.Second, time.Second, 20*time.Millisecond)
		f.WriteFreely()
	}})
	var cut atomic.Int64
	slow := x.raw()
	io.WriteString(slow, "GET "+server.board("follow")+" HTTP/1.1\r\nHost: relay\r\n\r\n")
	eventually(t, "it follows", func() bool { return dump(t, x).Followers == 1 })
	quick := x.caller().stream(server.board("follow"))
	go func() {
		for {
			if _, err := quick.next(); err != nil {
				return
			}
			cut.Add(1)
		}
	}()
	st := wire.Statement{
		Type: wire.TypeStatement, Domain: server.domain.id(), Server: wire.ServerIDOf(server.key.Public()), Head: wire.Hash{2},
		Revoked: make([]wire.RevocationID, wire.MaxRevocations), Epoch: wire.Epoch{Generation: 1, Position: 1},
	}
	issued := server.box.now().UnixMilli() - 50_000
	eventually(t, "the slow one is cut", func() bool { // some megabytes on, when the kernel takes no more
		issued++
		st.Issued = issued
		signed, err := wire.Sign(wire.TypeStatement, wire.Marshal(st), server.key)
		if err != nil {
			t.Fatal(err)
		}
		server.box.owner("PUT", server.board("statement"), signed)
		return dump(t, x).Followers == 1
	})
	if cut.Load() == 0 {
		t.Error("the quick one heard nothing meanwhile")
	}
}

func dump(t testing.TB, x *site) *relay.Dump {
	t.Helper()
	d, err := x.front.Dump(context.Background(), true)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestSlowReceiver: what a receiver doesn't take is refused to its senders, and
// what waits for it is bounded.
func TestSlowReceiver(t *testing.T) {
	x, server, token := one(t, setup{front: func(f *relay.Front) { f.Hurry(4*time.Second, 10*time.Second, 100*time.Millisecond) }})
	target := boxPath(server.box.id(), "receive")
	slow := x.raw()
	io.WriteString(slow, "GET "+target+" HTTP/1.1\r\nHost: "+strings.TrimPrefix(x.url, "https://")+"\r\nAuthorization: "+server.box.prove("GET", target, nil)+"\r\n\r\n")
	eventually(t, "it receives", func() bool { return len(dump(t, x).Receivers) == 1 })
	client := x.caller()
	big := sealed(string(make([]byte, 300<<10)))
	var mu sync.Mutex
	count := map[string]int{}
	var all sync.WaitGroup
	for range 48 { // 14 MB: more than may wait for one receiver, and than the kernel takes
		all.Go(func() {
			code := client.ask("POST", boxPath(server.box.id(), "exchange"), big, "Claviger-Token", token).code
			mu.Lock()
			defer mu.Unlock()
			count[code]++
		})
	}
	eventually(t, "the receiver is cut", func() bool { return len(dump(t, x).Receivers) == 0 })
	all.Wait()
	if count["offline"] == 0 || count["busy"] == 0 || count[""] > 0 {
		t.Errorf("outcomes %v: some have to hear that too much waits, some that nobody takes it", count)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestManyFollowers: a thousand followers get each statement, in bounded memory.
func TestManyFollowers(t *testing.T) {
	x, server, _ := one(t, setup{options: func(o *relay.Options) { o.Limits.Rate, o.Limits.Burst = 1e6, 1e6 }})
	const many, connections = 1000, 10
	var callers []*caller
	for n := range connections {
		callers = append(callers, x.callerFrom(fmt.Sprintf("127.0.0.%d", 10+n)))
	}
	before := heap()
	streams := make([]*frames, many)
	for n := range streams {
		streams[n] = callers[n%connections].stream(server.board("follow"))
	}
	statement := server.statement(server.box.now())
	must(t, "statement", server.box.owner("PUT", server.board("statement"), statement))
	for n, s := range streams {
		if got, err := s.next(); err != nil || !bytes.Equal(got, statement) {
			t.Fatalf("follower %d: %v", n, err)
		}
	}
	after := heap()
	t.Logf("%d bytes of heap for each follower, both ends", (int64(after)-int64(before))/many)
	if after > before+many*(256<<10) {
		t.Errorf("heap went from %d to %d bytes", before, after)
	}
	for _, s := range streams {
		s.stop()
	}
	eventually(t, "all are gone", func() bool { return dump(t, x).Followers == 0 })
}

// TestFlood: what one address does to one mailbox doesn't stop another's.
func TestFlood(t *testing.T) {
	d := newDomain(t)
	other := newDomain(t)
	x := start(t, setup{domains: []wire.DomainID{d.id(), other.id()}, options: func(o *relay.Options) { o.Limits.UnderWay = 16 }})
	mine, theirs := x.server(d, d.first), x.server(other, other.first)
	token, theirToken := mine.token(), theirs.token()
	mine.box.http = x.callerFrom("127.0.0.20").http
	mine.echo()
	theirs.box.receive() // and answers nothing
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var refused, floods atomic.Int64
	for n := range 32 {
		attacker := x.callerFrom(fmt.Sprintf("127.0.0.%d", 30+n%4))
		go func() {
			for ctx.Err() == nil {
				resp, err := attacker.send(ctx, "POST", boxPath(theirs.box.id(), "exchange"), sealed(string(make([]byte, 64<<10))), "Claviger-Token", theirToken)
				if err != nil {
					continue
				}
				floods.Add(1)
				if resp.StatusCode == 429 {
					refused.Add(1)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}()
	}
	eventually(t, "the flood is refused", func() bool { return refused.Load() > 100 })
	client := x.callerFrom("127.0.0.21")
	for range 50 {
		client.ask("POST", boxPath(mine.box.id(), "exchange"), sealed("mine"), "Claviger-Token", token).is(t, "an exchange meanwhile", 200, "")
	}
	t.Logf("%d of %d requests of the flood refused", refused.Load(), floods.Load())
}

// TestNothingSealedIsLogged: neither contents nor tokens nor proofs stand in the
// log, and the ring holds sizes only.
func TestNothingSealedIsLogged(t *testing.T) {
	x, server, token := one(t, setup{})
	server.echo()
	client := x.caller()
	canary := "canary-in-a-sealed-message"
	client.ask("POST", boxPath(server.box.id(), "exchange"), sealed(canary), "Claviger-Token", token).is(t, "exchange", 200, "")
	must(t, "parcel", server.parcel(client.id(), server.box.now().Add(time.Hour), sealed(canary)))
	client.ask("POST", boxPath(server.box.id(), "exchange"), []byte(canary), "Claviger-Token", token).is(t, "garbage", 400, "malformed")
	client.ask("POST", boxPath(server.box.id(), "exchange"), []byte(canary), "Claviger-Token", canary).is(t, "garbage", 403, "token")
	d := dump(t, x)
	var ring strings.Builder
	seen := map[string]bool{}
	for _, p := range d.Passed {
		fmt.Fprintf(&ring, "%+v\n", p)
		seen[p.What] = true
		if p.What == "exchanged" && (p.Type != wire.TypeRequest || p.Size != len(sealed(canary)) || p.Address != "127.0.0.1" || p.Mailbox != server.box.id().String()) {
			t.Errorf("%+v", p)
		}
	}
	for _, what := range []string{"put-introduction", "put-tokens", "exchange", "exchanged", "answer", "put-parcel"} {
		if !seen[what] {
			t.Errorf("the ring lacks %s", what)
		}
	}
	for _, secret := range []string{canary, base64.RawURLEncoding.EncodeToString([]byte(canary)), token} {
		if strings.Contains(x.log.text(), secret) || strings.Contains(ring.String(), secret) {
			t.Errorf("%q stands in the log or in the ring", secret)
		}
	}
}

// TestDump: the dump shows all that is kept.
func TestDump(t *testing.T) {
	x, server, _ := one(t, setup{})
	statement := server.statement(server.box.now())
	must(t, "statement", server.box.owner("PUT", server.board("statement"), statement))
	client := x.caller()
	must(t, "parcel", server.parcel(client.id(), server.box.now().Add(time.Hour), sealed("parcel")))
	client.receive().delivery()
	d := dump(t, x)
	if len(d.Domains) != 1 || len(d.Domains[0].Servers) != 1 || len(d.Domains[0].Parcels) != 1 || len(d.Receivers) != 1 {
		t.Fatalf("%+v", d)
	}
	s, p := d.Domains[0].Servers[0], d.Domains[0].Parcels[0]
	if s.Mailbox != server.box.id().String() || s.Introduction == nil || s.Introduction.NotAfter == nil || len(s.Introduction.Raw) != s.Introduction.Size ||
		!bytes.Equal(s.Statement.Raw, statement) || s.Tokens == nil || len(s.Tokens.Hashes) != 1 || s.Tokens.Mailbox != s.Mailbox {
		t.Errorf("%+v", s)
	}
	if p.Mailbox != client.id().String() || p.Size != len(sealed("parcel")) || p.Type != wire.TypeRequest || p.Number == 0 {
		t.Errorf("%+v", p)
	}
	if without, err := x.front.Dump(t.Context(), false); err != nil || without.Domains[0].Servers[0].Introduction.Raw != nil {
		t.Errorf("raw bytes that nobody asked for: %v", err)
	}
	control := x.front.Control()
	for target, want := range map[string]string{
		fmt.Sprintf("/parcel/%s/%d", server.domain.id(), p.Number):   string(sealed("parcel")),
		fmt.Sprintf("/parcel/%s/%d", server.domain.id(), p.Number-1): `"code":"not-found"`,
		fmt.Sprintf("/parcel/%s/0", server.domain.id()):              `"code":"not-found"`,
		"/parcel/x/1": `"code":"not-found"`,
		"/dump":       `{"schema":1,`,
	} {
		w := newRecorder()
		req, err := http.NewRequest("GET", target, nil)
		if err != nil {
			t.Fatal(err)
		}
		control.ServeHTTP(w, req)
		if !strings.Contains(w.body.String(), want) {
			t.Errorf("%s: %.200q", target, w.body.String())
		}
	}
}

// recorder keeps an answer.
type recorder struct {
	header http.Header
	body   bytes.Buffer
	status int
}

func newRecorder() *recorder { return &recorder{header: http.Header{}, status: 200} }

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
