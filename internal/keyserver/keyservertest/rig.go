// SPDX-License-Identifier: Apache-2.0

package keyservertest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/api"
	"claviger/internal/keyserver/datadir"
	"claviger/internal/keyserver/outward"
	"claviger/internal/members"
	"claviger/internal/pki/tlscert"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// Rig is a real server on loopback with one admin. Its methods fail the test,
// but for those that begin with Try.
type Rig struct {
	T       testing.TB
	Dir     string
	Admin   ed25519.PrivateKey // ann's
	Founded *datadir.Founded
	Server  *api.Server
	Addr    string              // of the API
	Metrics string              // address
	Control string              // path of the control socket
	State   *members.State      // as introduced
	Desc    *wire.Descriptor    // as introduced
	Signed  []byte              // the descriptor, signed
	Stop    context.CancelFunc  // ends the server
	Ended   chan error          // how it ended
	Open    func() *root.Secret // opens the custody file; nil where Setup.Sealing says how

	serve func(*keyserver.Options)
	key   *secret.Bytes
	carry func(wire.DomainID) []outward.Carrier
}

// custody makes a root sealed under a key file.
func (r *Rig) custody() {
	r.T.Helper()
	r.key = secret.Random(32)
	made, err := root.Create(filepath.Join(r.Dir, "root"), 1, root.Sealing{Key: r.key})
	if err != nil {
		r.T.Fatal(err)
	}
	made.Wipe()
	r.Open = func() *root.Secret {
		opened, err := root.Open(filepath.Join(r.Dir, "root"), root.Unlock{Key: r.key})
		if err != nil {
			r.T.Fatal(err)
		}
		return opened
	}
}

// Key is what the key file holds.
func (r *Rig) Key() *secret.Bytes { return r.key }

// Setup varies a rig; all of it may be left out.
type Setup struct {
	Init    func(*datadir.InitOptions)
	Serve   func(*keyserver.Options)
	Sealing *root.Sealing // of the root; nil: a key file, and the rig starts unsealed

	// Carriers are relays and directories of the server; the options' Mailbox and
	// Reach go with them.
	Carriers func(wire.DomainID) []outward.Carrier
}

// New founds a domain and starts its server, unsealed.
func New(t testing.TB) *Rig { return NewWith(t, Setup{}) }

// NewWith is New with something else.
func NewWith(t testing.TB, how Setup) *Rig {
	t.Helper()
	r := &Rig{T: t, Dir: t.TempDir(), Ended: make(chan error, 1), serve: how.Serve, carry: how.Carriers}
	var secretRoot *root.Secret
	if how.Sealing != nil {
		var err error
		if secretRoot, err = root.Create(filepath.Join(r.Dir, "root"), 1, *how.Sealing); err != nil {
			t.Fatal(err)
		}
	} else {
		r.custody()
		secretRoot = r.Open()
	}
	_, r.Admin, _ = ed25519.GenerateKey(rand.Reader)
	der, _ := x509.MarshalPKIXPublicKey(r.Admin.Public())
	o := datadir.InitOptions{
		Dir: r.Dir, Name: "test", Root: secretRoot, Admin: r.Admin, Clock: clock.System(),
		Keys: members.Keys{Keys: []members.Key{{Name: "ann", Public: der}}, Threshold: 1},
	}
	if how.Init != nil {
		how.Init(&o)
	}
	var err error
	r.Founded, err = datadir.Init(t.Context(), o)
	secretRoot.Wipe()
	if err != nil {
		t.Fatal(err)
	}
	if r.Open == nil {
		r.Start(nil)
	} else {
		r.Start(r.Open())
	}
	return r
}

