// SPDX-License-Identifier: Apache-2.0

package fakeserver

import (
	"crypto"
	"crypto/x509"
	"fmt"

	"claviger/internal/kdf"
	"claviger/internal/wire"
)

// addressed refuses what is not for this descriptor and this minute.
func (s *Server) addressed(descriptor, want wire.Hash, notAfter int64) error {
	ahead := notAfter - s.domain.clock.Now().UnixMilli()
	if descriptor != want || ahead <= 0 || ahead > wire.MaxRequestLife {
		return &Refusal{Status: 401, Code: "unauthenticated", Message: "not for this descriptor or this minute"}
	}
	return nil
}

// Refusal is an unsigned error with its HTTP status.
type Refusal struct {
	Status        int
	Code, Message string
}

// Error gives the message.
func (r *Refusal) Error() string { return r.Message }

// signedBy holds that the message is signed by the certificate stapled to it and
// that this names client.
func (s *Server) signedBy(signed *wire.Signed, client string) error {
	for _, sig := range signed.Signatures {
		if len(sig.Chain) == 0 {
			continue
		}
		leaf, err := x509.ParseCertificate(sig.Chain[0])
		if err != nil {
			return err
		}
		if err := leaf.CheckSignatureFrom(s.domain.ca.cert); err != nil {
			return err
		}
		if now := s.domain.clock.Now(); now.After(leaf.NotAfter) || len(leaf.URIs) != 1 || leaf.URIs[0].String() != client {
			return errOther
		}
		return signed.Verify(leaf.PublicKey)
	}
	return errOther
}

func (s *Server) acknowledge(signed []byte, descriptor wire.Hash) ([]byte, error) {
	ack, err := wire.ParseAck(signed)
	if err != nil {
		return nil, err
	}
	if err := s.addressed(ack.Descriptor, descriptor, ack.NotAfter); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acks = append(s.acks, ack)
	return wire.Marshal(wire.TypeAck), nil
}

func (s *Server) release(signed *wire.Signed, descriptor, hash wire.Hash) ([]byte, error) {
	req, err := wire.ParseRequest(signed.Payload)
	if err != nil {
		return nil, err
	}
	if err := s.addressed(req.Descriptor, descriptor, req.NotAfter); err != nil {
		return nil, err
	}
	if err := s.signedBy(signed, req.Client); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.requests = append(s.requests, req)
	if len(req.Standing) > 0 {
		s.standing = append(s.standing, Standing{req, hash})
	}
	s.mu.Unlock()
	return s.sealed(req, hash)
}

// sealed answers a request, sealed to its one-time key.
func (s *Server) sealed(req *wire.Request, hash wire.Hash) ([]byte, error) {
	grant, out := s.grant(req, hash)
	if s.Lie.Grant != nil {
		s.Lie.Grant(grant)
	}
	typ := wire.TypeGrant
	if s.Lie.Type != "" {
		typ = s.Lie.Type
	}
	var err error
	if out.Grant, err = wire.Sign(typ, wire.Marshal(*grant), s.signing()); err != nil {
		return nil, err
	}
	if s.Lie.Release != nil {
		s.Lie.Release(out)
	}
	to := req.HPKE
	if s.Lie.SealTo != nil {
		to = s.Lie.SealTo
	}
	return wire.Seal(to, wire.TypeRelease, wire.ReleaseInfo(hash), wire.Marshal(*out))
}

func (s *Server) grant(req *wire.Request, hash wire.Hash) (*wire.Grant, *wire.Release) {
	d := s.domain
	d.mu.Lock()
	defer d.mu.Unlock()
	g := &wire.Grant{
		Type: wire.TypeGrant, Domain: d.state.Domain, Server: s.ID(), Client: req.Client, HPKE: wire.HPKEHash(req.HPKE),
		Request: hash, Epoch: d.epoch, Head: d.head, Members: d.state.Newest, Issued: d.clock.Now().UnixMilli(),
	}
	out := &wire.Release{}
	for _, item := range req.Items {
		got, key := d.answer(item)
		g.Items, out.Keys = append(g.Items, got), append(out.Keys, key)
	}
	return g, out
}

