// SPDX-License-Identifier: Apache-2.0

package keyserver_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/kdf"
	"claviger/internal/keyserver"
	"claviger/internal/members"
	"claviger/internal/pki/tlscert"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// rig is a real server on loopback with one admin.
type rig struct {
	t       testing.TB
	dir     string
	admin   ed25519.PrivateKey
	founded *keyserver.Founded
	server  *keyserver.Server
	addr    string
	state   *members.State
	desc    *wire.Descriptor
	signed  []byte // descriptor
	stop    context.CancelFunc
	ended   chan error
	open    func() *root.Secret
	serve   func(*keyserver.Options)
	metrics string // address
	control string // path
}

// custody makes a root sealed under a key file and hands it out twice.
func custody(t testing.TB, dir string) func() *root.Secret {
	t.Helper()
	key := secret.Random(32)
	r, err := root.Create(filepath.Join(dir, "root"), 1, root.Sealing{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	r.Wipe()
	return func() *root.Secret {
		r, err := root.Open(filepath.Join(dir, "root"), root.Unlock{Key: key})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
}

// setup varies a rig.
type setup struct {
	init    func(*keyserver.InitOptions)
	serve   func(*keyserver.Options)
	sealing *root.Sealing // of the root; nil: a key file, and the rig starts unsealed
}

func newRig(t testing.TB) *rig { return newRigWith(t, setup{}) }

func newRigWith(t testing.TB, how setup) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), ended: make(chan error, 1), serve: how.serve}
	var secretRoot *root.Secret
	if how.sealing != nil {
		var err error
		if secretRoot, err = root.Create(filepath.Join(r.dir, "root"), 1, *how.sealing); err != nil {
			t.Fatal(err)
		}
	} else {
		r.open = custody(t, r.dir)
		secretRoot = r.open()
	}
	_, r.admin, _ = ed25519.GenerateKey(rand.Reader)
	der, _ := x509.MarshalPKIXPublicKey(r.admin.Public())
	o := keyserver.InitOptions{
		Dir: r.dir, Name: "test", Root: secretRoot, Admin: r.admin, Clock: clock.System(),
		Keys: members.Keys{Keys: []members.Key{{Name: "ann", Public: der}}, Threshold: 1},
	}
	if how.init != nil {
		how.init(&o)
	}
	var err error
	r.founded, err = keyserver.Init(t.Context(), o)
	secretRoot.Wipe()
	if err != nil {
		t.Fatal(err)
	}
	if r.open == nil {
		r.start(nil)
	} else {
		r.start(r.open())
	}
	return r
}

// start serves; with a root, unsealed.
func (r *rig) start(secretRoot *root.Secret) {
	r.t.Helper()
	o := keyserver.Options{Dir: r.dir, Domain: r.founded.Domain, Clock: clock.System()}
	if r.serve != nil {
		r.serve(&o)
	}
	var err error
	if r.server, err = keyserver.New(o); err != nil {
		r.t.Fatal(err)
	}
	if secretRoot != nil {
		if err := r.server.Unseal(r.t.Context(), secretRoot); err != nil {
			r.t.Fatal(err)
		}
	}
	var l keyserver.Listeners
	l.API, r.addr = r.listen("tcp", "127.0.0.1:0")
	l.Metrics, r.metrics = r.listen("tcp", "127.0.0.1:0")
	short, err := os.MkdirTemp("", "ks") // a socket's path has 108 bytes at most
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { os.RemoveAll(short) })
	l.Control, r.control = r.listen("unix", filepath.Join(short, "control.sock"))
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	ended, server := make(chan error, 1), r.server
	r.ended = ended
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		ended <- server.Serve(ctx, l)
	}()
	r.t.Cleanup(func() { stop(); <-gone })
	if secretRoot != nil {
		r.introduce()
	}
}

func (r *rig) listen(network, address string) (net.Listener, string) {
	r.t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		r.t.Fatal(err)
	}
	return l, l.Addr().String()
}

// halt ends the server and waits until it is gone.
func (r *rig) halt() {
	r.t.Helper()
	r.stop()
	if err := <-r.ended; err != nil {
		r.t.Fatalf("stop: %v", err)
	}
}

// restart ends the server and starts it again from what is on the disk.
func (r *rig) restart() {
	r.t.Helper()
	r.halt()
	r.start(r.open())
}

