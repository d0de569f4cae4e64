// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/pki/tlscert"
	"claviger/internal/wire"
)

// way and owner are the two sides of a relay or directory.
type way interface {
	Introductions(ctx context.Context) ([][]byte, error)
	Exchange(ctx context.Context, to Peer, sealed []byte) ([]byte, error)
	Statements(ctx context.Context) ([][]byte, error)
	Follow(ctx context.Context) iter.Seq2[[]byte, error]
	Address() string
}

type owner interface {
	PutIntroduction(ctx context.Context, introduction []byte) error
	PutStatement(ctx context.Context, signed []byte) error
	PutTokens(ctx context.Context, hashes []wire.Hash) error
	PutParcel(ctx context.Context, to wire.Hash, expires time.Time, sealed []byte) error
	DeleteParcel(ctx context.Context, number uint64) error
	Receive(ctx context.Context) iter.Seq2[*wire.Delivery, error]
	Answer(ctx context.Context, correlation, answer []byte) error
}

var (
	_ way   = (*Relay)(nil)
	_ way   = (*Directory)(nil)
	_ way   = DirectWay{}
	_ owner = (*RelayOwner)(nil)
	_ owner = (*DirectoryOwner)(nil)
)

var domain = wire.DomainID{1, 2, 3}

// voice is a server as far as transports see it.
type voice struct {
	key     ed25519.PrivateKey
	id      wire.ServerID
	mailbox *Mailbox
}

func newVoice() *voice {
	public, key, _ := ed25519.GenerateKey(rand.Reader)
	return &voice{key: key, id: wire.ServerIDOf(public), mailbox: NewMailbox()}
}

func (v *voice) introduction() []byte {
	now := time.Now().UnixMilli()
	d := wire.Descriptor{
		Type: wire.TypeDescriptor, Domain: domain, Server: v.id, HPKE: make([]byte, wire.PublicKeySize), Mailbox: v.mailbox.ID(),
		Issued: now, NotAfter: now + 1000,
	}
	signed, err := wire.Sign(wire.TypeDescriptor, wire.Marshal(d), v.key)
	if err != nil {
		panic(err)
	}
	return wire.Marshal(wire.Introduction{Descriptor: signed, Members: [][]byte{[]byte("genesis")}})
}

func (v *voice) statement(position uint64) []byte {
	s := wire.Statement{Type: wire.TypeStatement, Domain: domain, Server: v.id, Epoch: wire.Epoch{Generation: 1, Position: position}, Issued: time.Now().UnixMilli()}
	signed, err := wire.Sign(wire.TypeStatement, wire.Marshal(s), v.key)
	if err != nil {
		panic(err)
	}
	return signed
}

// serveTLS serves a handler as relays do, HTTP/2 included.
func serveTLS(t *testing.T, handler http.Handler) Address {
	t.Helper()
	cert, hash, err := tlscert.SelfSigned(clock.System())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.TLS = tlscert.ServerConfig(cert)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	server.StartTLS()
	t.Cleanup(server.CloseClientConnections)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	return Address{Kind: KindRelay, Host: server.Listener.Addr().String(), Pin: hash}
}

