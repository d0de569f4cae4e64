// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"errors"
	"fmt"

	"claviger/internal/audit"
	"claviger/internal/authn"
	"claviger/internal/keyserver/material"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// PutMaterial has the server keep what a credential of an endpoint is made of.
// An admin does it before the record that names its hash is signed.
type PutMaterial struct{ Data []byte } // its owner wipes it

// MaterialKept is the answer: what the record is to name.
type MaterialKept struct{ Hash wire.Hash }

func (*PutMaterial) op()      {}
func (*MaterialKept) answer() {}

func (c *Core) materials() *material.Materials {
	return &material.Materials{Store: c.store, Seal: c.seals.Slot, Domain: c.o.Domain, Log: c.log, Clock: c.clock}
}

// Material reads what a credential of an endpoint is made of, for the door that
// checks it; the caller wipes it.
func (c *Core) Material(ctx context.Context, h wire.Hash) (*secret.Bytes, error) {
	return c.materials().Get(ctx, h)
}

func (c *Core) putMaterial(ctx context.Context, caller *authn.Caller, op *PutMaterial) (Answer, error) {
	// Security: a session key reads, it never changes anything (T-68).
	if caller.ReadOnly {
		return nil, &Denial{Caller: caller.ID, Operation: "bring a credential", Key: "a session key", Reason: "sign with the authority key"}
	}
	leaf := c.leaf(caller, audit.Decision, "material:put")
	leaf.Request, leaf.Decision, leaf.Reason = material.Hash(op.Data), wire.DecisionAllowed, "an authority key of the domain"
	if err := c.record(ctx, leaf); err != nil {
		return nil, err
	}
	h, err := c.materials().Put(ctx, op.Data)
	switch {
	case errors.Is(err, material.ErrSize):
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	case errors.Is(err, material.ErrFull):
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return &MaterialKept{h}, nil
}
