// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"claviger/internal/authn"
	"claviger/internal/keyserver/limits"
	"claviger/internal/wire"
)

// Exchange answers one sealed message of a client: a request for keys, a renewal,
// or an acknowledgement. Whatever carried it adds nothing: the message proves its
// sender itself. Errors are unsigned and mean nothing to a client but trouble.
func (c *Core) Exchange(ctx context.Context, sealed []byte) ([]byte, error) {
	return c.answer(ctx, sealed, wire.TypeRequest, wire.TypeRenew, wire.TypeAck)
}

// Enroll answers one sealed enrolment, which anyone may send. What comes here
// has a bound of its own, so that a flood of it keeps no client from its keys.
func (c *Core) Enroll(ctx context.Context, sealed []byte) ([]byte, error) {
	leave, err := c.gate.AdmitEnrolment()
	if err != nil {
		return nil, err
	}
	defer leave()
	return c.answer(ctx, sealed, wire.TypeEnroll)
}

func (c *Core) answer(ctx context.Context, sealed []byte, types ...string) ([]byte, error) {
	leave, err := c.gate.Admit()
	if err != nil {
		return nil, err
	}
	defer leave()
	outer, err := wire.ParseSealed(sealed, wire.MaxSealedSize)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !slices.Contains(types, outer.Type) {
		return nil, fmt.Errorf("%w: not a message for this route", ErrMalformed)
	}
	if outer.Type == wire.TypeAck {
		if len(sealed) > maxSealedAck {
			return nil, fmt.Errorf("%w: an acknowledgement of %d bytes", ErrMalformed, len(sealed))
		}
		// After a revocation they all come at once, and keep nobody from keys.
		leave, err := c.gate.AdmitAcknowledgement()
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	id := wire.SealedHash(sealed)
	held, err := c.seen.Begin(id, c.epoch())
	if errors.Is(err, limits.ErrRepeat) {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err != nil || held != nil {
		return held, err
	}
	answer, epoch, err := c.exchange(ctx, outer.Type, sealed, id)
	c.seen.Finish(id, answer, epoch)
	return answer, err
}

// exchange verifies a message, has it done and seals the answer. The epoch is
// the one that the answer speaks for.
func (c *Core) exchange(ctx context.Context, typ string, sealed []byte, id wire.Hash) ([]byte, wire.Epoch, error) {
	if typ == wire.TypeAck {
		answer, err := c.acknowledge(ctx, sealed, id)
		return answer, c.epoch(), err
	}
	v, err := c.verify(ctx, typ, sealed, id)
	if err != nil {
		return nil, wire.Epoch{}, err
	}
	if r, ok := v.op.(*Release); ok {
		c.Hear(r.Request.Statement) // before the release: it may be why there is none
	}
	a, err := c.Do(ctx, v.caller, v.op)
	if err != nil {
		return nil, wire.Epoch{}, err
	}
	if r, ok := a.(*Released); ok {
		return r.Sealed, r.Epoch, nil
	}
	out, err := c.o.Padding.Seal(v.to, wire.TypeEnrolled, wire.ReleaseInfo(id), a.(*Certified).Signed)
	return out, c.epoch(), err
}

// verified is a message that proved its sender, and what it asks for.
type verified struct {
	caller *authn.Caller
	op     Op
	to     []byte // HPKE key of the answer, where Do doesn't seal it
}

// verify opens and judges a message: all public-key work before the decision.
func (c *Core) verify(ctx context.Context, typ string, sealed []byte, id wire.Hash) (*verified, error) {
	done, err := c.work(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	plain, descriptor, err := c.unseal(typ, sealed, wire.MaxSealedSize)
	if err != nil {
		return nil, err
	}
	signed, err := wire.ParseSigned(typ, plain, wire.MaxRequest)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	trust, err := c.Trust()
	if err != nil {
		return nil, err
	}
	v, named, notAfter, err := c.judge(trust, typ, signed, id)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnproved, err)
	}
	// Security: a message names the descriptor it was sealed to, or one server
	// could pass it on to another (T-02).
	if named != descriptor {
		return nil, fmt.Errorf("%w: made for another descriptor", ErrMalformed)
	}
	c.seen.Verified(id, time.Duration(notAfter-c.Now().UnixMilli())*time.Millisecond)
	return v, nil
}

// judge has the message's signatures verified and reads what it asks for, which
// descriptor it names and how long it is good for.
func (c *Core) judge(t authn.Trust, typ string, signed *wire.Signed, id wire.Hash) (*verified, wire.Hash, int64, error) {
	switch typ {
	case wire.TypeRequest:
		caller, req, err := t.VerifyRequest(signed, c.Now())
		if err != nil {
			return nil, wire.Hash{}, 0, err
		}
		return &verified{caller, &Release{Request: req, Sealed: id}, nil}, req.Descriptor, req.NotAfter, nil
	case wire.TypeRenew:
		caller, req, err := t.VerifyRenew(signed, c.Now())
		if err != nil {
			return nil, wire.Hash{}, 0, err
		}
		return &verified{caller, &Certify{Renew: req, Sealed: id}, req.HPKE}, req.Descriptor, req.NotAfter, nil
	}
	req, err := t.VerifyEnroll(signed, c.inviteKey, c.Now())
	if err != nil {
		return nil, wire.Hash{}, 0, err
	}
	return &verified{authn.LocalCaller("enrolment"), &Certify{Enroll: req, Sealed: id}, req.HPKE}, req.Descriptor, req.NotAfter, nil
}

// work waits for a turn to compute.
func (c *Core) work(ctx context.Context) (done func(), err error) {
	done, err = c.gate.Work(ctx)
	return done, unavailable(err)
}
