// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"

	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/keyserver/rules"
	"claviger/internal/keyserver/tokenbook"
)

// Token records what becomes of a token that a door made for the caller.
type Token struct {
	tokenbook.Mark
	Route string
}

func (*Token) op() {}

func (c *Core) tokenBook() tokenbook.Book {
	return tokenbook.Book{Store: c.store, Seal: c.seals.Slot, Domain: c.o.Domain, Refused: ErrRefused, Away: ErrUnavailable}
}

// Tokens is what became of an endpoint's tokens.
func (c *Core) Tokens(ctx context.Context, endpoint string) (*tokenbook.Page, error) {
	return c.tokenBook().Read(ctx, endpoint)
}

func (c *Core) token(ctx context.Context, caller *authn.Caller, op *Token) (Answer, error) {
	f := c.collect(caller)
	r := rules.Ruling{Cause: CauseRevoked, Reason: f.Barred()}
	if r.Allowed = r.Reason == "" && caller.Kind == authn.Subject; !r.Allowed && r.Reason == "" {
		r.Reason = "only doors have tokens"
	}
	key := &authority.Key{Name: op.ID.String()}
	at, err := c.decided(ctx, caller, op.Action, op.Route, key, r)
	if err != nil || op.Action == tokenbook.Issue {
		return &Done{}, err
	}
	err = c.tokenBook().Mark(ctx, caller.Endpoint, caller.ID, op.Mark, c.Now())
	return &Done{}, c.ended(ctx, caller, provision{action: op.Action, route: op.Route, key: key}, at, err)
}
