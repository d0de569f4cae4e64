// SPDX-License-Identifier: Apache-2.0

package keyservertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"time"

	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/wire"
)

// Workload is an enrolled client.
type Workload struct {
	ID      string // SPIFFE id
	Key     *ecdsa.PrivateKey
	Chain   [][]byte           // DER, leaf first
	Mailbox ed25519.PrivateKey // that its requests name; nil: none
}

// Enroll makes an invite and uses it.
func (r *Rig) Enroll(name string) *Workload {
	r.T.Helper()
	w, answer := r.EnrolWith(r.Invite(name, time.Hour))
	if answer == nil || answer.Reason != "" {
		r.T.Fatalf("enrolment refused: %+v", answer)
	}
	return w
}

// Ticket is an invite and its seed.
type Ticket struct {
	authority.Invite
	Seed ed25519.PrivateKey
}

// Invite has an invite signed for a name under the embedded CA's prefix.
func (r *Rig) Invite(name string, life time.Duration) Ticket {
	r.T.Helper()
	pub, seed, _ := ed25519.GenerateKey(rand.Reader)
	inv := authority.Invite{Client: "spiffe://test/workload/" + name, Key: pub, Expires: clock.System().Now().Add(life).UnixMilli()}
	rand.Read(inv.ID[:])
	r.Propose(authority.KindInvite, inv)
	return Ticket{inv, seed}
}

// Enrolment makes a sealed enrolment and the key that its answer opens with.
func (r *Rig) Enrolment(with Ticket, key crypto.Signer, signers ...crypto.Signer) ([]byte, *wire.Key) {
	r.T.Helper()
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		r.T.Fatal(err)
	}
	hpke := wire.NewKey()
	e := wire.Enroll{
		Type: wire.TypeEnroll, Domain: r.Founded.Domain, Invite: with.ID, CSR: csr, HPKE: hpke.Public(),
		Descriptor: wire.DescriptorHash(r.Signed), NotAfter: clock.System().Now().Add(30 * time.Second).UnixMilli(),
	}
	rand.Read(e.Nonce[:])
	msg, err := wire.Sign(wire.TypeEnroll, wire.Marshal(e), signers...)
	if err != nil {
		r.T.Fatal(err)
	}
	return r.Seal(wire.TypeEnroll, msg), hpke
}

// EnrolWith enrols; a nil answer means that the server refused it unsigned.
func (r *Rig) EnrolWith(with Ticket) (*Workload, *wire.Enrolled) {
	r.T.Helper()
	w := &Workload{ID: with.Client}
	w.Key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	sealed, hpke := r.Enrolment(with, w.Key, with.Seed, w.Key)
	status, body := r.Do(r.Client(nil), "POST", "/v1/enroll", sealed, "")
	if status != 200 {
		return w, nil
	}
	answer, err := wire.ParseEnrolled(r.Unseal(hpke, wire.TypeEnrolled, sealed, body), r.ServerKey())
	if err != nil {
		r.T.Fatal(err)
	}
	w.Chain = answer.Chain
	return w, answer
}

// Seal seals a signed message to the descriptor.
func (r *Rig) Seal(typ string, msg []byte) []byte {
	r.T.Helper()
	sealed, err := wire.Seal(r.Desc.HPKE, typ, wire.DescriptorHash(r.Signed), msg)
	if err != nil {
		r.T.Fatal(err)
	}
	return sealed
}

// Unseal opens the answer to a sealed request.
func (r *Rig) Unseal(key *wire.Key, typ string, request, answer []byte) []byte {
	r.T.Helper()
	plain, err := key.Open(typ, wire.ReleaseInfo(wire.SealedHash(request)), answer, 1<<20)
	if err != nil {
		r.T.Fatal(err)
	}
	return plain
}

// ServerKey is the server's joined signing key.
func (r *Rig) ServerKey() crypto.PublicKey {
	key, err := r.State.ServerKey(r.Founded.Server)
	if err != nil {
		r.T.Fatal(err)
	}
	return key
}

// Identity is the certificate for TLS.
func (w *Workload) Identity() *tls.Certificate {
	return &tls.Certificate{Certificate: w.Chain, PrivateKey: w.Key}
}

// Request makes a sealed request for one data key.
func (r *Rig) Request(w *Workload, item wire.Item, life time.Duration) ([]byte, *wire.Key) {
	r.T.Helper()
	hpke := wire.NewKey()
	req := wire.Request{
		Type: wire.TypeRequest, Domain: r.Founded.Domain, Client: w.ID, HPKE: hpke.Public(), Items: []wire.Item{item},
		Descriptor: wire.DescriptorHash(r.Signed), NotAfter: clock.System().Now().Add(life).UnixMilli(),
	}
	rand.Read(req.Nonce[:])
	if w.Mailbox != nil {
		req.Mailbox = wire.MailboxID(w.Mailbox.Public().(ed25519.PublicKey))
	}
	msg, err := wire.SignChain(wire.TypeRequest, wire.Marshal(req), w.Chain, w.Key)
	if err != nil {
		r.T.Fatal(err)
	}
	return r.Seal(wire.TypeRequest, msg), hpke
}

// DataKey asks for the current data key of a name.
func DataKey(key string, ops ...string) wire.Item {
	return wire.Item{Name: key, Purpose: wire.PurposeData, Operations: ops}
}

// Release asks for one data key.
func (r *Rig) Release(w *Workload, key string, ops ...string) (*wire.Grant, *wire.Release) {
	r.T.Helper()
	return r.ReleaseItem(w, DataKey(key, ops...))
}

// ReleaseItem asks for one item and checks the answer as a client does.
func (r *Rig) ReleaseItem(w *Workload, item wire.Item) (*wire.Grant, *wire.Release) {
	r.T.Helper()
	sealed, hpke := r.Request(w, item, 30*time.Second)
	status, body := r.Do(r.Client(w.Identity()), "POST", "/v1/exchange", sealed, "")
	if status != 200 {
		r.T.Fatalf("exchange: %d %s", status, body)
	}
	rel, err := wire.ParseRelease(r.Unseal(hpke, wire.TypeRelease, sealed, body))
	if err != nil {
		r.T.Fatal(err)
	}
	grant, err := wire.ParseGrant(rel.Grant, r.ServerKey())
	if err != nil {
		r.T.Fatal(err)
	}
	return grant, rel
}

// Allow puts a policy in force.
func (r *Rig) Allow(source string) {
	r.T.Helper()
	r.Propose(authority.KindPolicy, authority.Policy{Source: []byte(source)})
}

// ItemByID asks to encrypt with the current data key of an id.
func ItemByID(id wire.KeyID) wire.Item {
	return wire.Item{ID: id[:], Purpose: wire.PurposeData, Operations: []string{"encrypt"}}
}

// AllowApp1 lets app1 encrypt and decrypt with payments/cards.
const AllowApp1 = `@id("app1") permit(principal == Workload::"spiffe://test/workload/app1", action in [Action::"release", Action::"encrypt", Action::"decrypt"], resource == Key::"payments/cards");`
