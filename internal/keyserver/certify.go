// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"claviger/internal/audit"
	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/members"
	"claviger/internal/pki"
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

// certify issues a workload certificate: the use entry first, then the
// certificate, so that an invite works once on any number of servers.
func (c *Core) certify(ctx context.Context, caller *authn.Caller, op *Certify) (Answer, error) {
	req := certRequest{client: caller.ID, sealed: op.Sealed}
	var embedded bool
	c.log.View(func(s *authority.State) {
		for _, a := range s.Members.Anchors {
			embedded = embedded || a.Embedded
		}
		if op.Enroll != nil {
			req.invite, req.csr = op.Enroll.Invite, op.Enroll.CSR
			if i := s.Invite(op.Enroll.Invite); i != nil {
				req.client = i.Client
			}
		} else {
			req.csr = op.Renew.CSR
		}
		req.revoked = s.Revoked || s.ClientRevoked(req.client)
	})
	leaf := c.leaf(caller, audit.Decision, "enroll")
	leaf.Resource, leaf.Request, leaf.Decision, leaf.Reason = req.client, op.Sealed, wire.DecisionAllowed, "a valid request"
	if op.Renew != nil {
		leaf.Action = "renew"
	}
	refusal := ""
	switch {
	case !embedded:
		refusal = "certificates are issued by an outside authority here"
	case req.revoked:
		refusal = "the client is revoked"
	}
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
	return c.issue(ctx, caller, req, leaf.Action, at)
}

type certRequest struct {
	client  string
	invite  wire.BodyID
	csr     []byte
	sealed  wire.Hash
	revoked bool
}

func (c *Core) issue(ctx context.Context, caller *authn.Caller, req certRequest, action string, at audit.Position) (Answer, error) {
	csr, err := x509.ParseCertificateRequest(req.csr)
	if err != nil {
		return nil, fmt.Errorf("%w: certificate request", ErrMalformed)
	}
	used := authority.Enrolled{
		Invite: req.invite, Client: req.client, Key: wire.KeyHash(csr.PublicKey), NotAfter: c.now().Add(ca.DefaultTTL).UnixMilli(),
	}
	refusal := ""
	if err := c.append(ctx, authority.KindEnrolled, used); errors.Is(err, authority.ErrRefused) {
		refusal = "the invite was used or has expired"
	} else if err != nil {
		return nil, logError(err)
	}
	var chain [][]byte
	if refusal == "" {
		if chain, err = c.ca.Issue(req.csr, req.client, ca.DefaultTTL); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
	}
	end := c.leaf(caller, audit.Outcome, action)
	end.Resource, end.Of, end.Decision, end.Reason = req.client, at, "done", "certificate issued"
	if refusal != "" {
		end.Decision, end.Reason = "failed", refusal
	}
	if err := c.record(ctx, end); err != nil {
		return nil, err
	}
	return c.certAnswer(req, chain, refusal)
}

func (c *Core) certAnswer(req certRequest, chain [][]byte, refusal string) (Answer, error) {
	a := wire.Enrolled{
		Type: wire.TypeEnrolled, Domain: c.o.Domain, Server: c.id, Client: req.client, Request: req.sealed,
		Issued: c.now().UnixMilli(), Chain: chain, Reason: refusal,
	}
	c.log.View(func(s *authority.State) { a.Epoch, a.Head, a.Members = s.Epoch, s.Head, s.Members.Newest })
	signed, err := wire.Sign(wire.TypeEnrolled, wire.Marshal(a), c.signer)
	return &Certified{signed}, err
}

// append signs a body as this server and appends it, again if the state moved
// meanwhile.
func (c *Core) append(ctx context.Context, kind string, payload any) error {
	const tries = 8
	var err error
	for range tries {
		var entry []byte
		c.log.View(func(s *authority.State) {
			entry, err = s.Entry(kind, payload, c.now().Add(time.Hour), c.signer)
		})
		if err != nil {
			return err
		}
		before := c.epoch()
		if _, err = c.log.Append(ctx, entry); err == nil || c.epoch() == before {
			return err
		}
	}
	return err
}

func (c *Core) epoch() (e wire.Epoch) {
	c.log.View(func(s *authority.State) { e = s.Epoch })
	return e
}

// vet refuses bodies whose payload the fold can't judge but this server can:
// policies are strictly validated before they are kept, and trust anchors must
// load.
func (c *Core) vet(body *wire.Body) error {
	switch body.Kind {
	case authority.KindPolicy:
		var p authority.Policy
		if err := wire.Unmarshal(body.Payload, &p, wire.MaxBody); err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		if err := vetPolicy(p.Source); err != nil {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
	case members.KindAnchors:
		var a members.Anchors
		if err := wire.Unmarshal(body.Payload, &a, wire.MaxBody); err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		for _, anchor := range a.Anchors {
			if _, err := c.anchorOf(anchor); err != nil {
				return fmt.Errorf("%w: %w", ErrRefused, err)
			}
		}
	}
	return nil
}

// readCRLs reads the revocation lists that stand in one PEM or DER file.
func readCRLs(path string) ([][]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("certificate revocation list: %w", err)
	}
	if info.Size() > pki.MaxCRLSize {
		return nil, fmt.Errorf("certificate revocation list %s: larger than %d bytes", path, pki.MaxCRLSize)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("certificate revocation list: %w", err)
	}
	var out [][]byte
	for _, block := range splitPEM(data) {
		der, err := pki.ParseCRL(block)
		if err != nil {
			return nil, fmt.Errorf("certificate revocation list %s: %w", path, err)
		}
		out = append(out, der)
	}
	return out, nil
}
