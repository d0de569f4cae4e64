// SPDX-License-Identifier: Apache-2.0

package pki_test

import (
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	"claviger/internal/pki"
	"claviger/internal/pki/pkitest"
)

const (
	isCA    = "basicConstraints=critical,CA:true"
	caUsage = "keyUsage=critical,keyCertSign,cRLSign"
)

// TestCAConstraints tries a CA that was allowed less than it does. Each leaf is
// fine by itself.
func TestCAConstraints(t *testing.T) {
	root := pkitest.NewRoot(t, pkitest.Spec{Name: "root"})
	v := verifier(t, shortLived(root))
	for _, tc := range []struct {
		name string
		spec pkitest.Spec
		want pki.Reason
	}{
		{"name constraint met", pkitest.Spec{Extensions: []string{isCA, caUsage, "nameConstraints=critical,permitted;URI:acme.example"}}, ""},
		{"name constraint for another domain", pkitest.Spec{Extensions: []string{isCA, caUsage, "nameConstraints=critical,permitted;URI:other.example"}}, pki.NameConstraint},
		{"domain excluded", pkitest.Spec{Extensions: []string{isCA, caUsage, "nameConstraints=critical,excluded;URI:acme.example"}}, pki.NameConstraint},
		{"not a CA", pkitest.Spec{Extensions: []string{"basicConstraints=critical,CA:false", caUsage}}, pki.UnknownCA},
		{"no basic constraints", pkitest.Spec{Extensions: []string{caUsage}}, pki.UnknownCA},
		{"may not sign certificates", pkitest.Spec{Extensions: []string{isCA, "keyUsage=critical,cRLSign"}}, pki.UnknownCA},
		{"CA for servers only", pkitest.Spec{Extensions: []string{isCA, caUsage, "extendedKeyUsage=serverAuth"}}, pki.WrongEKU},
		{"CA expired", pkitest.Spec{NotAfter: pkitest.Now.Add(-time.Minute)}, pki.Expired},
		{"CA not yet valid", pkitest.Spec{NotBefore: pkitest.Now.Add(time.Minute)}, pki.NotYetValid},
		{"weak RSA", pkitest.Spec{Key: "RSA:1024"}, pki.WrongKey},
		{"P-521", pkitest.Spec{Key: "P-521"}, pki.WrongKey},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.spec.Name = "inter"
			inter := root.CA(tc.spec)
			_, err := v.Verify(inter.Leaf(pkitest.Spec{ID: app}, inter).Chain, pkitest.Now)
			if tc.want == "" && err != nil {
				t.Fatal(err)
			} else if tc.want != "" {
				wantReason(t, err, tc.want)
			}
		})
	}
}

func TestPathLength(t *testing.T) {
	for _, tc := range []struct {
		rootLimit, interLimit string
		want                  pki.Reason
	}{{"", "", ""}, {",pathlen:2", ",pathlen:1", ""}, {",pathlen:1", "", pki.PathLength}, {"", ",pathlen:0", pki.PathLength}} {
		t.Run("root"+tc.rootLimit+" inter"+tc.interLimit, func(t *testing.T) {
			root := pkitest.NewRoot(t, pkitest.Spec{Name: "root", Extensions: []string{isCA + tc.rootLimit, caUsage}})
			upper := root.CA(pkitest.Spec{Name: "upper", Extensions: []string{isCA + tc.interLimit, caUsage}})
			lower := upper.CA(pkitest.Spec{Name: "lower"})
			leaf := lower.Leaf(pkitest.Spec{ID: app}, lower, upper)
			_, err := verifier(t, shortLived(root)).Verify(leaf.Chain, pkitest.Now)
			if tc.want == "" && err != nil {
				t.Fatal(err)
			} else if tc.want != "" {
				wantReason(t, err, tc.want)
			}
		})
	}
}

func TestLeafCannotIssue(t *testing.T) {
	root := pkitest.NewRoot(t, pkitest.Spec{Name: "root"})
	// A workload with a good certificate uses its key as if it were a CA's.
	notCA := root.CA(pkitest.Spec{Name: "app", Extensions: pkitest.LeafExtensions(app)})
	forged := notCA.Leaf(pkitest.Spec{ID: prefix + "admin"}, notCA)
	_, err := verifier(t, shortLived(root)).Verify(forged.Chain, pkitest.Now)
	wantReason(t, err, pki.UnknownCA)
}