// answer decides one item. The caller holds d.mu.
func (d *Domain) answer(item wire.Item) (wire.GrantItem, []byte) {
	out := wire.GrantItem{
		Name: item.Name, Version: item.Version, Purpose: item.Purpose, Partition: item.Partition, Operations: item.Operations,
		Decision: wire.DecisionDenied, Reason: "no policy allows it", AuditLog: 1, AuditIndex: 1,
	}
	if item.Name == "" {
		out.KeyID = wire.KeyID(item.ID)
	}
	for _, k := range d.keys {
		if k.Name != item.Name && (item.Name != "" || k.ID != wire.KeyID(item.ID)) {
			continue
		}
		version := item.Version
		if version == 0 {
			version = uint64(len(k.Versions))
		}
		if k.Denied != "" {
			out.Reason = k.Denied
			return out, nil
		}
		if version > uint64(len(k.Versions)) {
			return out, nil
		}
		leaf := kdf.Leaf(k.Versions[version-1].secret, d.state.Domain, item.Purpose, item.Partition)
		defer leaf.Wipe()
		kc := kdf.Commit(leaf, d.state.Domain)
		out.KeyID, out.Name, out.Version, out.State = k.ID, k.Name, version, k.Versions[version-1].State
		out.Algorithm, out.Decision, out.KC, out.Reason = "aes256", wire.DecisionAllowed, kc[:], ""
		out.Lease, out.Staleness, out.Revocation = k.Lease, k.Staleness, []wire.RevocationID{k.Revocation}
		return out, append([]byte(nil), leaf.Expose()...)
	}
	return out, nil
}

func (s *Server) enrol(signed *wire.Signed, descriptor, hash wire.Hash) ([]byte, error) {
	req, err := wire.ParseEnroll(signed.Payload)
	if err != nil {
		return nil, err
	}
	if err := s.addressed(req.Descriptor, descriptor, req.NotAfter); err != nil {
		return nil, err
	}
	s.domain.mu.Lock()
	invite, ok := s.domain.invites[req.Invite]
	used := invite.used
	invite.used = true
	s.domain.invites[req.Invite] = invite
	s.domain.mu.Unlock()
	if !ok {
		return nil, &Refusal{Status: 409, Code: "refused", Message: "the invite is not open"}
	}
	csr, err := x509.ParseCertificateRequest(req.CSR)
	if err != nil {
		return nil, err
	}
	if signed.Verify(invite.key) != nil || signed.Verify(csr.PublicKey) != nil || csr.CheckSignature() != nil || len(signed.Signatures) != 2 {
		return nil, fmt.Errorf("enrolment: %w", errOther)
	}
	if used {
		return s.enrolled(enrolling{reason: "the invite was used", client: invite.client, hpke: req.HPKE, hash: hash})
	}
	return s.enrolled(enrolling{client: invite.client, pub: csr.PublicKey, hpke: req.HPKE, hash: hash})
}

func (s *Server) renew(signed *wire.Signed, descriptor, hash wire.Hash) ([]byte, error) {
	req, err := wire.ParseRenew(signed.Payload)
	if err != nil {
		return nil, err
	}
	if err := s.addressed(req.Descriptor, descriptor, req.NotAfter); err != nil {
		return nil, err
	}
	if err := s.signedBy(signed, req.Client); err != nil {
		return nil, err
	}
	csr, err := x509.ParseCertificateRequest(req.CSR)
	if err != nil {
		return nil, err
	}
	if signed.Verify(csr.PublicKey) != nil || len(signed.Signatures) != 2 {
		return nil, fmt.Errorf("renewal: %w", errOther)
	}
	return s.enrolled(enrolling{client: req.Client, pub: csr.PublicKey, hpke: req.HPKE, hash: hash})
}

type enrolling struct {
	client, reason string
	pub            crypto.PublicKey
	hpke           []byte
	hash           wire.Hash
}

func (s *Server) enrolled(e enrolling) ([]byte, error) {
	d := s.domain
	d.mu.Lock()
	out := wire.Enrolled{
		Type: wire.TypeEnrolled, Domain: d.state.Domain, Server: s.ID(), Client: e.client, Request: e.hash,
		Epoch: d.epoch, Head: d.head, Members: d.state.Newest, Issued: d.clock.Now().UnixMilli(), Reason: e.reason,
	}
	d.mu.Unlock()
	if e.reason == "" {
		out.Chain = d.ca.issue(e.client, e.pub)
	}
	if s.Lie.Enrolled != nil {
		s.Lie.Enrolled(&out)
	}
	signed, err := wire.Sign(wire.TypeEnrolled, wire.Marshal(out), s.signing())
	if err != nil {
		return nil, err
	}
	return wire.Seal(e.hpke, wire.TypeEnrolled, wire.ReleaseInfo(e.hash), signed)
}
