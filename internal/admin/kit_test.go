// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"claviger/internal/admin/authkey"
	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/members"
	"claviger/internal/pki/tlscert"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// cheap is the least cost that a passphrase may have.
var cheap = root.Cost{MemoryKiB: 19 << 10, Passes: 2, Lanes: 1}

// fakeServer serves the admins' routes over a real authority log, and can be
// told to lie.
type fakeServer struct {
	t       testing.TB
	clock   *clock.Manual
	log     *authority.Log
	store   store.Store
	options authority.Options
	key     ed25519.PrivateKey
	hpke    *wire.Key
	tls     tls.Certificate
	tlsHash wire.Hash
	address string
	verify  *authn.AdminVerifier
	writes  atomic.Int64
	reads   atomic.Int64

	// lie, if set, may answer in the server's place: nil lets the server answer.
	lie func(r *http.Request, honest []byte) []byte
}

// founding says how newServer founds its domain.
type founding struct {
	admins    []*Key
	threshold uint64
	demo      bool
	recovery  members.Recovery
}

func memberKey(t testing.TB, name string, pub crypto.PublicKey) members.Key {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return members.Key{Name: name, Public: der}
}

// adminNames are the names of a founding's admins, in order.
var adminNames = []string{"alice", "bob", "carol"}

func newServer(t testing.TB, f founding) *fakeServer {
	t.Helper()
	clk := clock.NewManual(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeServer{t: t, clock: clk, key: key, hpke: wire.NewKey(), store: store.NewMem()}
	g := members.Genesis{
		Name: "acme", Demo: f.demo, RootGeneration: 1, Root: wire.Sum("root"), Recovery: f.recovery,
		Keys:    members.Keys{Threshold: f.threshold},
		Anchors: []members.Anchor{{Name: "embedded", Prefix: "spiffe://acme/workload/", Embedded: true}},
		Server:  members.Server{Name: "server1", Key: memberKey(t, "x", key.Public()).Public, EpochKey: wire.NewKey().Public()},
	}
	rand.Read(g.Random[:])
	for i, k := range f.admins {
		g.Keys.Keys = append(g.Keys.Keys, memberKey(t, adminNames[i], k.Public()))
	}
	genesis, err := authority.Genesis(g, clk.Now(), f.admins[0])
	if err != nil {
		t.Fatal(err)
	}
	found, err := members.Found(genesis)
	if err != nil {
		t.Fatal(err)
	}
	s.options = authority.Options{
		Store: s.store, Domain: found.Domain, BodySeal: secret.Random(32), SlotSeal: secret.Random(32),
		LocalSeal: secret.Random(32), Server: wire.ServerIDOf(key.Public()), Signer: key, Clock: clk, Fresh: true,
		Namer: func(string) wire.RevocationID { return wire.RevocationID{1} },
	}
	if s.log, err = authority.Create(t.Context(), s.options, genesis); err != nil {
		t.Fatal(err)
	}
	s.serve()
	return s
}

func (s *fakeServer) serve() {
	cert, hash, err := tlscert.SelfSigned(s.clock)
	if err != nil {
		s.t.Fatal(err)
	}
	s.tls, s.tlsHash = cert, hash
	s.verify = authn.NewAdminVerifier(s.options.Domain, s.tlsHash, s.clock)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.address = l.Addr().String()
	server := &http.Server{Handler: s, ErrorLog: nil}
	go server.Serve(tls.NewListener(l, tlscert.ServerConfig(cert)))
	s.t.Cleanup(func() { server.Close() })
}

// ServeHTTP answers and lets the test replace the answer.
func (s *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	answer, err := s.answer(r, body)
	if s.lie != nil {
		if lie := s.lie(r, answer); lie != nil {
			answer, err = lie, nil
		}
	}
	if err != nil {
		refused, ok := errors.AsType[*ServerError](err)
		if !ok {
			refused = &ServerError{Status: 409, Code: "refused", Message: err.Error()}
		}
		w.WriteHeader(refused.Status)
		json.NewEncoder(w).Encode(map[string]any{"error": refused})
		return
	}
	w.Write(answer)
}

func (s *fakeServer) answer(r *http.Request, body []byte) ([]byte, error) {
	switch r.URL.Path {
	case "/v1/introduction":
		return s.introduction(), nil
	case "/v1/statement":
		return []byte("statement"), nil
	}
	if err := s.authenticate(r, body); err != nil {
		return nil, &ServerError{Status: 401, Code: "unauthenticated", Message: err.Error()}
	}
	switch r.URL.Path {
	case "/v1/admin/records":
		from, _ := strconv.ParseUint(r.URL.Query().Get("from"), 10, 64)
		records, err := s.log.Records(r.Context(), from, 3) // small pages
		return wire.Marshal(append([]wire.Opened{}, records...)), err
	case "/v1/admin/entries":
		outcome, err := s.log.Propose(r.Context(), body)
		if err != nil {
			return nil, err
		}
		return json.Marshal(map[string]any{"applied": outcome.Applied})
	case "/v1/admin/pending":
		return s.pending(r.Context())
	case "/v1/admin/status":
		return []byte(`{"schema":1,"epoch":"1.1","audit":{"log":1,"leaves":1005}}`), nil
	case "/v1/admin/audit":
		return s.leaves(r.URL.Query()), nil
	case "/v1/admin/audit/export":
		return bytes.Repeat([]byte("archive "), 1000), nil
	case "/v1/admin/backup":
		return []byte("backup of " + r.Method), nil
	}
	return nil, &ServerError{Status: 404, Code: "not-found", Message: "no such route"}
}

// leaves answers like a log of 1005 leaves when it was asked for its status.
func (s *fakeServer) leaves(q url.Values) []byte {
	from, _ := strconv.ParseUint(q.Get("from"), 10, 64)
	n, _ := strconv.ParseUint(q.Get("n"), 10, 64)
	out := []Leaf{}
	for i := from; i < from+min(n, 1000); i++ { // there is always more: reading adds leaves
		out = append(out, Leaf{Log: 1, Index: i, Kind: "decision"})
	}
	data, err := json.Marshal(map[string]any{"schema": 1, "leaves": out})
	if err != nil {
		s.t.Error(err)
	}
	return data
}

func (s *fakeServer) pending(ctx context.Context) ([]byte, error) {
	list, err := s.log.Pending(ctx)
	out := [][]byte{}
	for _, p := range list {
		out = append(out, p.Entry)
	}
	return wire.Marshal(out), err
}

func (s *fakeServer) authenticate(r *http.Request, body []byte) error {
	signed, session, err := authn.ParseAuthorization(r.Header.Get("Authorization"))
	if err != nil {
		return err
	}
	if len(session) > 0 {
		s.reads.Add(1)
	} else {
		s.writes.Add(1)
	}
	var m *members.State
	s.log.View(func(st *authority.State) { m = st.Members })
	_, err = s.verify.Verify(parties{m}, nobody{}, authn.AdminRequest{
		Signed: signed, Session: session, Method: r.Method, Target: r.RequestURI, Body: body,
	})
	return err
}

// parties are admins and holders of the recovery quorum.
type parties struct{ *members.State }

func (p parties) Admin(kid wire.Hash) (members.Key, crypto.PublicKey, bool) {
	for _, k := range p.Recovery.Keys {
		if pub, err := k.PublicKey(); err == nil && k.Hash() == kid {
			return k, pub, true
		}
	}
	return p.State.Admin(kid)
}

type nobody struct{}

func (nobody) Revoked(string) bool { return false }

func (s *fakeServer) descriptor() wire.Descriptor {
	now := s.clock.Now().UnixMilli()
	return wire.Descriptor{
		Type: wire.TypeDescriptor, Domain: s.options.Domain, Server: s.options.Server, HPKE: s.hpke.Public(),
		TLS: s.tlsHash, Issued: now, NotAfter: now + 3600_000,
	}
}

func (s *fakeServer) introduction() []byte {
	var chain [][]byte
	s.log.View(func(st *authority.State) { chain = st.Members.Chain })
	return s.introduce(s.descriptor(), chain)
}

func (s *fakeServer) introduce(d wire.Descriptor, chain [][]byte) []byte {
	signed, err := wire.Sign(wire.TypeDescriptor, wire.Marshal(d), s.key)
	if err != nil {
		s.t.Error(err)
	}
	return wire.Marshal(wire.Introduction{Descriptor: signed, Members: chain})
}

// profile makes a profile for a key of the founding.
func (s *fakeServer) profile(name string, key *Key, demo bool) *Profile {
	s.t.Helper()
	dir := filepath.Join(s.t.TempDir(), name)
	// A key file: a passphrase costs more than all the rest of a test.
	content := filepath.Join(s.t.TempDir(), "key")
	if err := os.WriteFile(content, bytes.Repeat([]byte{1}, 32), 0o600); err != nil {
		s.t.Fatal(err)
	}
	n := NewProfile{Name: name, Demo: demo, Unlock: keyA(), KeyFile: content}
	sealed, err := authkey.Seal(name, key, n.Unlock, root.Cost{})
	if err != nil {
		s.t.Fatal(err)
	}
	p, own, err := CreateProfile(dir, n)
	if err != nil {
		s.t.Fatal(err)
	}
	own.Wipe()
	if err := p.writeFile(KeyFileName, sealed); err != nil {
		s.t.Fatal(err)
	}
	if p, err = OpenProfile(dir); err != nil {
		s.t.Fatal(err)
	}
	if err := p.Join(s.options.Domain, []string{s.address}, nil); err != nil {
		s.t.Fatal(err)
	}
	return p
}

func phrase() *secret.Bytes { return secret.Take([]byte("correct horse battery")) }

// with gives Options that open the profile's key and count how often.
func (s *fakeServer) with(p *Profile, opened *int) Options {
	return Options{Clock: s.clock, Key: func(context.Context) (*Key, error) {
		if opened != nil {
			*opened++
		}
		return p.Key(nil)
	}}
}

// connect connects or fails the test.
func (s *fakeServer) connect(p *Profile) *Session {
	s.t.Helper()
	session, err := Connect(s.t.Context(), p, s.with(p, nil))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(session.Close)
	return session
}

func keyCreate(name string) authority.KeyCreate {
	p := authority.KeyCreate{Name: name, Algorithm: authority.AES256, Settings: authority.Settings{Lease: 3600, Staleness: 900}}
	rand.Read(p.ID[:])
	rand.Read(p.Revocation[:])
	return p
}
