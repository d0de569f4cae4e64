// SPDX-License-Identifier: Apache-2.0

package pki_test

import (
	"crypto/x509"
	"encoding/asn1"
	"slices"
	"strings"
	"testing"
	"time"

	"claviger/internal/pki"
	"claviger/internal/pki/pkitest"
)

func TestRevocation(t *testing.T) {
	w := newWorld(t)
	good := w.inter.Leaf(pkitest.Spec{ID: app}, w.inter)
	bad := w.inter.Leaf(pkitest.Spec{ID: app}, w.inter)
	before := w.inter.CRL(pkitest.Now.Add(crlDay))
	w.inter.Revoke(bad)
	rootList, list := w.root.CRL(pkitest.Now.Add(crlDay)), w.inter.CRL(pkitest.Now.Add(crlDay))
	twin := pkitest.NewRoot(t, pkitest.Spec{Name: "inter"})
	twinList := twin.CRL(pkitest.Now.Add(crlDay))
	renamed := pkitest.NewRoot(t, pkitest.Spec{Name: "renamed", Reuse: w.inter.KeyFile}).CRL(pkitest.Now.Add(crlDay))
	shortList := w.inter.CRL(pkitest.Now.Add(time.Minute))
	future := w.inter.CRLFrom(pkitest.Now.Add(time.Minute), pkitest.Now.Add(crlDay))

	for _, tc := range []struct {
		name string
		crls [][]byte
		leaf *pkitest.Leaf
		now  time.Time
		want pki.Reason
	}{
		{"good", [][]byte{rootList, list}, good, pkitest.Now, ""},
		{"revoked", [][]byte{rootList, list}, bad, pkitest.Now, pki.Revoked},
		{"revoked since", [][]byte{rootList, before}, bad, pkitest.Now, ""},
		{"no lists", nil, good, pkitest.Now, pki.NoCRL},
		{"no list for the leaf", [][]byte{rootList}, good, pkitest.Now, pki.NoCRL},
		{"no list for the intermediate", [][]byte{list}, good, pkitest.Now, pki.NoCRL},
		{"list of another CA of that name", [][]byte{rootList, twinList}, good, pkitest.Now, pki.NoCRL},
		{"list under that key for another CA", [][]byte{rootList, renamed}, good, pkitest.Now, pki.NoCRL},
		{"stale", [][]byte{rootList, shortList}, good, pkitest.Now.Add(time.Minute), pki.StaleCRL},
		{"stale and revoked", [][]byte{rootList, shortList}, bad, pkitest.Now.Add(time.Minute), pki.Revoked},
		{"from the future", [][]byte{rootList, future}, good, pkitest.Now, pki.StaleCRL},
		{"fresh beside stale", [][]byte{rootList, shortList, list}, good, pkitest.Now.Add(time.Minute), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := pki.Anchor{Prefix: prefix, Roots: []*x509.Certificate{w.root.Cert}, CRLs: tc.crls}
			v := verifier(t, a)
			for range 2 { // the second time with the list's signature remembered
				_, err := v.Verify(tc.leaf.Chain, tc.now)
				if tc.want == "" && err != nil {
					t.Fatal(err)
				} else if tc.want != "" {
					wantReason(t, err, tc.want)
				}
			}
		})
	}
}

// TestListCountsForItsKeyOnly: of two CAs with one name, the list of the first
// says nothing about the second, also after its signature was found good.
func TestListCountsForItsKeyOnly(t *testing.T) {
	w := newWorld(t)
	second := w.root.CA(pkitest.Spec{Name: "inter"})
	v := verifier(t, pki.Anchor{Prefix: prefix, Roots: []*x509.Certificate{w.root.Cert}, CRLs: w.crls()})
	if _, err := v.Verify(w.inter.Leaf(pkitest.Spec{ID: app}, w.inter).Chain, pkitest.Now); err != nil {
		t.Fatal(err)
	}
	_, err := v.Verify(second.Leaf(pkitest.Spec{ID: app}, second).Chain, pkitest.Now)
	wantReason(t, err, pki.NoCRL)
}

func TestRevokedIntermediate(t *testing.T) {
	w := newWorld(t)
	leaf := w.inter.Leaf(pkitest.Spec{ID: app}, w.inter)
	w.root.RevokeCA(w.inter)
	v := verifier(t, pki.Anchor{Prefix: prefix, Roots: []*x509.Certificate{w.root.Cert}, CRLs: w.crls()})
	_, err := v.Verify(leaf.Chain, pkitest.Now)
	wantReason(t, err, pki.Revoked)
}

// TestListNeedsRightToSign: a CA without cRLSign can't clear its certificates.
func TestListNeedsRightToSign(t *testing.T) {
	root := pkitest.NewRoot(t, pkitest.Spec{Name: "root", Extensions: []string{isCA, "keyUsage=critical,keyCertSign"}})
	leaf := root.Leaf(pkitest.Spec{ID: app})
	v := verifier(t, pki.Anchor{Prefix: prefix, Roots: []*x509.Certificate{root.Cert}, CRLs: [][]byte{root.CRL(pkitest.Now.Add(crlDay))}})
	_, err := v.Verify(leaf.Chain, pkitest.Now)
	wantReason(t, err, pki.NoCRL)
}