// Start serves; with a root, unsealed.
func (r *Rig) Start(secretRoot *root.Secret) {
	r.T.Helper()
	o := keyserver.Options{Dir: r.Dir, Domain: r.Founded.Domain, Clock: clock.System()}
	if r.serve != nil {
		r.serve(&o)
	}
	var err error
	var carriers []outward.Carrier
	if r.carry != nil {
		carriers = r.carry(r.Founded.Domain)
	}
	if r.Server, err = api.New(o, nil, carriers...); err != nil {
		r.T.Fatal(err)
	}
	if secretRoot != nil {
		if err := r.Server.Unseal(r.T.Context(), secretRoot); err != nil {
			r.T.Fatal(err)
		}
	}
	var l api.Listeners
	l.API, r.Addr = r.listen("tcp", "127.0.0.1:0")
	l.Metrics, r.Metrics = r.listen("tcp", "127.0.0.1:0")
	short, err := os.MkdirTemp("", "ks") // a socket's path has 108 bytes at most
	if err != nil {
		r.T.Fatal(err)
	}
	r.T.Cleanup(func() { os.RemoveAll(short) })
	l.Control, r.Control = r.listen("unix", filepath.Join(short, "control.sock"))
	ctx, stop := context.WithCancel(context.Background())
	r.Stop = stop
	ended, server := make(chan error, 1), r.Server
	r.Ended = ended
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		ended <- server.Serve(ctx, l)
	}()
	r.T.Cleanup(func() { stop(); <-gone })
	if secretRoot != nil {
		r.Introduce()
	}
}

func (r *Rig) listen(network, address string) (net.Listener, string) {
	r.T.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		r.T.Fatal(err)
	}
	return l, l.Addr().String()
}

// Halt ends the server and waits until it is gone.
func (r *Rig) Halt() {
	r.T.Helper()
	r.Stop()
	if err := <-r.Ended; err != nil {
		r.T.Fatalf("stop: %v", err)
	}
}

// Restart ends the server and starts it again from what is on the disk.
func (r *Rig) Restart() {
	r.T.Helper()
	r.Halt()
	r.Start(r.Open())
}

// Client makes an HTTP client that pins the server's TLS key once it is known.
func (r *Rig) Client(identity *tls.Certificate) *http.Client {
	cfg := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
	if r.Desc != nil {
		cfg = tlscert.ClientConfig(r.Desc.TLS, identity)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true}, Timeout: 20 * time.Second}
}

// Introduce reads and verifies the descriptor, as a client does first.
func (r *Rig) Introduce() {
	r.T.Helper()
	r.Desc = nil
	status, body := r.Do(r.Client(nil), "GET", "/v1/introduction", nil, "")
	if status != 200 {
		r.T.Fatalf("introduction: %d %s", status, body)
	}
	in, err := wire.ParseIntroduction(body)
	if err != nil {
		r.T.Fatal(err)
	}
	if r.State, err = members.Verify(in.Members, r.Founded.Domain); err != nil {
		r.T.Fatal(err)
	}
	key, err := r.State.ServerKey(r.Founded.Server)
	if err != nil {
		r.T.Fatal(err)
	}
	if r.Desc, err = wire.ParseDescriptor(in.Descriptor, key); err != nil {
		r.T.Fatal(err)
	}
	r.Signed = in.Descriptor
}

// Do makes a request; the Authorization header may be left out.
func (r *Rig) Do(c *http.Client, method, path string, body []byte, auth string) (int, []byte) {
	r.T.Helper()
	status, out, err := r.TryDo(c, method, path, body, auth)
	if err != nil {
		r.T.Fatal(err)
	}
	return status, out
}

// Status makes a request and tells its status, without waiting for the end of the
// answer: some have none.
func (r *Rig) Status(c *http.Client, method, path, auth string) int {
	r.T.Helper()
	req, err := http.NewRequestWithContext(r.T.Context(), method, "https://"+r.Addr+path, http.NoBody)
	if err != nil {
		r.T.Fatal(err)
	}
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	resp, err := c.Do(req)
	if err != nil {
		r.T.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TryDo is Do that reports instead of failing.
func (r *Rig) TryDo(c *http.Client, method, path string, body []byte, auth string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(r.T.Context(), method, "https://"+r.Addr+path, bytes.NewReader(body))
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
