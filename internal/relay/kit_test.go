// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/members"
	"claviger/internal/pki/tlscert"
	"claviger/internal/relay"
	"claviger/internal/relay/natsbus"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// generous is how long a test waits for what should happen at once.
const generous = time.Minute

// person is an admin or a server with a signing key.
type person struct {
	name string
	key  ed25519.PrivateKey
}

func newPerson(name string) person {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return person{name, key}
}

func (p person) public() []byte {
	der, err := x509.MarshalPKIXPublicKey(p.key.Public())
	if err != nil {
		panic(err)
	}
	return der
}

func (p person) joined() members.Server {
	return members.Server{Name: p.name, Key: p.public(), EpochKey: make([]byte, wire.PublicKeySize)}
}

// domain is a trust domain with one admin.
type domain struct {
	t     testing.TB
	admin person
	first person
	state *members.State
}

func newDomain(t testing.TB) *domain {
	t.Helper()
	d := &domain{t: t, admin: newPerson("ann"), first: newPerson("s1")}
	g := members.Genesis{
		Name: "test", RootGeneration: 1, Root: wire.Sum("root"), Server: d.first.joined(),
		Keys:    members.Keys{Keys: []members.Key{{Name: "ann", Public: d.admin.public()}}, Threshold: 1},
		Anchors: []members.Anchor{{Name: "embedded", Prefix: "spiffe://test/workload/", Embedded: true}},
	}
	rand.Read(g.Random[:])
	state, err := members.Found(d.sign(wire.Body{Kind: members.KindGenesis, Payload: wire.Marshal(g)}))
	if err != nil {
		t.Fatal(err)
	}
	d.state = state
	return d
}

func (d *domain) id() wire.DomainID { return d.state.Domain }