// client makes an HTTP client that pins the server's TLS key once it is known.
func (r *rig) client(identity *tls.Certificate) *http.Client {
	cfg := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
	if r.desc != nil {
		cfg = tlscert.ClientConfig(r.desc.TLS, identity)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true}, Timeout: 20 * time.Second}
}

func (r *rig) introduce() {
	r.t.Helper()
	r.desc = nil
	status, body := r.do(r.client(nil), "GET", "/v1/introduction", nil, "")
	if status != 200 {
		r.t.Fatalf("introduction: %d %s", status, body)
	}
	in, err := wire.ParseIntroduction(body)
	if err != nil {
		r.t.Fatal(err)
	}
	if r.state, err = members.Verify(in.Members, r.founded.Domain); err != nil {
		r.t.Fatal(err)
	}
	key, err := r.state.ServerKey(r.founded.Server)
	if err != nil {
		r.t.Fatal(err)
	}
	if r.desc, err = wire.ParseDescriptor(in.Descriptor, key); err != nil {
		r.t.Fatal(err)
	}
	r.signed = in.Descriptor
}

func (r *rig) do(c *http.Client, method, path string, body []byte, auth string) (int, []byte) {
	r.t.Helper()
	status, out, err := r.tryDo(c, method, path, body, auth)
	if err != nil {
		r.t.Fatal(err)
	}
	return status, out
}

