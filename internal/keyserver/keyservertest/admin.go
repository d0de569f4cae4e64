// SPDX-License-Identifier: Apache-2.0

package keyservertest

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/wire"
)

// AsAdmin makes a signed admin request.
func (r *Rig) AsAdmin(method, path string, body []byte) (int, []byte) {
	r.T.Helper()
	status, out, err := r.TryAdmin(method, path, body)
	if err != nil {
		r.T.Fatal(err)
	}
	return status, out
}

// TryAdmin is AsAdmin that reports instead of failing.
func (r *Rig) TryAdmin(method, path string, body []byte) (int, []byte, error) {
	return r.TryDo(r.Client(nil), method, path, body, r.Authorization(method, path, body))
}

// Authorization is the header of a request that the admin signs.
func (r *Rig) Authorization(method, path string, body []byte) string {
	r.T.Helper()
	auth, err := authn.AdminSigner{Domain: r.Founded.Domain, TLS: r.Desc.TLS, Key: r.Admin, Clock: clock.System()}.Sign(method, path, body)
	if err != nil {
		r.T.Fatal(err)
	}
	return auth
}

// Replay reads the log as an admin does.
func (r *Rig) Replay() *authority.State {
	r.T.Helper()
	state, err := r.TryReplay()
	if err != nil {
		r.T.Fatal(err)
	}
	return state
}

// TryReplay is Replay that reports instead of failing.
func (r *Rig) TryReplay() (*authority.State, error) {
	var state *authority.State
	from := "1"
	for {
		status, body, err := r.TryAdmin("GET", "/v1/admin/records?from="+from, nil)
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

// Propose signs a body as the admin and expects it to be applied.
func (r *Rig) Propose(kind string, payload any) {
	r.T.Helper()
	entry, err := r.Replay().Entry(kind, payload, clock.System().Now().Add(time.Hour), r.Admin)
	if err != nil {
		r.T.Fatal(err)
	}
	status, body := r.AsAdmin("POST", "/v1/admin/entries", entry)
	if status != 200 || !bytes.Contains(body, []byte(`"applied":true`)) {
		r.T.Fatalf("%s: %d %s", kind, status, body)
	}
}

// CreateKey makes a key with the usual settings.
func (r *Rig) CreateKey(name, algorithm string) {
	r.T.Helper()
	r.Propose(authority.KindKeyCreate, NewKey(name, algorithm))
}

// NewKey is the payload of a new key.
func NewKey(name, algorithm string) authority.KeyCreate {
	p := authority.KeyCreate{Name: name, Algorithm: algorithm, Settings: authority.Settings{Lease: 3600, Staleness: 900}}
	rand.Read(p.ID[:])
	rand.Read(p.Revocation[:])
	return p
}
