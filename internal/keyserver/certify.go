// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"claviger/internal/audit"
	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/keyserver/rules"
	"claviger/internal/pki/ca"
	"claviger/internal/wire"
)

// inviteKey returns the key of an invite that can still be used.
func (c *Core) inviteKey(id wire.BodyID) (crypto.PublicKey, error) {
	var invite *authority.InviteState
	c.log.View(func(s *authority.State) { invite = s.Invite(id) })
	if invite == nil {
		return nil, errors.New("no such invite")
	}
	return ed25519.PublicKey(invite.Key), nil
}

// certRequest is an enrolment or a renewal on its way.
type certRequest struct {
	client string
	invite wire.BodyID // zero for a renewal
	csr    []byte
	key    wire.Hash // of the key to certify
	sealed wire.Hash
	action string
}

// certify issues a workload certificate: the use entry first, then the
// certificate, so that an invite works once on any number of servers. What can
// be refused is refused before the invite is used up.
func (c *Core) certify(ctx context.Context, caller *authn.Caller, op *Certify) (Answer, error) {
	req := certRequest{client: caller.ID, sealed: op.Sealed, action: "renew"}
	if op.Enroll != nil {
		req.action, req.invite, req.csr = "enroll", op.Enroll.Invite, op.Enroll.CSR
	} else {
		req.csr = op.Renew.CSR
	}
	csr, err := x509.ParseCertificateRequest(req.csr)
	if err == nil && wire.KeyHash(csr.PublicKey).IsZero() {
		err = errors.New("its key is neither Ed25519 nor ECDSA P-256")
	}
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: certificate request: %w", ErrMalformed, err)
	}
	req.key = wire.KeyHash(csr.PublicKey)
	refusal := c.refuseCert(&req)
	leaf := c.leaf(caller, audit.Decision, req.action)
	leaf.Resource, leaf.Request, leaf.Decision, leaf.Reason = req.client, op.Sealed, wire.DecisionAllowed, "a valid request"
	if refusal != "" {
		leaf.Decision, leaf.Reason = wire.DecisionDenied, refusal
	}
	at, ticket, err := c.enter(leaf)
	if err != nil {
		return nil, err
	}
	if err := c.wait(ctx, ticket); err != nil {
		return nil, err
	}
	if refusal != "" {
		return c.certAnswer(req, nil, refusal)
	}
	return c.issue(context.WithoutCancel(ctx), caller, req, at)
}

// refuseCert says why the state refuses a certificate, "" if it doesn't, and
// finds the name that an invite is for.
func (c *Core) refuseCert(req *certRequest) (refusal string) {
	c.log.View(func(s *authority.State) {
		if i := s.Invite(req.invite); i != nil {
			req.client = i.Client
		}
		prefix := ""
		for _, a := range s.Members.Anchors {
			if a.Embedded {
				prefix = a.Prefix
			}
		}
		switch {
		case prefix == "":
			refusal = "certificates are issued by an outside authority here"
		case !strings.HasPrefix(req.client, prefix):
			refusal = "this name's certificates are issued by another authority"
		case s.Revoked:
			refusal = "everything is revoked"
		case s.ClientRevoked(req.client):
			refusal = "the client is revoked"
		}
	})
	return refusal
}

// issue writes the use entry, has the certificate made and records how it ended.
func (c *Core) issue(ctx context.Context, caller *authn.Caller, req certRequest, at audit.Position) (Answer, error) {
	used := authority.Enrolled{Invite: req.invite, Client: req.client, Key: req.key, NotAfter: c.Now().Add(ca.DefaultTTL).UnixMilli()}
	refusal := ""
	var chain [][]byte
	failed := c.ledger.Append(ctx, authority.KindEnrolled, used)
	if errors.Is(failed, authority.ErrRefused) {
		failed, refusal = nil, "the invite was used or has expired, or the client was revoked meanwhile; ask an admin for a new invite"
	} else if failed == nil {
		chain, failed = c.ca.Issue(req.csr, req.client, ca.DefaultTTL)
	}
	end := c.leaf(caller, audit.Outcome, req.action)
	end.Resource, end.Of, end.Decision, end.Reason = req.client, at, "done", "certificate issued"
	switch {
	case failed != nil:
		end.Decision, end.Reason = "failed", rules.Clip(failed.Error())
	case refusal != "":
		end.Decision, end.Reason = "failed", refusal
	}
	if err := c.record(ctx, end); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, logError(failed)
	}
	return c.certAnswer(req, chain, refusal)
}

func (c *Core) certAnswer(req certRequest, chain [][]byte, refusal string) (Answer, error) {
	a := wire.Enrolled{
		Type: wire.TypeEnrolled, Domain: c.o.Domain, Server: c.id, Client: req.client, Request: req.sealed,
		Issued: c.Now().UnixMilli(), Chain: chain, Reason: refusal,
	}
	c.log.View(func(s *authority.State) { a.Epoch, a.Head, a.Members = s.Epoch, s.Head, s.Members.Newest })
	c.holding.Answered(a.Epoch, a.Issued)
	signed, err := wire.Sign(wire.TypeEnrolled, wire.Marshal(a), c.signer)
	return &Certified{signed}, err
}
