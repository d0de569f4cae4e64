// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"fmt"

	"claviger/internal/authn"
	"claviger/internal/wire"
)

// Exchange answers one sealed message: a request for keys, a renewal or an
// enrolment. Whatever carried it adds nothing: the message proves its sender
// itself. Errors are unsigned and mean nothing to a client but trouble.
func (c *Core) Exchange(ctx context.Context, sealed []byte) ([]byte, error) {
	var outer wire.Sealed
	if err := wire.Unmarshal(sealed, &outer, wire.MaxSealedSize); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	id := wire.SealedHash(sealed)
	// The window is bounded by what a request may claim; it is narrowed below.
	held, err := c.seen.begin(id, c.now().UnixMilli()+2*wire.MaxRequestLife, c.epoch())
	if err != nil || held != nil {
		return held, err
	}
	answer, err := c.exchange(ctx, outer.Type, sealed, id)
	if err != nil {
		c.seen.finish(id, nil, wire.Epoch{})
		return nil, err
	}
	c.seen.finish(id, answer, c.epoch())
	return answer, nil
}

func (c *Core) exchange(ctx context.Context, typ string, sealed []byte, id wire.Hash) ([]byte, error) {
	switch typ {
	case wire.TypeRequest, wire.TypeRenew, wire.TypeEnroll:
	default:
		return nil, fmt.Errorf("%w: not a message for a server", ErrMalformed)
	}
	plain, descriptor, err := c.own.open(typ, sealed, wire.MaxSealedSize)
	if err != nil {
		return nil, err
	}
	signed, err := wire.ParseSigned(typ, plain, wire.MaxRequest)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	trust, err := c.currentTrust()
	if err != nil {
		return nil, err
	}
	m := message{signed, descriptor, id}
	switch typ {
	case wire.TypeRequest:
		return c.answerRequest(ctx, trust, m)
	case wire.TypeRenew:
		return c.answerRenew(ctx, trust, m)
	}
	return c.answerEnroll(ctx, trust, m)
}

// message is an opened sealed message.
type message struct {
	signed     *wire.Signed
	descriptor wire.Hash
	sealed     wire.Hash
}

var errDescriptor = fmt.Errorf("%w: made for another descriptor", ErrMalformed)

func (c *Core) answerRequest(ctx context.Context, t authn.Trust, m message) ([]byte, error) {
	caller, req, err := t.VerifyRequest(m.signed, c.now())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnproved, err)
	}
	// Security: a request names the descriptor it was sealed to, or one server
	// could pass it on to another (T-02).
	if req.Descriptor != m.descriptor {
		return nil, errDescriptor
	}
	a, err := c.Do(ctx, caller, &Release{Request: req, Sealed: m.sealed})
	if err != nil {
		return nil, err
	}
	return a.(*Released).Sealed, nil
}

func (c *Core) answerRenew(ctx context.Context, t authn.Trust, m message) ([]byte, error) {
	caller, req, err := t.VerifyRenew(m.signed, c.now())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnproved, err)
	}
	if req.Descriptor != m.descriptor {
		return nil, errDescriptor
	}
	return c.sealCertified(ctx, caller, &Certify{Renew: req, Sealed: m.sealed}, req.HPKE)
}

func (c *Core) answerEnroll(ctx context.Context, t authn.Trust, m message) ([]byte, error) {
	req, err := t.VerifyEnroll(m.signed, c.inviteKey, c.now())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnproved, err)
	}
	if req.Descriptor != m.descriptor {
		return nil, errDescriptor
	}
	answer, err := c.certify(ctx, authn.LocalCaller("enrolment"), &Certify{Enroll: req, Sealed: m.sealed})
	if err != nil {
		return nil, err
	}
	return wire.Seal(req.HPKE, wire.TypeEnrolled, wire.ReleaseInfo(m.sealed), answer.(*Certified).Signed)
}

func (c *Core) sealCertified(ctx context.Context, caller *authn.Caller, op *Certify, to []byte) ([]byte, error) {
	answer, err := c.Do(ctx, caller, op)
	if err != nil {
		return nil, err
	}
	return wire.Seal(to, wire.TypeEnrolled, wire.ReleaseInfo(op.Sealed), answer.(*Certified).Signed)
}