func relayAt(t *testing.T, a Address) *Relay {
	t.Helper()
	r, err := NewRelay(a, domain, Options{Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// double is a relay that keeps to docs/spec/relay.md as far as one client needs.
type double struct {
	t *testing.T
	*http.ServeMux
	answerIn time.Duration

	mu            sync.Mutex
	origin        string
	introductions map[string][]byte
	statements    map[string][]byte
	followers     []chan []byte
	tokens        map[string][]wire.Hash
	receivers     map[string]chan []byte
	waiting       map[string]chan []byte
	parcels       map[string]map[uint64][]byte
	number        uint64
}

func newDouble(t *testing.T) (*double, *Relay) {
	d := &double{
		t: t, ServeMux: http.NewServeMux(), answerIn: 200 * time.Millisecond, introductions: map[string][]byte{}, statements: map[string][]byte{},
		tokens: map[string][]wire.Hash{}, receivers: map[string]chan []byte{}, waiting: map[string]chan []byte{}, parcels: map[string]map[uint64][]byte{},
	}
	board := "/v1/board/" + domain.String()
	d.HandleFunc("PUT "+board+"/introduction", d.owned(func(w http.ResponseWriter, id string, body []byte, _ *http.Request) {
		d.introductions[id] = body
	}))
	d.HandleFunc("PUT "+board+"/statement", d.owned(func(w http.ResponseWriter, id string, body []byte, _ *http.Request) {
		d.statements[id] = body
		for _, f := range d.followers {
			f <- body
		}
	}))
	d.HandleFunc("GET "+board+"/introductions", d.board(d.introductions))
	d.HandleFunc("GET "+board+"/statements", d.board(d.statements))
	d.HandleFunc("GET "+board+"/follow", d.follow)
	d.HandleFunc("PUT "+board+"/parcels/{id}", d.owned(func(w http.ResponseWriter, _ string, body []byte, r *http.Request) { d.park(r, body) }))
	d.HandleFunc("PUT /v1/mailbox/{id}/tokens", d.owned(func(w http.ResponseWriter, id string, body []byte, _ *http.Request) {
		var hashes []wire.Hash
		if err := wire.Unmarshal(body, &hashes, 1000); err != nil {
			t.Errorf("tokens: %v", err)
		}
		d.tokens[id] = hashes
	}))
	d.HandleFunc("GET /v1/mailbox/{id}/receive", d.receive)
	d.HandleFunc("POST /v1/mailbox/{id}/exchange", d.exchange)
	d.HandleFunc("POST /v1/answer/{correlation}", d.answer)
	d.HandleFunc("DELETE /v1/mailbox/{id}/parcels/{number}", d.owned(func(w http.ResponseWriter, id string, _ []byte, r *http.Request) {
		n, _ := strconv.ParseUint(r.PathValue("number"), 10, 64)
		delete(d.parcels[id], n)
	}))
	a := serveTLS(t, d)
	d.origin = "https://" + a.Host
	return d, relayAt(t, a)
}

// prove checks a mailbox request and returns the mailbox's id.
func (d *double) prove(r *http.Request, body []byte) string {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Claviger ")
	signed, err := base64.RawURLEncoding.DecodeString(text)
	if !ok || err != nil {
		d.t.Errorf("%s %s: authorization %q", r.Method, r.URL, text)
		return ""
	}
	m, err := wire.ParseMailboxRequest(signed)
	if err != nil {
		d.t.Errorf("%s %s: %v", r.Method, r.URL, err)
		return ""
	}
	age := time.Since(time.UnixMilli(m.Issued)).Abs()
	if m.Audience != d.origin || "https://"+r.Host != d.origin || m.Method != r.Method || m.Target != r.RequestURI || m.Body != wire.BodyDigest(body) || age > time.Minute || m.Nonce == [16]byte{} {
		d.t.Errorf("%s %s: proved %+v", r.Method, r.URL, m)
	}
	return wire.MailboxID(m.Mailbox).String()
}

func (d *double) owned(f func(w http.ResponseWriter, id string, body []byte, r *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		id := d.prove(r, body)
		if want := r.PathValue("id"); want != "" && want != id && !strings.Contains(r.URL.Path, "/parcels/") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		f(w, id, body, r)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (d *double) board(of map[string][]byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		out := [][]byte{}
		for _, data := range of {
			out = append(out, data)
		}
		w.Header().Set("Content-Type", kindCBOR)
		_, _ = w.Write(wire.Marshal(out))
	}
}

func (d *double) stream(w http.ResponseWriter, r *http.Request, first [][]byte, more <-chan []byte) {
	w.Header().Set("Content-Type", kindCBOR)
	send := func(data []byte) {
		_, _ = w.Write(AppendFrame(nil, data))
		_ = http.NewResponseController(w).Flush()
	}
	send(nil)
	for _, data := range first {
		send(data)
	}
	for {
		select {
		case data := <-more:
			send(data)
		case <-r.Context().Done():
			return
		}
	}
}

func (d *double) follow(w http.ResponseWriter, r *http.Request) {
	more := make(chan []byte, 100)
	d.mu.Lock()
	d.followers = append(d.followers, more)
	var first [][]byte
	for _, s := range d.statements {
		first = append(first, s)
	}
	d.mu.Unlock()
	d.stream(w, r, first, more)
}

func (d *double) receive(w http.ResponseWriter, r *http.Request) {
	id := d.prove(r, nil)
	more := make(chan []byte, 100)
	d.mu.Lock()
	d.receivers[id] = more
	var first [][]byte
	for n, data := range d.parcels[id] {
		first = append(first, wire.Marshal(wire.Delivery{Number: n, Data: data}))
	}
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.receivers, id)
	}()
	d.stream(w, r, first, more)
}

func (d *double) refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"error":{"code":"`+code+`","message":"no","retryable":true}}`)
}

func (d *double) exchange(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	id := r.PathValue("id")
	token, _ := base64.RawURLEncoding.DecodeString(r.Header.Get("Claviger-Token"))
	correlation := random(32)
	answer := make(chan []byte, 1)
	d.mu.Lock()
	known := slices.Contains(d.tokens[id], wire.SendTokenHash(token))
	to := d.receivers[id]
	d.waiting[hex.EncodeToString(correlation)] = answer
	d.mu.Unlock()
	switch {
	case to == nil:
		d.refuse(w, http.StatusServiceUnavailable, "offline")
		return
	case !known:
		d.refuse(w, http.StatusForbidden, "denied")
		return
	}
	to <- wire.Marshal(wire.Delivery{Correlation: correlation, Data: body})
	select {
	case data := <-answer:
		w.Header().Set("Content-Type", kindCBOR)
		_, _ = w.Write(data)
	case <-time.After(d.answerIn):
		d.refuse(w, http.StatusGatewayTimeout, "timeout")
	}
}

func (d *double) answer(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	d.mu.Lock()
	defer d.mu.Unlock()
	answer := d.waiting[r.PathValue("correlation")]
	if answer == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	delete(d.waiting, r.PathValue("correlation"))
	answer <- body
	w.WriteHeader(http.StatusNoContent)
}

func (d *double) park(r *http.Request, body []byte) {
	id := r.PathValue("id")
	if n, err := strconv.ParseInt(r.URL.Query().Get("expires"), 10, 64); err != nil || n <= time.Now().UnixMilli() {
		return
	}
	d.number++
	if d.parcels[id] == nil {
		d.parcels[id] = map[uint64][]byte{}
	}
	d.parcels[id][d.number] = body
}
