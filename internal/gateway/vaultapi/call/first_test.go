// SPDX-License-Identifier: Apache-2.0

package call

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"claviger/internal/authn"
	"claviger/internal/gateway"
)

// TestLargeBodiesNeedAToken: the token of a large request is judged before its body
// is read; a login has none.
func TestLargeBodiesNeedAToken(t *testing.T) {
	who := func(_ context.Context, r *gateway.Request) (*authn.Caller, any, error) {
		if TokenOf(r.Request) != "good" {
			return nil, nil, authn.ErrRefused
		}
		return &authn.Caller{}, nil, nil
	}
	routes := Mount(gateway.Site{}, who, []Route{{Op: Write, Path: "/batch", Limit: LargeBody}, {Op: Write, Path: "/login", Open: true}})
	for _, r := range routes {
		if r.Path == "/v1/login" {
			if r.First != nil {
				t.Error("a login asks for a token")
			}
			continue
		}
		for token, want := range map[string]error{"": authn.ErrRefused, "bad": authn.ErrRefused, "good": nil} {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, r.Path, http.NoBody)
			req.Header.Set("X-Vault-Token", token)
			if err := r.First(t.Context(), &gateway.Request{Request: req}); !errors.Is(err, want) {
				t.Errorf("token %q: %v", token, err)
			}
		}
	}
}
