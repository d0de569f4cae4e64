// SPDX-License-Identifier: Apache-2.0

package pki_test

import (
	"encoding/pem"
	"errors"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"claviger/internal/pki"
	"claviger/internal/pki/pkitest"
	"claviger/internal/wire"
)

func TestParseID(t *testing.T) {
	long := strings.Repeat("a", 128)
	for _, good := range []string{
		app, "spiffe://a/workload/b", "spiffe://a_b-c.d/workload/x.y/_-/0", "spiffe://a/workload/workload/b", "spiffe://a/workload/...",
		"spiffe://" + long + "/workload/" + long[:256-9-10-128-1],
	} {
		name, err := pki.ParseID(good)
		if err != nil {
			t.Errorf("%s: %v", good, err)
		}
		if name.String() != good {
			t.Errorf("%s comes back as %s", good, name)
		}
	}
	for _, bad := range []string{
		"", "spiffe://", "spiffe:///workload/x", "spiffe://a", "spiffe://a/", "spiffe://a/workload", "spiffe://a/workload/", "spiffe://a/server/x",
		"spiffe://a/workload//x", "spiffe://a/workload/x/", "spiffe://a/workload/./x", "spiffe://a/workload/..", "spiffe://a//workload/x",
		"Spiffe://a/workload/x", "https://a/workload/x", "spiffe://A/workload/x", "spiffe://a/Workload/x", "spiffe://a/workload/X", "spiffe://a/workload/x y",
		"spiffe://a/workload/x%2e", "spiffe://a/workload/x?y", "spiffe://a/workload/x#", "spiffe://a:1/workload/x", "spiffe://u@a/workload/x",
		"spiffe://a/workload/caf\u00e9", "spiffe://a/workload/cafe\u0301", "spiffe://a/workload/x\x00", "spiffe://a/workload/x\n", "spiffe://a/workload/x\\y",
		"spiffe://.a/workload/x", "spiffe://a./workload/x", "spiffe://a..b/workload/x", "spiffe://1.2.3.4/workload/x", "spiffe://[::1]/workload/x",
		"spiffe://a/workload/" + long + "a", "spiffe://" + long + "a/workload/x", "spiffe://" + long + "/workload/" + long[:100] + "/aaaaaaaaa", " " + app,
	} {
		if _, err := pki.ParseID(bad); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}

func TestWorkloadID(t *testing.T) {
	got, err := pki.WorkloadID(domain, "app")
	if err != nil || got != app {
		t.Errorf("got %q, %v", got, err)
	}
	for _, tc := range [][2]string{{domain, ""}, {domain, "/app"}, {domain, "../x"}, {"", "x"}, {domain + "/workload", "x"}, {domain + "/workload/y", "x"}} {
		if id, err := pki.WorkloadID(tc[0], tc[1]); err == nil {
			t.Errorf("%q: accepted as %s", tc, id)
		}
	}
	if p, err := pki.EmbeddedPrefix(domain); err != nil || p != prefix {
		t.Errorf("got %q, %v", p, err)
	}
	if _, err := pki.EmbeddedPrefix("a/b"); err == nil {
		t.Error("prefix of a domain with a slash")
	}
}

// FuzzParseID holds that a name that is accepted has one spelling: the URL
// parser of crypto/x509 finds the same name in it, and every other package that
// judges names accepts it too.
func FuzzParseID(f *testing.F) {
	for _, s := range []string{app, "SPIFFE://a/workload/x", "spiffe://a/workload/x#", "spiffe://a/workload/../x", "spiffe://a.b/workload/workload/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := pki.ParseID(s)
		if err != nil {
			return
		}
		if name.String() != s || !wire.ValidID(s) {
			t.Fatalf("%q: spelling %q, valid in messages: %v", s, name, wire.ValidID(s))
		}
		u, err := url.Parse(s)
		if err != nil || u.String() != s || u.Host != name.TrustDomain || u.Path != "/workload/"+name.Path {
			t.Fatalf("%q is another URL: %+v, %v", s, u, err)
		}
		again, err := pki.WorkloadID(name.TrustDomain, name.Path)
		if err != nil || again != s {
			t.Fatalf("%q made anew is %q, %v", s, again, err)
		}
	})
}

// FuzzVerify mutates a good chain. Whatever is accepted must be the good name,
// and refusals are always UntrustedErrors.
func FuzzVerify(f *testing.F) {
	root := pkitest.NewRoot(f, pkitest.Spec{Name: "root"})
	inter := root.CA(pkitest.Spec{Name: "inter"})
	leaf := inter.Leaf(pkitest.Spec{ID: app}, inter)
	v := verifier(f, shortLived(root))
	f.Add(leaf.Chain[0], leaf.Chain[1])
	f.Add(leaf.Chain[1], leaf.Chain[0])
	f.Fuzz(func(t *testing.T, first, second []byte) {
		id, err := v.Verify([][]byte{first, second}, pkitest.Now)
		if err != nil {
			if !errors.Is(err, pki.ErrUntrusted) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if id.ID != app || !slices.Equal(first, leaf.DER) {
			t.Fatalf("accepted another certificate as %s", id.ID)
		}
	})
}

// FuzzParseCRL looks for crashes; lists come from files that an operator's cron
// job fetched.
func FuzzParseCRL(f *testing.F) {
	root := pkitest.NewRoot(f, pkitest.Spec{Name: "root"})
	der := root.CRL(pkitest.Now.Add(crlDay))
	f.Add(der)
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := pki.ParseCRL(data)
		if err != nil {
			return
		}
		if again, err := pki.ParseCRL(got); err != nil || !slices.Equal(again, got) {
			t.Fatalf("its own DER is refused: %v", err)
		}
	})
}

func TestParseBundle(t *testing.T) {
	root := pkitest.NewRoot(t, pkitest.Spec{Name: "root"})
	other := pkitest.NewRoot(t, pkitest.Spec{Name: "other"})
	key, err := os.ReadFile(root.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	one := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Cert.Raw}))
	two := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Cert.Raw}))
	certs, err := pki.ParseBundle([]byte("subject=root\n" + one + "\nnext\n" + two))
	if err != nil || len(certs) != 2 || !certs[1].Equal(other.Cert) {
		t.Errorf("got %d certificates, %v", len(certs), err)
	}
	for name, bad := range map[string]string{
		"empty": "", "text": "no certificate here", "with a private key": one + string(key), "cut": one[:len(one)-30],
		"damaged in the middle": "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n" + two,
		"malformed":             string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})),
		"of another type":       strings.ReplaceAll(one, "CERTIFICATE", "TRUSTED CERTIFICATE"),
		"huge":                  one + strings.Repeat(" ", pki.MaxBundle),
	} {
		if _, err := pki.ParseBundle([]byte(bad)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	list := root.CRL(pkitest.Now.Add(crlDay))
	text := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list})
	if got, err := pki.ParseCRL(text); err != nil || !slices.Equal(got, list) {
		t.Errorf("PEM list: %v", err)
	}
	if _, err := pki.ParseCRL(append(text, text...)); err == nil {
		t.Error("accepted two lists in one file")
	}
	if _, err := pki.ParseCRL([]byte(one)); err == nil {
		t.Error("accepted a certificate as a list")
	}
}