// TestVerdictEndsWithList: a verdict may not be kept past the list it rests on.
func TestVerdictEndsWithList(t *testing.T) {
	root := pkitest.NewRoot(t, pkitest.Spec{Name: "root"})
	leaf := root.Leaf(pkitest.Spec{ID: app})
	until := pkitest.Now.Add(time.Hour)
	v := verifier(t, pki.Anchor{Prefix: prefix, Roots: []*x509.Certificate{root.Cert}, CRLs: [][]byte{root.CRL(until)}})
	got, err := v.Verify(leaf.Chain, pkitest.Now)
	if err != nil {
		t.Fatal(err)
	}
	if !got.NotAfter.Equal(until) {
		t.Errorf("verdict kept until %v, list is good until %v", got.NotAfter, until)
	}
	short := pkitest.NewRoot(t, pkitest.Spec{Name: "short", NotAfter: until})
	got, err = verifier(t, shortLived(short)).Verify(short.Leaf(pkitest.Spec{ID: app}).Chain, pkitest.Now)
	if err != nil {
		t.Fatal(err)
	}
	if !got.NotAfter.Equal(until) {
		t.Errorf("verdict kept until %v, the CA ends %v", got.NotAfter, until)
	}
}

func TestPartialListsAreRefused(t *testing.T) {
	root := pkitest.NewRoot(t, pkitest.Spec{Name: "root"})
	for name, ext := range map[string]string{
		"delta list":          "2.5.29.27=critical,DER:020101",
		"for users only":      "2.5.29.28=critical,DER:30038101ff",
		"unknown and crucial": "1.2.3.4=critical,DER:0500",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := pki.ParseCRL(root.CRL(pkitest.Now.Add(crlDay), ext)); err == nil {
				t.Error("accepted")
			}
		})
	}
	if _, err := pki.ParseCRL(append(root.CRL(pkitest.Now.Add(crlDay)), 0)); err == nil {
		t.Error("accepted a trailing byte")
	}
	for _, size := range []int{pki.MaxCRLSize + 1, 2*pki.MaxCRLSize + 1} {
		if _, err := pki.ParseCRL(make([]byte, size)); err == nil || !strings.Contains(err.Error(), "larger than") {
			t.Errorf("list of %d bytes: %v", size, err)
		}
	}
	if _, err := pki.ParseCRL(withoutNextUpdate(t, root.CRL(pkitest.Now.Add(crlDay)))); err == nil {
		t.Error("accepted a list that is never stale")
	}
}

// withoutNextUpdate cuts the optional field out of a list (RFC 5280, section 5.1:
// version, signature, issuer, thisUpdate, nextUpdate, …).
func withoutNextUpdate(t *testing.T, der []byte) []byte {
	t.Helper()
	var outer, tbs []asn1.RawValue
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		t.Fatal(err)
	}
	if _, err := asn1.Unmarshal(outer[0].FullBytes, &tbs); err != nil {
		t.Fatal(err)
	}
	inner, err := asn1.Marshal(slices.Delete(tbs, 4, 5))
	if err != nil {
		t.Fatal(err)
	}
	outer[0] = asn1.RawValue{FullBytes: inner}
	if der, err = asn1.Marshal(outer); err != nil {
		t.Fatal(err)
	}
	if list, err := x509.ParseRevocationList(der); err != nil || !list.NextUpdate.IsZero() {
		t.Fatalf("cut list: %v", err)
	}
	return der
}

func TestWithCRLs(t *testing.T) {
	w := newWorld(t)
	leaf := w.inter.Leaf(pkitest.Spec{ID: app}, w.inter)
	v := verifier(t, pki.Anchor{Prefix: prefix, Roots: []*x509.Certificate{w.root.Cert}})
	// After a restart, before any list was read: closed (CVE-2022-41316).
	_, err := v.Verify(leaf.Chain, pkitest.Now)
	wantReason(t, err, pki.NoCRL)

	rootList, old := w.root.CRL(pkitest.Now.Add(crlDay)), w.inter.CRLFrom(pkitest.Now.Add(-time.Hour), pkitest.Now.Add(crlDay))
	with, err := v.WithCRLs(prefix, [][]byte{rootList, old})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := with.Verify(leaf.Chain, pkitest.Now); err != nil {
		t.Fatal(err)
	}
	_, err = v.Verify(leaf.Chain, pkitest.Now)
	wantReason(t, err, pki.NoCRL) // the old verifier is unchanged

	w.inter.Revoke(leaf)
	newer := w.inter.CRLFrom(pkitest.Now.Add(-time.Minute), pkitest.Now.Add(crlDay))
	with, err = with.WithCRLs(prefix, [][]byte{rootList, newer})
	if err != nil {
		t.Fatal(err)
	}
	_, err = with.Verify(leaf.Chain, pkitest.Now)
	wantReason(t, err, pki.Revoked)
	if _, err := with.WithCRLs(prefix, [][]byte{rootList, old}); err == nil {
		t.Error("an older list brought a revoked certificate back")
	}
	none, err := with.WithCRLs(prefix, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = none.Verify(leaf.Chain, pkitest.Now)
	wantReason(t, err, pki.NoCRL)
	if _, err := v.WithCRLs("spiffe://other.example/workload/", nil); err == nil {
		t.Error("lists for an anchor that isn't there")
	}
	if _, err := v.WithCRLs(prefix, [][]byte{{1}}); err == nil {
		t.Error("accepted a broken list")
	}
}

// TestListsBindShortLived: an anchor that is given lists needs them from then
// on, also if its lifetime limit alone would do.
func TestListsBindShortLived(t *testing.T) {
	root := pkitest.NewRoot(t, pkitest.Spec{Name: "root"})
	leaf := root.Leaf(pkitest.Spec{ID: app})
	root.Revoke(leaf)
	v, err := verifier(t, shortLived(root)).WithCRLs(prefix, [][]byte{root.CRL(pkitest.Now.Add(crlDay))})
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Verify(leaf.Chain, pkitest.Now)
	wantReason(t, err, pki.Revoked)
}
