// SPDX-License-Identifier: Apache-2.0

package keyserver_test

import (
	"context"
	"testing"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authn/bearer"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/tokenbook"
)

// TestToken: what becomes of a door's tokens leaves leaves, and is known after a
// restart; nobody but a subject of an endpoint that serves has any.
func TestToken(t *testing.T) {
	r := withEndpoint(t)
	alice := authn.SubjectCaller(claimsOf("1"))
	now := clock.System().Now()
	mark := func(caller *authn.Caller, action string, id bearer.ID) error {
		_, err := r.AskAs(caller, &keyserver.Token{Mark: tokenbook.Mark{Action: action, ID: id, Until: now.Add(time.Hour)}, Route: "vault"})
		return err
	}
	for _, err := range []error{
		mark(alice, tokenbook.Issue, bearer.ID{1}), mark(alice, tokenbook.Renew, bearer.ID{2}), mark(alice, tokenbook.Revoke, bearer.ID{3}),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	is(t, "renewing what is revoked", mark(alice, tokenbook.Renew, bearer.ID{3}), keyserver.ErrRefused, keyserver.CausePolicy)
	r.Restart()
	err := r.Server.With(t.Context(), func(ctx context.Context, c *keyserver.Core) error {
		p, err := c.Tokens(ctx, "xks-prod")
		if err == nil && (!p.Revoked(bearer.ID{3}) || p.Revoked(bearer.ID{1}, bearer.ID{2}) || p.Renewed(bearer.ID{2}).IsZero()) {
			t.Errorf("%+v", p)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	app := r.Enroll("app")
	_, err = r.Ask(app, &keyserver.Token{Mark: tokenbook.Mark{Action: tokenbook.Revoke, ID: bearer.ID{4}, Until: now.Add(time.Hour)}})
	is(t, "a workload", err, keyserver.ErrDenied, keyserver.CauseRevoked)
	r.Propose(authority.KindEndpointDisable, authority.EndpointDisable{Name: "xks-prod"})
	is(t, "a disabled endpoint", mark(alice, tokenbook.Issue, bearer.ID{5}), keyserver.ErrDenied, keyserver.CauseRevoked)
	if r.Leaves(tokenbook.Issue) != 2 || r.Leaves(tokenbook.Renew) != 4 || r.Leaves(tokenbook.Revoke) != 3 {
		t.Errorf("%d, %d, %d leaves", r.Leaves(tokenbook.Issue), r.Leaves(tokenbook.Renew), r.Leaves(tokenbook.Revoke))
	}
}