// TestCrossSignedLoop staples CAs that certify each other in a ring without a
// root, and then with one: the first must end in a refusal, the second be found.
func TestCrossSignedLoop(t *testing.T) {
	root := pkitest.NewRoot(t, pkitest.Spec{Name: "root"})
	const ring = 4
	cas := make([]*pkitest.CA, ring)
	for i := range cas {
		cas[i] = pkitest.NewRoot(t, pkitest.Spec{Name: fmt.Sprintf("ca%d", i)})
	}
	leaf := cas[0].Leaf(pkitest.Spec{ID: app})
	chain := [][]byte{leaf.DER}
	for i := range cas {
		for j := range cas {
			if i != j && len(chain) < pki.MaxChain-1 {
				chain = append(chain, cas[j].CA(pkitest.Spec{Name: fmt.Sprintf("ca%d", i), Reuse: cas[i].KeyFile}).Cert.Raw)
			}
		}
	}
	v := verifier(t, shortLived(root))
	_, err := v.Verify(chain, pkitest.Now)
	wantReason(t, err, pki.UnknownCA)

	bridge := root.CA(pkitest.Spec{Name: "ca3", Reuse: cas[3].KeyFile})
	if _, err := v.Verify(append(chain, bridge.Cert.Raw), pkitest.Now); err != nil {
		t.Errorf("ring with a way out: %v", err)
	}
}

// TestHugeChain holds that size is judged before anything is parsed: refusing
// ten thousand certificates may not allocate in proportion to them.
func TestHugeChain(t *testing.T) {
	root := pkitest.NewRoot(t, pkitest.Spec{Name: "root"})
	leaf := root.Leaf(pkitest.Spec{ID: app})
	v := verifier(t, shortLived(root))
	many := make([][]byte, 10_000)
	for i := range many {
		many[i] = leaf.DER
	}
	_, err := v.Verify(many, pkitest.Now)
	wantReason(t, err, pki.TooLarge)
	if n := testing.AllocsPerRun(10, func() { _, _ = v.Verify(many, pkitest.Now) }); n > 20 {
		t.Errorf("refusing 10,000 certificates took %v allocations", n)
	}

	_, err = v.Verify(many[:pki.MaxChain+1], pkitest.Now)
	wantReason(t, err, pki.TooLarge)
	_, err = v.Verify([][]byte{leaf.DER, make([]byte, pki.MaxChainBytes)}, pkitest.Now)
	wantReason(t, err, pki.TooLarge)
}

