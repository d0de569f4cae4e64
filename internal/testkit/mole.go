// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"

	"claviger/internal/authority"
	"claviger/internal/kdf"
	"claviger/internal/members"
	"claviger/internal/pki/tlscert"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// Forgery is an honest answer that a Mole is about to sign and seal. What a test
// changes in it is signed as it is then.
type Forgery struct {
	Asked   *wire.Request
	Grant   *wire.Grant
	Release *wire.Release // Grant is filled in when it is empty
	Signers []crypto.Signer
	Type    string    // that the grant is signed as
	To      []byte    // HPKE key
	Info    wire.Hash // HPKE info
	Outer   string    // type of the sealed message
}

// Mole is a key server that lies. It keeps no keys: what it releases is random,
// with a commitment that fits.
type Mole struct {
	Address string
	Key     ed25519.PrivateKey
	ID      wire.ServerID

	domain     *Domain
	hpke       *wire.Key
	descriptor []byte
	mailbox    wire.Hash // not zero: it stands at a relay of its own
	state      *authority.State

	mu    sync.Mutex
	links [][]byte
	lie   func(*Forgery)
	asked int
}

// Mole starts one; joined says whether the admins take it in first.
func (d *Domain) Mole(joined bool) *Mole {
	d.tb.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	d.must(err)
	m := &Mole{Key: key, ID: wire.ServerIDOf(key.Public()), domain: d, hpke: wire.NewKey()}
	if joined {
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		d.must(err)
		d.Propose(members.KindJoin, members.Server{Name: "mole-" + m.ID.String()[:8], Key: der, EpochKey: wire.NewKey().Public()}, key)
	}
	cert, pin, err := tlscert.SelfSigned(d.o.Clock)
	d.must(err)
	now := d.o.Clock.Now()
	if d.outside != nil {
		rand.Read(m.mailbox[:])
	}
	m.descriptor, err = wire.Sign(wire.TypeDescriptor, wire.Marshal(wire.Descriptor{
		Type: wire.TypeDescriptor, Domain: d.Founded.Domain, Server: m.ID, HPKE: m.hpke.Public(), TLS: pin, Mailbox: m.mailbox,
		Issued: now.UnixMilli(), NotAfter: now.UnixMilli() + 3600_000,
	}), key)
	d.must(err)
	m.Learn()
	server := httptest.NewUnstartedServer(m.handler())
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequestClientCert, Certificates: []tls.Certificate{cert}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that refuse are what tests are about
	server.StartTLS()
	d.tb.Cleanup(server.Close)
	m.Address = server.Listener.Addr().String()
	if d.outside != nil {
		m.Address = "https://" + m.Address + "#" + wire.Hash(pin).String()
	}
	return m
}

// Learn makes the mole show the domain's present state.
func (m *Mole) Learn() {
	m.domain.tb.Helper()
	s := m.domain.State()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = s
}

// Show makes the mole add links to the member chain that it shows.
func (m *Mole) Show(links ...[]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.links = links
}

// Lie makes the mole change its answers from now on; nil is honesty.
func (m *Mole) Lie(f func(*Forgery)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lie = f
}

// Asked is how many requests reached the mole.
func (m *Mole) Asked() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked
}

func (m *Mole) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/introduction", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(m.Introduction()) })
	// A relay in league with it, for those who come over one.
	board := "/v1/board/" + m.domain.Founded.Domain.String()
	mux.HandleFunc("GET "+board+"/introductions", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/cbor")
		_, _ = w.Write(wire.Marshal([][]byte{m.Introduction()}))
	})
	mux.HandleFunc("POST /v1/mailbox/"+m.mailbox.String()+"/exchange", m.exchange)
	mux.HandleFunc("POST /v1/exchange", m.exchange)
	return mux
}

// Introduction is how the mole introduces itself.
func (m *Mole) Introduction() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return wire.Marshal(wire.Introduction{Descriptor: m.descriptor, Members: append(slices.Clone(m.state.Members.Chain), m.links...)})
}

func (m *Mole) exchange(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	var out []byte
	if err == nil {
		out, err = m.answer(body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/cbor")
	_, _ = w.Write(out)
}

func (m *Mole) answer(sealed []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	plain, err := m.hpke.Open(wire.TypeRequest, wire.DescriptorHash(m.descriptor), sealed, wire.MaxSealedSize)
	if err != nil {
		return nil, err
	}
	signed, err := wire.ParseSigned(wire.TypeRequest, plain, wire.MaxRequest)
	if err != nil {
		return nil, err
	}
	req, err := wire.ParseRequest(signed.Payload)
	if err != nil {
		return nil, err
	}
	f := m.honest(req, wire.SealedHash(sealed))
	if m.lie != nil {
		m.lie(f)
	}
	if f.Release.Grant == nil {
		if len(f.Signers) == 0 {
			return nil, errors.New("a forgery that nobody signs needs a grant")
		}
		if f.Release.Grant, err = wire.Sign(f.Type, wire.Marshal(*f.Grant), f.Signers...); err != nil {
			return nil, err
		}
	}
	return wire.Seal(f.To, f.Outer, f.Info, wire.Marshal(*f.Release))
}

// honest is what an honest server would answer that permits everything.
func (m *Mole) honest(req *wire.Request, hash wire.Hash) *Forgery {
	g := &wire.Grant{
		Type: wire.TypeGrant, Domain: req.Domain, Server: m.ID, Client: req.Client, HPKE: wire.HPKEHash(req.HPKE), Request: hash,
		Epoch: m.state.Epoch, Head: m.state.Head, Members: m.state.Members.Newest, Issued: m.domain.o.Clock.Now().UnixMilli(),
	}
	out := &wire.Release{}
	for _, item := range req.Items {
		key := secret.Random(kdf.KeySize)
		kc := kdf.Commit(key, req.Domain)
		got := wire.GrantItem{
			Name: item.Name, Version: max(item.Version, 1), State: wire.StateActive, Algorithm: "aes256", Purpose: item.Purpose,
			Partition: item.Partition, Operations: item.Operations, Decision: wire.DecisionAllowed, KC: kc[:], Lease: 3600, Staleness: 900,
			Revocation: []wire.RevocationID{{1}}, AuditLog: 1,
		}
		known := m.state.KeyNamed(item.Name)
		if item.Name == "" {
			known = m.state.Key(wire.KeyID(item.ID))
		}
		if known != nil {
			got.Name, got.KeyID = known.Name, known.ID
		}
		g.Items = append(g.Items, got)
		out.Keys = append(out.Keys, append([]byte(nil), key.Expose()...))
		key.Wipe()
	}
	return &Forgery{
		Asked: req, Grant: g, Release: out, Signers: []crypto.Signer{m.Key}, Type: wire.TypeGrant,
		To: req.HPKE, Info: wire.ReleaseInfo(hash), Outer: wire.TypeRelease,
	}
}

// Statement is one that the mole signs, true of the state that it knows but for
// what edit changes.
func (m *Mole) Statement(edit func(*wire.Statement)) []byte {
	m.domain.tb.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	st := wire.Statement{
		Type: wire.TypeStatement, Domain: m.domain.Founded.Domain, Server: m.ID, Epoch: m.state.Epoch, Head: m.state.Head,
		Members: m.state.Members.Newest, Issued: m.domain.o.Clock.Now().UnixMilli(),
	}
	edit(&st)
	signed, err := wire.Sign(wire.TypeStatement, wire.Marshal(st), m.Key)
	m.domain.must(err)
	return signed
}
