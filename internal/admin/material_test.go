// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"errors"
	"net/http"
	"testing"

	"claviger/internal/admin/authkey"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// TestForeignMaterial: a server that keeps something else than it was given is
// found out before anybody signs for it.
func TestForeignMaterial(t *testing.T) {
	k := authkey.Generate()
	s := newServer(t, founding{admins: []*Key{k}, threshold: 1})
	p := s.connect(s.profile("alice", k, false))
	data := secret.Random(32)
	defer data.Wipe()
	for _, answer := range []string{`{"schema":1,"hash":"` + (wire.Hash{}).String() + `"}`, `{"schema":1}`, `x`} {
		s.lie = func(r *http.Request, _ []byte) []byte {
			if r.URL.Path == "/v1/admin/material" {
				return []byte(answer)
			}
			return nil
		}
		if _, err := p.PutMaterial(t.Context(), data); !errors.Is(err, ErrIntegrity) {
			t.Errorf("%s: %v", answer, err)
		}
	}
	if s.writes.Load() != 3 {
		t.Error("a session key would do")
	}
}
