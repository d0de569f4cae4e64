// SPDX-License-Identifier: Apache-2.0

package keyserver_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/keyservertest"
	"claviger/internal/keyserver/material"
)

// TestCredentialsOfEndpoints: what an endpoint's credential is made of is brought
// first, named by a record, read by the door while the record names it, and
// nothing of it stands in log or records.
func TestCredentialsOfEndpoints(t *testing.T) {
	r := keyservertest.New(t)
	data := make([]byte, 32)
	rand.Read(data)
	h := material.Hash(data)
	e := authority.Endpoint{Name: "door", Kind: "vault", Credentials: []authority.Credential{{ID: "a", Material: h}}}
	status, body := r.AsAdmin(http.MethodPost, "/v1/admin/entries", endpointEntry(r, e))
	if status != http.StatusConflict {
		t.Fatalf("an endpoint whose credential nobody brought: %d %s", status, body)
	}
	for n, want := range map[int]int{15: http.StatusBadRequest, 4097: http.StatusRequestEntityTooLarge} {
		if status, body := r.AsAdmin(http.MethodPost, "/v1/admin/material", make([]byte, n)); status != want {
			t.Errorf("%d bytes: %d %s", n, status, body)
		}
	}
	status, body = r.AsAdmin(http.MethodPost, "/v1/admin/material", data)
	var kept struct{ Hash string }
	if err := json.Unmarshal(body, &kept); err != nil || status != http.StatusOK || kept.Hash != h.String() {
		t.Fatalf("%d %s", status, body)
	}
	if r.Leaves("material:put") < 1 {
		t.Error("no leaf says that a credential was brought")
	}
	read := func() (got []byte, err error) {
		werr := r.Server.With(t.Context(), func(ctx context.Context, c *keyserver.Core) error {
			m, e := c.Material(ctx, h)
			if err = e; e == nil {
				got = bytes.Clone(m.Expose())
				m.Wipe()
			}
			return nil
		})
		return got, errors.Join(err, werr)
	}
	if _, err := read(); !errors.Is(err, material.ErrUnnamed) {
		t.Errorf("before a record names it: %v", err)
	}
	r.Propose(authority.KindEndpointSet, authority.EndpointSet{Endpoint: e})
	for range 2 {
		if got, err := read(); err != nil || !bytes.Equal(got, data) {
			t.Errorf("read: %v", err)
		}
		r.Restart()
	}
	e.Credentials = nil
	r.Propose(authority.KindEndpointSet, authority.EndpointSet{Endpoint: e})
	if _, err := read(); !errors.Is(err, material.ErrUnnamed) {
		t.Errorf("after it was taken out: %v", err)
	}
}

func endpointEntry(r *keyservertest.Rig, e authority.Endpoint) []byte {
	s := r.Replay()
	entry, err := s.Entry(authority.KindEndpointSet, authority.EndpointSet{Endpoint: e}, time.Now().Add(time.Hour), r.Admin)
	if err != nil {
		panic(err)
	}
	return entry
}

// TestRootsAreVetted: roots that no parser reads are refused before they are kept.
func TestRootsAreVetted(t *testing.T) {
	r := keyservertest.New(t)
	e := authority.Endpoint{Name: "door", Kind: "kes", Host: "door.example", ClientCAs: [][]byte{{0x30, 0}}}
	if status, body := r.AsAdmin(http.MethodPost, "/v1/admin/entries", endpointEntry(r, e)); status != http.StatusConflict {
		t.Errorf("%d %s", status, body)
	}
	if r.Replay().Endpoint("door") != nil {
		t.Error("it is in the log")
	}
}

// TestSessionsChangeNothing: the choke point refuses what a session key may not do,
// also when a door let it through.
func TestSessionsChangeNothing(t *testing.T) {
	r := keyservertest.New(t)
	sessionKey, session, err := authn.NewSession(r.Founded.Domain, r.Admin, time.Hour, clock.System())
	if err != nil {
		t.Fatal(err)
	}
	signer := authn.AdminSigner{Domain: r.Founded.Domain, TLS: r.Desc.TLS, Key: sessionKey, Session: session, Clock: clock.System()}
	header, err := signer.Sign(http.MethodGet, "/v1/admin/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, session, err := authn.ParseAuthorization(header)
	if err != nil {
		t.Fatal(err)
	}
	err = r.Server.With(t.Context(), func(ctx context.Context, c *keyserver.Core) error {
		trust, err := c.Trust()
		if err != nil {
			return err
		}
		caller, err := authn.NewAdminVerifier(r.Founded.Domain, r.Desc.TLS, clock.System()).Verify(c.Members(), trust.Revocations, authn.AdminRequest{
			Signed: signed, Session: session, Method: http.MethodGet, Target: "/v1/admin/status",
		})
		if err != nil {
			return err
		}
		if _, err := c.Do(ctx, caller, &keyserver.ReadStatus{}); err != nil {
			t.Errorf("a session may not read: %v", err)
		}
		for _, op := range []keyserver.Op{
			&keyserver.PutMaterial{Data: make([]byte, 32)}, &keyserver.Propose{Entry: []byte{1}}, &keyserver.MakeBackup{To: io.Discard},
		} {
			if _, err := c.Do(ctx, caller, op); !errors.Is(err, keyserver.ErrDenied) {
				t.Errorf("%T by a session: %v", op, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