func (r *rig) tryDo(c *http.Client, method, path string, body []byte, auth string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(r.t.Context(), method, "https://"+r.addr+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	return resp.StatusCode, out, err
}

// asAdmin makes a signed admin request.
func (r *rig) asAdmin(method, path string, body []byte) (int, []byte) {
	r.t.Helper()
	status, out, err := r.tryAdmin(method, path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	return status, out
}

func (r *rig) tryAdmin(method, path string, body []byte) (int, []byte, error) {
	return r.tryDo(r.client(nil), method, path, body, r.authorization(method, path, body))
}

// authorization is the header of a request that the admin signs.
func (r *rig) authorization(method, path string, body []byte) string {
	r.t.Helper()
	auth, err := authn.AdminSigner{Domain: r.founded.Domain, TLS: r.desc.TLS, Key: r.admin, Clock: clock.System()}.Sign(method, path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	return auth
}

// replay reads the log as an admin does.
func (r *rig) replay() *authority.State {
	r.t.Helper()
	state, err := r.tryReplay()
	if err != nil {
		r.t.Fatal(err)
	}
	return state
}

func (r *rig) tryReplay() (*authority.State, error) {
	var state *authority.State
	from := "1"
	for {
		status, body, err := r.tryAdmin("GET", "/v1/admin/records?from="+from, nil)
		if err != nil || status != 200 {
			return nil, fmt.Errorf("records: %d %s: %w", status, body, err)
		}
		var page []wire.Opened
		if err := wire.Unmarshal(body, &page, 8<<20); err != nil {
			return nil, err
		}
		if len(page) == 0 {
			return state, nil
		}
		for _, o := range page {
			if state == nil {
				state, err = authority.Found(o.Link, o.Entry)
			} else {
				err = state.Fold(o.Link, o.Entry, nil)
			}
			if err != nil {
				return nil, err
			}
		}
		from = jsonNumber(state.Epoch.Position + 1)
	}
}

func jsonNumber(n uint64) string { b, _ := json.Marshal(n); return string(b) }

// propose signs a body as the admin and expects it to be applied.
func (r *rig) propose(kind string, payload any) {
	r.t.Helper()
	entry, err := r.replay().Entry(kind, payload, time.Now().Add(time.Hour), r.admin)
	if err != nil {
		r.t.Fatal(err)
	}
	status, body := r.asAdmin("POST", "/v1/admin/entries", entry)
	if status != 200 || !bytes.Contains(body, []byte(`"applied":true`)) {
		r.t.Fatalf("%s: %d %s", kind, status, body)
	}
}

func (r *rig) createKey(name, algorithm string) {
	r.t.Helper()
	r.propose(authority.KindKeyCreate, newKey(name, algorithm))
}

func newKey(name, algorithm string) authority.KeyCreate {
	p := authority.KeyCreate{Name: name, Algorithm: algorithm, Settings: authority.Settings{Lease: 3600, Staleness: 900}}
	rand.Read(p.ID[:])
	rand.Read(p.Revocation[:])
	return p
}

// workload is an enrolled client.
type workload struct {
	id    string
	key   *ecdsa.PrivateKey
	chain [][]byte
}

func (r *rig) enroll(name string) *workload {
	r.t.Helper()
	w, answer := r.enrolWith(r.invite(name, time.Hour))
	if answer == nil || answer.Reason != "" {
		r.t.Fatalf("enrolment refused: %+v", answer)
	}
	return w
}

// ticket is an invite and its seed.
type ticket struct {
	authority.Invite
	seed ed25519.PrivateKey
}

func (r *rig) invite(name string, life time.Duration) ticket {
	r.t.Helper()
	pub, seed, _ := ed25519.GenerateKey(rand.Reader)
	inv := authority.Invite{Client: "spiffe://test/workload/" + name, Key: pub, Expires: time.Now().Add(life).UnixMilli()}
	rand.Read(inv.ID[:])
	r.propose(authority.KindInvite, inv)
	return ticket{inv, seed}
}

// enrolment makes a sealed enrolment and the key that its answer opens with.
func (r *rig) enrolment(with ticket, key crypto.Signer, signers ...crypto.Signer) ([]byte, *wire.Key) {
	r.t.Helper()
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		r.t.Fatal(err)
	}
	hpke := wire.NewKey()
	e := wire.Enroll{
		Type: wire.TypeEnroll, Domain: r.founded.Domain, Invite: with.ID, CSR: csr, HPKE: hpke.Public(),
		Descriptor: wire.DescriptorHash(r.signed), NotAfter: time.Now().Add(30 * time.Second).UnixMilli(),
	}
	rand.Read(e.Nonce[:])
	msg, err := wire.Sign(wire.TypeEnroll, wire.Marshal(e), signers...)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.seal(wire.TypeEnroll, msg), hpke
}

// enrolWith enrols; a nil answer means that the server refused it unsigned.
func (r *rig) enrolWith(with ticket) (*workload, *wire.Enrolled) {
	r.t.Helper()
	w := &workload{id: with.Client}
	w.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	sealed, hpke := r.enrolment(with, w.key, with.seed, w.key)
	status, body := r.do(r.client(nil), "POST", "/v1/enroll", sealed, "")
	if status != 200 {
		return w, nil
	}
	answer, err := wire.ParseEnrolled(r.unseal(hpke, wire.TypeEnrolled, sealed, body), r.serverKey())
	if err != nil {
		r.t.Fatal(err)
	}
	w.chain = answer.Chain
	return w, answer
}

func (r *rig) seal(typ string, msg []byte) []byte {
	r.t.Helper()
	sealed, err := wire.Seal(r.desc.HPKE, typ, wire.DescriptorHash(r.signed), msg)
	if err != nil {
		r.t.Fatal(err)
	}
	return sealed
}

func (r *rig) unseal(key *wire.Key, typ string, request, answer []byte) []byte {
	r.t.Helper()
	plain, err := key.Open(typ, wire.ReleaseInfo(wire.SealedHash(request)), answer, 1<<20)
	if err != nil {
		r.t.Fatal(err)
	}
	return plain
}

func (r *rig) serverKey() crypto.PublicKey {
	key, err := r.state.ServerKey(r.founded.Server)
	if err != nil {
		r.t.Fatal(err)
	}
	return key
}

func (w *workload) identity() *tls.Certificate {
	return &tls.Certificate{Certificate: w.chain, PrivateKey: w.key}
}

// request makes a sealed request for one data key.
func (r *rig) request(w *workload, item wire.Item, life time.Duration) ([]byte, *wire.Key) {
	r.t.Helper()
	hpke := wire.NewKey()
	req := wire.Request{
		Type: wire.TypeRequest, Domain: r.founded.Domain, Client: w.id, HPKE: hpke.Public(), Items: []wire.Item{item},
		Descriptor: wire.DescriptorHash(r.signed), NotAfter: time.Now().Add(life).UnixMilli(),
	}
	rand.Read(req.Nonce[:])
	msg, err := wire.SignChain(wire.TypeRequest, wire.Marshal(req), w.chain, w.key)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.seal(wire.TypeRequest, msg), hpke
}

func dataKey(key string, ops ...string) wire.Item {
	return wire.Item{Name: key, Purpose: wire.PurposeData, Operations: ops}
}

// release asks for one data key.
func (r *rig) release(w *workload, key string, ops ...string) (*wire.Grant, *wire.Release) {
	r.t.Helper()
	return r.releaseItem(w, dataKey(key, ops...))
}

func (r *rig) releaseItem(w *workload, item wire.Item) (*wire.Grant, *wire.Release) {
	r.t.Helper()
	sealed, hpke := r.request(w, item, 30*time.Second)
	status, body := r.do(r.client(w.identity()), "POST", "/v1/exchange", sealed, "")
	if status != 200 {
		r.t.Fatalf("exchange: %d %s", status, body)
	}
	rel, err := wire.ParseRelease(r.unseal(hpke, wire.TypeRelease, sealed, body))
	if err != nil {
		r.t.Fatal(err)
	}
	grant, err := wire.ParseGrant(rel.Grant, r.serverKey())
	if err != nil {
		r.t.Fatal(err)
	}
	return grant, rel
}

func (r *rig) allow(source string) {
	r.t.Helper()
	r.propose(authority.KindPolicy, authority.Policy{Source: []byte(source)})
}

const allowApp1 = `@id("app1") permit(principal == Workload::"spiffe://test/workload/app1", action in [Action::"release", Action::"encrypt", Action::"decrypt"], resource == Key::"payments/cards");`

func TestReleaseEndToEnd(t *testing.T) {
	r := newRig(t)
	r.createKey("payments/cards", authority.AES256)
	app1, app2 := r.enroll("app1"), r.enroll("app2")
	if g, _ := r.release(app1, "payments/cards", "encrypt"); g.Items[0].Decision != wire.DecisionDenied || g.Items[0].Reason != "no policy allows it" {
		t.Errorf("without a policy: %+v", g.Items[0])
	}
	r.allow(allowApp1)
	g, rel := r.release(app1, "payments/cards", "encrypt", "decrypt")
	if g.Items[0].Decision != wire.DecisionAllowed {
		t.Fatalf("denied: %s", g.Items[0].Reason)
	}
	leaf := secret.Take(rel.Keys[0])
	if kc := kdf.Commit(leaf, r.founded.Domain); !bytes.Equal(kc[:], g.Items[0].KC) {
		t.Error("the key does not match its commitment")
	}
	if g, _ := r.release(app2, "payments/cards", "encrypt"); g.Items[0].Decision != wire.DecisionDenied {
		t.Error("app2 got a key that no policy allows")
	}
	if g, _ := r.release(app1, "no/such", "encrypt"); g.Items[0].Reason != "no policy allows it" {
		t.Errorf("an absent key is told apart: %q", g.Items[0].Reason)
	}
}

func TestServerSideUse(t *testing.T) {
	r := newRig(t)
	r.createKey("payments/cards", authority.AES256)
	app1 := r.enroll("app1")
	r.allow(allowApp1)
	c := r.client(app1.identity())
	in := `{"items":[{"op":"encrypt","key":"payments/cards","plaintext":"aGVsbG8="},{"op":"encrypt","key":"other","plaintext":"aGVsbG8="}]}`
	status, body := r.do(c, "POST", "/v1/use", []byte(in), "")
	var out struct {
		Items []struct {
			Ciphertext []byte
			Plaintext  []byte
			Error      *struct{ Code string }
		}
	}
	if err := json.Unmarshal(body, &out); err != nil || status != 200 || len(out.Items) != 2 {
		t.Fatalf("use: %d %s", status, body)
	}
	if out.Items[1].Error == nil || out.Items[1].Error.Code != "denied" {
		t.Errorf("second item: %s", body)
	}
	ct, _ := json.Marshal(out.Items[0].Ciphertext)
	status, body = r.do(c, "POST", "/v1/use", []byte(`{"items":[{"op":"decrypt","key":"payments/cards","ciphertext":`+string(ct)+`}]}`), "")
	if err := json.Unmarshal(body, &out); err != nil || status != 200 || string(out.Items[0].Plaintext) != "hello" {
		t.Fatalf("decrypt: %d %s", status, body)
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	r := newRig(t)
	r.createKey("k", authority.AES256)
	app := r.enroll("app1")
	r.allow(`permit(principal, action, resource);`)
	first, rel := r.release(app, "k", "encrypt")
	before := rel.Keys[0]
	r.restart()
	second, rel := r.release(app, "k", "encrypt")
	if !bytes.Equal(before, rel.Keys[0]) || second.Epoch.Compare(first.Epoch) < 0 {
		t.Error("after a restart the key or the epoch is another")
	}
}

func itemByID(id wire.KeyID) wire.Item {
	return wire.Item{ID: id[:], Purpose: wire.PurposeData, Operations: []string{"encrypt"}}
}
