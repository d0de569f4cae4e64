// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"fmt"

	"claviger/internal/wire"
)

// Enrol makes the request for the first certificate: signed by the invite's key
// and by the new one, sealed to p.
func (v *View) Enrol(p *Peer, invite *wire.Invite, seedKey crypto.Signer, key *ecdsa.PrivateKey, hint int64) (*Asked, error) {
	csr, err := newCSR(key)
	if err != nil {
		return nil, err
	}
	a := v.newAsked(p, invite.Client)
	req := wire.Enroll{
		Type: wire.TypeEnroll, Domain: v.domain, Invite: invite.ID, CSR: csr, HPKE: a.hpke.Public(),
		Descriptor: p.Hash, NotAfter: v.notAfter(p, hint),
	}
	rand.Read(req.Nonce[:])
	signed, err := wire.Sign(wire.TypeEnroll, wire.Marshal(req), seedKey, key)
	if err != nil {
		return nil, err
	}
	return a, a.seal(wire.TypeEnroll, signed)
}

// Renew makes the request for the next certificate: signed by the current key,
// its chain stapled, and by the new one, sealed to p.
func (v *View) Renew(p *Peer, id Identity, key *ecdsa.PrivateKey, hint int64) (*Asked, error) {
	csr, err := newCSR(key)
	if err != nil {
		return nil, err
	}
	a := v.newAsked(p, id.Client)
	req := wire.Renew{
		Type: wire.TypeRenew, Domain: v.domain, Client: id.Client, CSR: csr, HPKE: a.hpke.Public(),
		Descriptor: p.Hash, NotAfter: v.notAfter(p, hint),
	}
	rand.Read(req.Nonce[:])
	signed, err := wire.SignChain(wire.TypeRenew, wire.Marshal(req), id.Chain, id.Key)
	if err != nil {
		return nil, err
	}
	if signed, err = wire.AddSignature(signed, wire.TypeRenew, wire.MaxEnroll, key); err != nil {
		return nil, err
	}
	return a, a.seal(wire.TypeRenew, signed)
}

// newCSR holds the key alone: the name comes from the invite or the current
// certificate.
func newCSR(key *ecdsa.PrivateKey) ([]byte, error) {
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	return csr, nil
}

// Enrolled is a believed answer to Enrol or Renew.
type Enrolled struct {
	Chain  [][]byte // DER, leaf first; empty if refused
	Leaf   *x509.Certificate
	Reason string // why refused
}

// Enrolled opens the answer to an enrolment or renewal and believes it only if it
// answers a and certifies key for the client that was asked for. With ErrMembers,
// introduce the server and call again.
func (v *View) Enrolled(a *Asked, message []byte, key *ecdsa.PrivateKey) (*Enrolled, error) {
	signed, err := a.hpke.Open(wire.TypeEnrolled, wire.ReleaseInfo(a.hash), message, wire.MaxEnroll+2<<10)
	if err != nil {
		return nil, fmt.Errorf("%w: enrolment answer: %w", ErrIntegrity, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	serverKey, err := v.state.ServerKey(a.peer.Server)
	if err != nil {
		return nil, fmt.Errorf("%w: enrolment answer: %w", ErrIntegrity, err)
	}
	e, err := wire.ParseEnrolled(signed, serverKey)
	if err != nil {
		return nil, fmt.Errorf("%w: enrolment answer: %w", ErrIntegrity, err)
	}
	if e.Domain != v.domain || e.Server != a.peer.Server || e.Client != a.client || e.Request != a.hash {
		return nil, integrity("enrolment answer is not for this request")
	}
	out := &Enrolled{Chain: e.Chain, Reason: e.Reason}
	if e.Reason == "" {
		if out.Leaf, err = certifies(e.Chain[0], key, a.client); err != nil {
			return nil, err
		}
	}
	return out, v.believe(word{e.Epoch, e.Head, e.Members, signed, wire.TypeEnrolled}, a, e.Issued)
}

// certifies reads a leaf certificate and holds that it names this client and this
// key.
func certifies(der []byte, key *ecdsa.PrivateKey, client string) (*x509.Certificate, error) {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, integrity("the certificate is malformed")
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return nil, integrity("the certificate is for another key")
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != client {
		return nil, integrity("the certificate names another client")
	}
	return leaf, nil
}
