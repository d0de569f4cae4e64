// SPDX-License-Identifier: Apache-2.0

package pki_test

import (
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"claviger/internal/pki"
	"claviger/internal/pki/pkitest"
)

const (
	domain = "acme.example"
	prefix = "spiffe://acme.example/workload/"
	app    = prefix + "app"
	crlDay = 24 * time.Hour
)

// world is a domain with one outside CA: root, intermediate, and their lists.
type world struct {
	root, inter *pkitest.CA
}

func newWorld(t testing.TB) world {
	t.Helper()
	root := pkitest.NewRoot(t, pkitest.Spec{Name: "root"})
	return world{root: root, inter: root.CA(pkitest.Spec{Name: "inter"})}
}

func (w world) crls() [][]byte {
	return [][]byte{w.root.CRL(pkitest.Now.Add(crlDay)), w.inter.CRL(pkitest.Now.Add(crlDay))}
}

func verifier(t testing.TB, anchors ...pki.Anchor) *pki.Verifier {
	t.Helper()
	v, err := pki.NewVerifier(domain, anchors)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// shortLived is an anchor that needs no lists.
func shortLived(roots ...*pkitest.CA) pki.Anchor {
	a := pki.Anchor{Prefix: prefix, MaxLifetime: pki.ShortLived}
	for _, r := range roots {
		a.Roots = append(a.Roots, r.Cert)
	}
	return a
}

func wantReason(t *testing.T, err error, want pki.Reason) {
	t.Helper()
	var u *pki.UntrustedError
	if !errors.As(err, &u) || !errors.Is(err, pki.ErrUntrusted) {
		t.Fatalf("got error %v, want %q", err, want)
	}
	if u.Reason != want {
		t.Fatalf("got reason %q (%s), want %q", u.Reason, u.Detail, want)
	}
}

func TestVerifyAccepts(t *testing.T) {
	for _, kind := range []struct{ root, inter, leaf string }{
		{"", "", ""}, {"", "", "ED25519"}, {"RSA:2048", "P-384", ""}, {"P-384", "RSA:2048", "ED25519"}, {"ED25519", "ED25519", "ED25519"},
	} {
		t.Run(kind.root+"/"+kind.inter+"/"+kind.leaf, func(t *testing.T) {
			root := pkitest.NewRoot(t, pkitest.Spec{Name: "root", Key: kind.root})
			w := world{root: root, inter: root.CA(pkitest.Spec{Name: "inter", Key: kind.inter})}
			leaf := w.inter.Leaf(pkitest.Spec{ID: app, Key: kind.leaf}, w.inter)
			v := verifier(t, pki.Anchor{Prefix: prefix, Roots: []*x509.Certificate{root.Cert}, CRLs: w.crls()})
			got, err := v.Verify(leaf.Chain, pkitest.Now)
			if err != nil {
				t.Fatal(err)
			}
			if got.ID != app || got.Path != "app" || got.Anchor != prefix || !got.Leaf.Equal(leaf.Cert) {
				t.Errorf("identity %+v", got)
			}
			if !got.NotAfter.Equal(leaf.Cert.NotAfter) {
				t.Errorf("kept until %v, want the leaf's end %v", got.NotAfter, leaf.Cert.NotAfter)
			}
		})
	}
}

func TestVerifyFindsIntermediates(t *testing.T) {
	w := newWorld(t)
	leaf := w.inter.Leaf(pkitest.Spec{ID: app})
	a := shortLived(w.root)
	_, err := verifier(t, a).Verify(leaf.Chain, pkitest.Now)
	wantReason(t, err, pki.UnknownCA)

	a.Intermediates = []*x509.Certificate{w.inter.Cert}
	if _, err := verifier(t, a).Verify(leaf.Chain, pkitest.Now); err != nil {
		t.Errorf("with the anchor's intermediate: %v", err)
	}
	// An issuing CA can be pinned by itself, and the root may be stapled too.
	pinned := shortLived(w.inter)
	if _, err := verifier(t, pinned).Verify(append(leaf.Chain, w.root.Cert.Raw), pkitest.Now); err != nil {
		t.Errorf("with a pinned issuing CA: %v", err)
	}
}

// TestVerifyRefuses holds one line per way in which a chain can be wrong; each
// chain is otherwise as good as the one of TestVerifyAccepts.
func TestVerifyRefuses(t *testing.T) {
	w := newWorld(t)
	good := w.inter.Leaf(pkitest.Spec{ID: app}, w.inter)
	otherRoot := pkitest.NewRoot(t, pkitest.Spec{Name: "root"}) // same name, other key
	v := verifier(t, shortLived(w.root))
	leaf := func(exts ...string) [][]byte {
		return w.inter.Leaf(pkitest.Spec{Extensions: exts}, w.inter).Chain
	}
	const (
		noCA, digital, client = "basicConstraints=critical,CA:false", "keyUsage=critical,digitalSignature", "extendedKeyUsage=clientAuth"
		san                   = "subjectAltName=URI:" + app
	)
	flipped := append([]byte(nil), good.DER...)
	flipped[len(flipped)-1] ^= 1

	for _, tc := range []struct {
		name  string
		chain [][]byte
		now   time.Time
		want  pki.Reason
	}{
		{"empty", nil, pkitest.Now, pki.Malformed},
		{"not a certificate", [][]byte{[]byte("x")}, pkitest.Now, pki.Malformed},
		{"trailing byte", [][]byte{append(append([]byte(nil), good.DER...), 0), w.inter.Cert.Raw}, pkitest.Now, pki.Malformed},
		{"certificate twice", [][]byte{good.DER, w.inter.Cert.Raw, w.inter.Cert.Raw}, pkitest.Now, pki.Malformed},
		{"forged signature", [][]byte{flipped, w.inter.Cert.Raw}, pkitest.Now, pki.UnknownCA},
		{"self-signed", [][]byte{pkitest.NewRoot(t, pkitest.Spec{Name: "own", NotAfter: pkitest.Now.Add(time.Hour), Extensions: pkitest.LeafExtensions(app)}).Cert.Raw}, pkitest.Now, pki.UnknownCA},
		{"twin of the root", otherRoot.Leaf(pkitest.Spec{ID: app}).Chain, pkitest.Now, pki.UnknownCA},
		{"expired", good.Chain, good.Cert.NotAfter.Add(time.Second), pki.Expired},
		{"not yet valid", good.Chain, good.Cert.NotBefore.Add(-time.Second), pki.NotYetValid},
		{"no key usage", leaf(noCA, client, san), pkitest.Now, pki.WrongUsage},
		{"key agreement only", leaf(noCA, "keyUsage=critical,keyAgreement", client, san), pkitest.Now, pki.WrongUsage},
		{"server certificate", leaf(noCA, digital, "extendedKeyUsage=serverAuth", san), pkitest.Now, pki.WrongEKU},
		{"no extended usage", leaf(noCA, digital, san), pkitest.Now, pki.WrongEKU},
		{"any extended usage", leaf(noCA, digital, "extendedKeyUsage=anyExtendedKeyUsage", san), pkitest.Now, pki.WrongEKU},
		{"leaf is a CA", leaf("basicConstraints=critical,CA:true", digital, client, san), pkitest.Now, pki.LeafIsCA},
		{"leaf may sign certificates", leaf(noCA, "keyUsage=critical,digitalSignature,keyCertSign", client, san), pkitest.Now, pki.LeafIsCA},
		{"leaf may sign lists", leaf(noCA, "keyUsage=critical,digitalSignature,cRLSign", client, san), pkitest.Now, pki.LeafIsCA},
		{"RSA leaf", w.inter.Leaf(pkitest.Spec{ID: app, Key: "RSA:2048"}, w.inter).Chain, pkitest.Now, pki.WrongKey},
		{"P-384 leaf", w.inter.Leaf(pkitest.Spec{ID: app, Key: "P-384"}, w.inter).Chain, pkitest.Now, pki.WrongKey},
		{"no name", leaf(noCA, digital, client), pkitest.Now, pki.NoName},
		{"DNS name only", leaf(noCA, digital, client, "subjectAltName=DNS:app.acme.example"), pkitest.Now, pki.NoName},
		{"two URIs", leaf(noCA, digital, client, san+",URI:"+prefix+"other"), pkitest.Now, pki.NoName},
		{"SPIFFE and web URI", leaf(noCA, digital, client, san+",URI:https://acme.example/"), pkitest.Now, pki.NoName},
		{"upper-case scheme", leaf(noCA, digital, client, "subjectAltName=URI:SPIFFE://acme.example/workload/app"), pkitest.Now, pki.NoName},
		{"upper-case path", leaf(noCA, digital, client, "subjectAltName=URI:"+prefix+"App"), pkitest.Now, pki.NoName},
		{"dot parts", leaf(noCA, digital, client, "subjectAltName=URI:"+prefix+"x/../app"), pkitest.Now, pki.NoName},
		{"empty fragment", leaf(noCA, digital, client, "subjectAltName=URI:"+app+"\\#"), pkitest.Now, pki.NoName},
		{"query", leaf(noCA, digital, client, "subjectAltName=URI:"+app+"?"), pkitest.Now, pki.NoName},
		{"percent", leaf(noCA, digital, client, "subjectAltName=URI:"+prefix+"%61pp"), pkitest.Now, pki.NoName},
		{"critical extension nobody knows", leaf(noCA, digital, client, san, "1.2.3.4=critical,DER:0500"), pkitest.Now, pki.UnknownCA},
		{"other domain", leaf(pkitest.LeafExtensions("spiffe://evil.example/workload/app")...), pkitest.Now, pki.NoAnchor},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := v.Verify(tc.chain, tc.now)
			if got != nil {
				t.Fatalf("accepted as %s", got.ID)
			}
			wantReason(t, err, tc.want)
		})
	}
}