func (d *domain) sign(body wire.Body, more ...person) []byte {
	body.Type, body.Expires = wire.TypeBody, 1
	rand.Read(body.ID[:])
	keys := []crypto.Signer{d.admin.key}
	for _, p := range more {
		keys = append(keys, p.key)
	}
	out, err := wire.Sign(wire.TypeBody, wire.Marshal(body), keys...)
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

// change applies a change of members.
func (d *domain) change(kind string, payload any, more ...person) {
	d.t.Helper()
	link := d.sign(wire.Body{Domain: d.id(), Kind: kind, Replaces: d.state.Newest, Payload: wire.Marshal(payload)}, more...)
	next, err := d.state.Apply(link)
	if err != nil {
		d.t.Fatal(err)
	}
	d.state = next
}

func (d *domain) fence(p person) {
	d.t.Helper()
	d.change(members.KindFence, members.Fence{Server: wire.ServerIDOf(p.key.Public())})
}

// keyServer is what a relay sees of a key server.
type keyServer struct {
	*domain
	person
	box  *caller
	edit func(*wire.Descriptor)
}

// introduction says where the server is, at a time.
func (s *keyServer) introduction(issued time.Time) []byte {
	d := wire.Descriptor{
		Type: wire.TypeDescriptor, Domain: s.id(), Server: wire.ServerIDOf(s.key.Public()), HPKE: make([]byte, wire.PublicKeySize),
		TLS: wire.Hash{1}, Mailbox: s.box.id(), Issued: issued.UnixMilli(), NotAfter: issued.Add(12 * time.Hour).UnixMilli(),
	}
	if s.edit != nil {
		s.edit(&d)
	}
	signed, err := wire.Sign(wire.TypeDescriptor, wire.Marshal(d), s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	return wire.Marshal(wire.Introduction{Descriptor: signed, Members: s.state.Chain})
}

func (s *keyServer) statement(issued time.Time) []byte {
	st := wire.Statement{
		Type: wire.TypeStatement, Domain: s.id(), Server: wire.ServerIDOf(s.key.Public()), Epoch: wire.Epoch{Generation: 1, Position: 2},
		Head: wire.Hash{2}, Members: s.state.Newest, Issued: issued.UnixMilli(),
	}
	signed, err := wire.Sign(wire.TypeStatement, wire.Marshal(st), s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	return signed
}

// site is a relay process.
type site struct {
	t     testing.TB
	front *relay.Front
	url   string
	at    string // address that callers sign for; "": url
	log   *logbook
	stop  func()
}

// logbook collects what is logged.
type logbook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logbook) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// setup of a relay for tests.
type setup struct {
	domains []wire.DomainID
	dir     string // of the embedded NATS; "": a new one
	nats    string // URL
	options func(*relay.Options)
	bus     func(relay.Bus) relay.Bus
	front   func(*relay.Front)
}

// start runs a relay with embedded NATS over real TLS.
func start(t testing.TB, s setup) *site {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	if s.dir == "" {
		s.dir = t.TempDir()
	}
	x := &site{t: t, log: &logbook{}}
	logger := slog.New(slog.NewTextHandler(x.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o := relay.Options{Domains: s.domains, Clock: clock.System(), Logger: logger}
	if s.options != nil {
		s.options(&o)
	}
	bus, err := natsbus.Open(ctx, natsbus.Options{Dir: s.dir, URL: s.nats, Domains: s.domains, Clock: o.Clock, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	o.Bus, o.Table, o.Parcels, o.Healthy = bus, bus, bus, bus.Healthy
	if s.bus != nil {
		o.Bus = s.bus(bus)
	}
	if x.front, err = relay.New(ctx, o); err != nil {
		t.Fatal(err)
	}
	if s.front != nil {
		s.front(x.front)
	}
	cert, _, err := tlscert.SelfSigned(clock.System())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x.url = "https://" + l.Addr().String()
	served := make(chan error, 1)
	go func() {
		served <- x.front.Serve(ctx, l, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}})
	}()
	x.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		bus.Close()
	})
	t.Cleanup(x.stop)
	return x
}

// caller is who asks a relay: a mailbox of its own and an HTTP client.
type caller struct {
	t    testing.TB
	site *site
	key  ed25519.PrivateKey
	http *http.Client
	from string // local address; "": any
	at   string // address that it signs for; "": the site's
	edit func(*wire.MailboxRequest)
	now  func() time.Time
}

func (x *site) caller() *caller { return x.callerFrom("") }

// callerFrom makes a caller at another address of this machine.
func (x *site) callerFrom(address string) *caller {
	c := &caller{t: x.t, site: x, at: x.at, key: newPerson("box").key, from: address, now: clock.System().Now}
	dialer := &net.Dialer{}
	if address != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(address)}
	}
	transport := &http.Transport{
		DialContext: dialer.DialContext, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		MaxIdleConnsPerHost: 64, DisableCompression: true,
	}
	c.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	x.t.Cleanup(transport.CloseIdleConnections)
	return c
}

func (c *caller) id() wire.Hash { return wire.MailboxID(c.key.Public().(ed25519.PublicKey)) }

// prove signs a mailbox request.
func (c *caller) prove(method, target string, body []byte) string {
	m := wire.MailboxRequest{
		Type: wire.TypeMailboxRequest, Mailbox: c.key.Public().(ed25519.PublicKey), Audience: cmp.Or(c.at, c.site.url), Method: method, Target: target,
		Body: wire.BodyDigest(body), Issued: c.now().UnixMilli(),
	}
	rand.Read(m.Nonce[:])
	if c.edit != nil {
		c.edit(&m)
	}
	signed, err := wire.Sign(wire.TypeMailboxRequest, wire.Marshal(m), c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	return "Claviger " + base64.RawURLEncoding.EncodeToString(signed)
}

// result is an answer, read.
type result struct {
	status int
	body   []byte
	code   string // of an error
	header http.Header
}

// send asks with the given headers, name and value alternating.
func (c *caller) send(ctx context.Context, method, target string, body []byte, headers ...string) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.site.url+target, reader)
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	return c.http.Do(req)
}

func (c *caller) ask(method, target string, body []byte, headers ...string) result {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), generous)
	defer cancel()
	resp, err := c.send(ctx, method, target, body, headers...)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, target, err)
	}
	return read(c.t, resp)
}

func read(t testing.TB, resp *http.Response) result {
	t.Helper()
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	r := result{status: resp.StatusCode, body: data, header: resp.Header}
	var e struct {
		Error struct {
			Code, Message string
			Retryable     *bool
		}
	}
	if r.status >= 400 {
		if err := json.Unmarshal(data, &e); err != nil || e.Error.Code == "" || e.Error.Message == "" || e.Error.Retryable == nil {
			t.Fatalf("status %d without the error's JSON: %q", r.status, data)
		}
		r.code = e.Error.Code
	}
	return r
}