func TestAnchorIsChosenByName(t *testing.T) {
	ours := pkitest.NewRoot(t, pkitest.Spec{Name: "ours"})
	theirs := pkitest.NewRoot(t, pkitest.Spec{Name: "theirs"})
	batch := prefix + "batch/"
	foreign := "spiffe://partner.example/workload/"
	a, b, c := shortLived(ours), shortLived(theirs), shortLived(theirs)
	a.Prefix, b.Prefix, c.Prefix = prefix+"web/", batch, foreign
	v := verifier(t, a, b, c)

	for _, tc := range []struct {
		name string
		ca   *pkitest.CA
		id   string
		path string
		want pki.Reason
	}{
		{"our name, our CA", ours, prefix + "web/shop", "web/shop", ""},
		{"batch name, their CA", theirs, batch + "job", "batch/job", ""},
		{"our name, their CA", theirs, prefix + "web/shop", "", pki.UnknownCA},
		{"batch name, our CA", ours, batch + "job", "", pki.UnknownCA},
		{"prefix ends inside a part", ours, prefix + "website", "", pki.NoAnchor},
		{"the prefix itself is no name", ours, prefix + "web", "", pki.NoAnchor},
		{"foreign name has no short form", theirs, foreign + "web/shop", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := v.Verify(tc.ca.Leaf(pkitest.Spec{ID: tc.id}).Chain, pkitest.Now)
			if tc.want != "" {
				wantReason(t, err, tc.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.ID != tc.id || got.Path != tc.path {
				t.Errorf("got %s, short name %q", got.ID, got.Path)
			}
		})
	}
}

func TestNewVerifierRefuses(t *testing.T) {
	root := pkitest.NewRoot(t, pkitest.Spec{Name: "root"})
	leaf := root.Leaf(pkitest.Spec{ID: app})
	weak := pkitest.NewRoot(t, pkitest.Spec{Name: "weak", Key: "RSA:1024"})
	roots := []*x509.Certificate{root.Cert}
	manyRoots, manyLists := roots, [][]byte{root.CRL(pkitest.Now.Add(crlDay))}
	for len(manyRoots) < 65 {
		manyRoots = append(manyRoots, root.Cert)
	}
	for len(manyLists) < 17 {
		manyLists = append(manyLists, manyLists[0])
	}
	anchor := func(prefix string) pki.Anchor { return pki.Anchor{Prefix: prefix, Roots: roots} }
	for name, anchors := range map[string][]pki.Anchor{
		"no root":                   {{Prefix: prefix}},
		"leaf as root":              {{Prefix: prefix, Roots: []*x509.Certificate{leaf.Cert}}},
		"leaf as intermediate":      {{Prefix: prefix, Roots: roots, Intermediates: []*x509.Certificate{leaf.Cert}}},
		"nil root":                  {{Prefix: prefix, Roots: []*x509.Certificate{nil}}},
		"weak root":                 {{Prefix: prefix, Roots: []*x509.Certificate{weak.Cert}}},
		"no slash":                  {anchor("spiffe://acme.example/workload")},
		"whole trust domain":        {anchor("spiffe://acme.example/")},
		"other path":                {anchor("spiffe://acme.example/server/")},
		"empty part":                {anchor(prefix + "/")},
		"upper case":                {anchor(prefix + "Web/")},
		"same prefix twice":         {anchor(prefix), anchor(prefix)},
		"prefix inside another":     {anchor(prefix), anchor(prefix + "web/")},
		"prefix around another":     {anchor(prefix + "web/"), anchor(prefix)},
		"embedded elsewhere":        {{Prefix: "spiffe://other.example/workload/", Embedded: true, Roots: roots}},
		"embedded on a part":        {{Prefix: prefix + "web/", Embedded: true, Roots: roots}},
		"embedded with a list":      {{Prefix: prefix, Embedded: true, Roots: roots, CRLs: [][]byte{root.CRL(pkitest.Now.Add(crlDay))}}},
		"negative lifetime":         {{Prefix: prefix, Roots: roots, MaxLifetime: -1}},
		"list is no list":           {{Prefix: prefix, Roots: roots, CRLs: [][]byte{root.Cert.Raw}}},
		"too many roots":            {{Prefix: prefix, Roots: manyRoots}},
		"too many revocation lists": {{Prefix: prefix, Roots: roots, CRLs: manyLists}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := pki.NewVerifier(domain, anchors); err == nil {
				t.Error("accepted")
			}
		})
	}
	if _, err := pki.NewVerifier("Acme", nil); err == nil {
		t.Error("accepted a trust domain in upper case")
	}
	v := verifier(t)
	_, err := v.Verify(leaf.Chain, pkitest.Now)
	wantReason(t, err, pki.NoAnchor)
}

func TestLifetime(t *testing.T) {
	root := pkitest.NewRoot(t, pkitest.Spec{Name: "root"})
	start := pkitest.Now.Add(-time.Hour)
	v := verifier(t, shortLived(root))
	exact := root.Leaf(pkitest.Spec{ID: app, NotBefore: start, NotAfter: start.Add(pki.ShortLived)})
	if _, err := v.Verify(exact.Chain, pkitest.Now); err != nil {
		t.Errorf("exactly 24 h: %v", err)
	}
	longer := root.Leaf(pkitest.Spec{ID: app, NotBefore: start, NotAfter: start.Add(pki.ShortLived + time.Second)})
	_, err := v.Verify(longer.Chain, pkitest.Now)
	wantReason(t, err, pki.Lifetime)

	// Without a limit of at most 24 h an outside CA has to publish lists.
	for _, limit := range []time.Duration{0, pki.ShortLived + 1} {
		a := shortLived(root)
		a.MaxLifetime = limit
		_, err := verifier(t, a).Verify(exact.Chain, pkitest.Now)
		wantReason(t, err, pki.NoCRL)
	}
	embedded := pki.Anchor{Prefix: prefix, Embedded: true, Roots: []*x509.Certificate{root.Cert}}
	if _, err := verifier(t, embedded).Verify(longer.Chain, pkitest.Now); err != nil {
		t.Errorf("embedded CA: %v", err)
	}
}
