// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"path/filepath"
	"time"

	"claviger/client"
	"claviger/internal/authority"
	"claviger/internal/wire"
)

// ID is the SPIFFE id of a workload.
func ID(name string) string { return "spiffe://" + Name + "/workload/" + name }

// Invite makes an invite and returns its line of text.
func (d *Domain) Invite(name string, addresses ...string) string {
	d.tb.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	d.must(err)
	entry := authority.Invite{Client: ID(name), Key: pub, Expires: d.o.Clock.Now().Add(50 * time.Minute).UnixMilli()}
	rand.Read(entry.ID[:])
	d.Propose(authority.KindInvite, entry)
	if len(addresses) == 0 {
		addresses = d.Addresses()
	}
	return wire.Invite{
		Type: wire.TypeInvite, Domain: d.Founded.Domain, Members: d.State().Members.Newest, Addresses: addresses,
		ID: entry.ID, Seed: key.Seed(), Client: entry.Client, Expires: entry.Expires, SendToken: d.token,
	}.Text()
}

// Enroll makes a workload with a profile.
func (d *Domain) Enroll(name string) *client.Profile {
	d.tb.Helper()
	dir := filepath.Join(d.tb.TempDir(), name)
	p, err := client.Enroll(d.tb.Context(), dir, d.Invite(name), client.EnrollOptions{Clock: d.o.Clock})
	d.must(err)
	return p
}

// Dial opens a profile, to be used at the given addresses, or at those it knows.
func (d *Domain) Dial(p *client.Profile, addresses ...string) *client.Client {
	d.tb.Helper()
	at := *p
	if len(addresses) > 0 {
		at.Addresses = addresses
	}
	c, err := client.Dial(d.tb.Context(), &at, client.Options{Clock: d.o.Clock, Timeout: 10 * time.Second})
	d.must(err)
	d.tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			d.tb.Errorf("close: %v", err)
		}
	})
	return c
}

// Client enrolls a workload and opens its profile.
func (d *Domain) Client(name string) *client.Client {
	d.tb.Helper()
	return d.Dial(d.Enroll(name))
}

// Raw is a workload that writes its own messages.
type Raw struct {
	Identity *tls.Certificate
	Chain    [][]byte
	Key      crypto.Signer
	ID       string
	domain   *Domain
}

// Raw reads the identity in a profile's directory.
func (d *Domain) Raw(dir string) *Raw {
	d.tb.Helper()
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	d.must(err)
	return &Raw{
		Identity: &cert, Chain: cert.Certificate, Key: cert.PrivateKey.(crypto.Signer), ID: cert.Leaf.URIs[0].String(), domain: d,
	}
}

// As is a workload with an identity of the test's own making.
func (d *Domain) As(identity *tls.Certificate, id string) *Raw {
	return &Raw{Identity: identity, Chain: identity.Certificate, Key: identity.PrivateKey.(crypto.Signer), ID: id, domain: d}
}

// Request is an honest request for one key, and the key that its answer is sealed
// to. It names the server's present descriptor.
func (r *Raw) Request(item wire.Item) (*wire.Request, *wire.Key) {
	r.domain.tb.Helper()
	signed, _, _ := r.domain.Introduction()
	hpke := wire.NewKey()
	req := &wire.Request{
		Type: wire.TypeRequest, Domain: r.domain.Founded.Domain, Client: r.ID, HPKE: hpke.Public(), Items: []wire.Item{item},
		Descriptor: wire.DescriptorHash(signed), NotAfter: r.domain.o.Clock.Now().Add(30 * time.Second).UnixMilli(),
	}
	rand.Read(req.Nonce[:])
	return req, hpke
}

// DataItem asks for a data key.
func DataItem(name string, operations ...string) wire.Item {
	return wire.Item{Name: name, Purpose: wire.PurposeData, Operations: operations}
}

// Sign signs a request with the workload's key, its chain stapled.
func (r *Raw) Sign(req *wire.Request) []byte {
	r.domain.tb.Helper()
	signed, err := wire.SignChain(wire.TypeRequest, wire.Marshal(*req), r.Chain, r.Key)
	r.domain.must(err)
	return signed
}

// Seal seals a signed message to the server's present descriptor.
func (d *Domain) Seal(typ string, signed []byte) []byte {
	d.tb.Helper()
	own, descriptor, _ := d.Introduction()
	sealed, err := wire.Seal(descriptor.HPKE, typ, wire.DescriptorHash(own), signed)
	d.must(err)
	return sealed
}

// Exchange sends a sealed message as this workload, the way that workloads go.
func (r *Raw) Exchange(sealed []byte) Answer {
	if r.domain.outside != nil {
		return r.domain.Carry(sealed)
	}
	return r.domain.Send(r.Identity, Message{Method: "POST", Path: "/v1/exchange", Body: sealed})
}