// owner asks with the mailbox's proof.
func (c *caller) owner(method, target string, body []byte) result {
	c.t.Helper()
	return c.ask(method, target, body, "Authorization", c.prove(method, target, body))
}

func (r result) is(t testing.TB, what string, status int, code string) {
	t.Helper()
	if r.status != status || r.code != code {
		t.Errorf("%s: got %d %q, want %d %q (%.200s)", what, r.status, r.code, status, code, r.body)
	}
}

func must(t testing.TB, what string, r result) {
	t.Helper()
	if r.status >= 300 {
		t.Fatalf("%s: %d %s", what, r.status, r.body)
	}
}

// server puts a key server on the board.
func (x *site) server(d *domain, p person) *keyServer {
	x.t.Helper()
	s := &keyServer{domain: d, person: p, box: x.caller()}
	must(x.t, "introduction", s.introduce(clock.System().Now()))
	return s
}

func (s *keyServer) introduce(at time.Time) result {
	return s.box.owner("PUT", s.board("introduction"), s.introduction(at))
}

func (d *domain) board(what string) string { return "/v1/board/" + d.id().String() + "/" + what }

func boxPath(id wire.Hash, what string) string { return "/v1/mailbox/" + id.String() + "/" + what }

// token opens the server's mailbox and returns the header that does.
func (s *keyServer) token() string {
	s.t.Helper()
	token := make([]byte, wire.SendTokenSize)
	rand.Read(token)
	must(s.t, "tokens", s.box.owner("PUT", boxPath(s.box.id(), "tokens"), wire.Marshal([]wire.Hash{wire.SendTokenHash(token)})))
	return base64.RawURLEncoding.EncodeToString(token)
}

// frames is an open stream.
type frames struct {
	t    testing.TB
	resp *http.Response
	stop context.CancelFunc
}

func (c *caller) stream(target string, headers ...string) *frames {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	resp, err := c.send(ctx, "GET", target, nil, headers...)
	if err != nil {
		cancel()
		c.t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/cbor" {
		defer cancel()
		c.t.Fatalf("stream: %+v", read(c.t, resp))
	}
	c.t.Cleanup(cancel)
	return &frames{c.t, resp, cancel}
}

func (c *caller) receive() *frames {
	c.t.Helper()
	target := boxPath(c.id(), "receive")
	return c.stream(target, "Authorization", c.prove("GET", target, nil))
}

// next reads the next frame that isn't empty.
func (f *frames) next() ([]byte, error) {
	watch := time.AfterFunc(generous, f.stop)
	defer watch.Stop()
	for {
		message, err := transport.ReadFrame(f.resp.Body, wire.MaxDelivery)
		if err != nil || len(message) > 0 {
			return message, err
		}
	}
}

func (f *frames) delivery() *wire.Delivery {
	f.t.Helper()
	message, err := f.next()
	if err != nil {
		f.t.Fatal(err)
	}
	d, err := wire.ParseDelivery(message)
	if err != nil {
		f.t.Fatal(err)
	}
	return d
}

// sealed makes a message of the right outer form.
func sealed(inside string) []byte {
	return wire.Marshal(wire.Sealed{Type: wire.TypeRequest, Enc: make([]byte, 1120), CT: []byte(inside)})
}

// echo answers what the server's mailbox gets with the same message, until the
// stream ends.
func (s *keyServer) echo() *frames {
	s.t.Helper()
	f := s.box.receive()
	go func() {
		for {
			message, err := f.next()
			if err != nil {
				return
			}
			d, err := wire.ParseDelivery(message)
			if err != nil {
				return
			}
			go func() {
				resp, err := s.box.send(context.Background(), "POST", fmt.Sprintf("/v1/answer/%x", d.Correlation), d.Data)
				if err == nil {
					resp.Body.Close()
				}
			}()
		}
	}()
	return f
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(generous)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("%s: it didn't come to that", what)
		case <-tick.C:
		}
	}
}
