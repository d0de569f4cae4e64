// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"errors"
	"fmt"

	"claviger/internal/audit"
	"claviger/internal/authn"
	"claviger/internal/keyserver/material"
	"claviger/internal/keyserver/vetting"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// PutMaterial keeps what a credential of an endpoint is made of.
type PutMaterial struct{ Data []byte } // its owner wipes it

// MaterialKept says by which hash an endpoint's record names it.
type MaterialKept struct{ Hash wire.Hash }

func (*PutMaterial) op()      {}
func (*MaterialKept) answer() {}

func (c *Core) materials() *material.Materials {
	return &material.Materials{Store: c.store, Seal: c.seals.Slot, Domain: c.o.Domain, Log: c.log, Clock: c.clock}
}

// Material reads what a credential is made of, for the door that checks it; the
// caller wipes it.
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
	return &MaterialKept{h}, sorted(err)
}

// vet refuses a body that would hold, and serve nobody.
func (c *Core) vet(ctx context.Context, body *wire.Body) error {
	v := vetting.Vetter{Name: c.Members().Genesis.Name, Anchors: c.anchors, Materials: c.materials()}
	return sorted(v.Body(ctx, body))
}

// sorted gives an error of what was brought its place among those of doors.
func sorted(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, wire.ErrMalformed):
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	case errors.Is(err, material.ErrStore):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %w", ErrRefused, err)
}
