// SPDX-License-Identifier: Apache-2.0

package endpoints

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"claviger/internal/authority/keyring"
	"claviger/internal/wire"
)

// full is an endpoint with something in every field.
func full() Endpoint {
	return Endpoint{
		Name: "aws", Kind: "xks", Host: "xks.example.com", Rate: 1800, Keys: []string{"aws/", "one/key"},
		Issuers:     []Issuer{{URL: "https://sts.windows.net/x/", Audience: "api://us", Use: "jwt"}, {URL: "drive@system.gserviceaccount.com", JWKS: "https://g.example/jwk"}},
		Credentials: []Credential{{ID: "AKIA", Use: "sigv4", Subject: "arn:aws:iam::1:user/ann", Material: wire.Hash{1}}, {ID: "B", Material: wire.Hash{2}}},
		ClientCAs:   [][]byte{{0x30, 0}}, ClientNames: []string{"cks.kms.eu-central-1.amazonaws.com"},
		Options: []keyring.Tag{{Name: "folder", Value: "aws/"}, {Name: "path", Value: "/x"}},

		Certificates: []Certificate{{Use: "recipient", DER: []byte{0x30, 0}}},
	}
}

func many[T any](n int, make func(i int) T) []T {
	out := []T{}
	for i := range n {
		out = append(out, make(i))
	}
	return out
}

func TestCheck(t *testing.T) {
	if e := full(); e.Check() != nil {
		t.Fatal(e.Check())
	}
	if e := (Endpoint{Name: "0", Kind: "kes"}); e.Check() != nil {
		t.Error(e.Check())
	}
	tag := func(i int) keyring.Tag { return keyring.Tag{Name: fmt.Sprintf("n%02d", i), Value: "v"} }
	text := func(i int) string { return fmt.Sprintf("n%d", i) }
	for name, edit := range map[string]func(*Endpoint){
		"no name": func(e *Endpoint) { e.Name = "" }, "an upper name": func(e *Endpoint) { e.Name = "Aws" },
		"a dot in the name": func(e *Endpoint) { e.Name = "a.b" }, "a long name": func(e *Endpoint) { e.Name = strings.Repeat("a", 64) },
		"a slash": func(e *Endpoint) { e.Name = "a/b" }, "a colon": func(e *Endpoint) { e.Name = "a:b" },
		"no kind": func(e *Endpoint) { e.Kind = "" }, "a kind with a space": func(e *Endpoint) { e.Kind = "x s" },
		"an upper host": func(e *Endpoint) { e.Host = "Xks.example.com" }, "a port": func(e *Endpoint) { e.Host = "a.example:1" },
		"an address": func(e *Endpoint) { e.Host = "127.0.0.1" }, "a dot at the end": func(e *Endpoint) { e.Host = "a.example." },
		"a wildcard": func(e *Endpoint) { e.Host = "*.example" }, "an empty label": func(e *Endpoint) { e.Host = "a..b" },
		"a long label": func(e *Endpoint) { e.Host = strings.Repeat("a", 64) + ".b" }, "a hyphen first": func(e *Endpoint) { e.Host = "-a.b" },
		"a long host": func(e *Endpoint) { e.Host = strings.Repeat("a.", 127) + "b" },
		"a high rate": func(e *Endpoint) { e.Rate = MaxRate + 1 }, "roots without a host": func(e *Endpoint) { e.Host = "" },
		"names without roots": func(e *Endpoint) { e.ClientCAs = nil },
		"a plain issuer":      func(e *Endpoint) { e.Issuers[0].URL = "http://idp.example" }, "an issuer of no URL": func(e *Endpoint) { e.Issuers[0].URL = "idp" },
		"plain keys": func(e *Endpoint) { e.Issuers[1].JWKS = "http://g.example/jwk" }, "an empty issuer": func(e *Endpoint) { e.Issuers[1].URL = "" },
		"an issuer with a blank": func(e *Endpoint) { e.Issuers[1].URL = "a b" }, "an audience with a blank": func(e *Endpoint) { e.Issuers[0].Audience = "a b" },
		"a use with a blank": func(e *Endpoint) { e.Issuers[0].Use = "a b" }, "an issuer twice": func(e *Endpoint) { e.Issuers[1] = e.Issuers[0] },
		"many issuers": func(e *Endpoint) {
			e.Issuers = many(MaxIssuers+1, func(i int) Issuer { return Issuer{URL: "https://a.example/" + text(i)} })
		},
		"no id": func(e *Endpoint) { e.Credentials[0].ID = "" }, "an id with a line": func(e *Endpoint) { e.Credentials[0].ID = "a\nb" },
		"a long id": func(e *Endpoint) { e.Credentials[0].ID = strings.Repeat("a", 129) }, "a use": func(e *Endpoint) { e.Credentials[0].Use = "A" },
		"no material": func(e *Endpoint) { e.Credentials[0].Material = wire.Hash{} }, "a hidden subject": func(e *Endpoint) { e.Credentials[0].Subject = "a\u200bb" },
		"an id twice": func(e *Endpoint) { e.Credentials[1].ID = "AKIA" }, "material twice": func(e *Endpoint) { e.Credentials[1].Material = wire.Hash{1} },
		"many credentials": func(e *Endpoint) {
			e.Credentials = many(MaxCredentials+1, func(i int) Credential { return Credential{ID: text(i), Material: wire.Hash{1, byte(i)}} })
		},
		"no certificate": func(e *Endpoint) { e.Certificates[0].DER = nil }, "a certificate for nothing": func(e *Endpoint) { e.Certificates[0].Use = "" },
		"a certificate twice": func(e *Endpoint) { e.Certificates = append(e.Certificates, e.Certificates[0]) },
		"many certificates": func(e *Endpoint) {
			e.Certificates = many(MaxPinned+1, func(i int) Certificate { return Certificate{Use: "u", DER: []byte{0x30, 1, byte(i)}} })
		},
		"no root": func(e *Endpoint) { e.ClientCAs[0] = nil }, "a root and more": func(e *Endpoint) { e.ClientCAs[0] = []byte{0x30, 0, 0} },
		"half a root": func(e *Endpoint) { e.ClientCAs[0] = []byte{0x30, 1} }, "a root twice": func(e *Endpoint) { e.ClientCAs = append(e.ClientCAs, []byte{0x30, 0}) },
		"a large root": func(e *Endpoint) { e.ClientCAs[0] = append([]byte{0x30, 0x82, 0x20, 0x01}, make([]byte, 0x2001)...) },
		"many roots": func(e *Endpoint) {
			e.ClientCAs = many(MaxCAs+1, func(i int) []byte { return []byte{0x30, 1, byte(i)} })
		},
		"an empty name": func(e *Endpoint) { e.ClientNames[0] = "" }, "a name twice": func(e *Endpoint) { e.ClientNames = []string{"a", "a"} },
		"many names": func(e *Endpoint) { e.ClientNames = many(MaxNames+1, text) }, "a key of no name": func(e *Endpoint) { e.Keys[0] = "/" },
		"all keys by an empty name": func(e *Endpoint) { e.Keys[0] = "" }, "a pattern": func(e *Endpoint) { e.Keys[0] = "a*" },
		"two slashes": func(e *Endpoint) { e.Keys[0] = "a//" }, "a key twice": func(e *Endpoint) { e.Keys[1] = e.Keys[0] }, "many keys": func(e *Endpoint) { e.Keys = many(MaxKeys+1, text) },
		"options out of order": func(e *Endpoint) { e.Options[0].Name = "z" }, "an option twice": func(e *Endpoint) { e.Options[0].Name = "path" },
		"an option of no name": func(e *Endpoint) { e.Options[0].Name = "" }, "an option of no value": func(e *Endpoint) { e.Options[0].Value = "" },
		"a long value": func(e *Endpoint) { e.Options[0].Value = strings.Repeat("v", wire.MaxSubject+1) }, "many options": func(e *Endpoint) { e.Options = many(MaxOptions+1, tag) },
		"too much of all": func(e *Endpoint) {
			e.ClientCAs = many(7, func(i int) []byte { return append([]byte{0x30, 0x82, 0x1f, 0, byte(i)}, make([]byte, 0x1eff)...) })
		},
	} {
		e := full()
		if edit(&e); e.Check() == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestURLs(t *testing.T) {
	for _, s := range []string{
		"https://a", "https://a.example", "https://a.example:8443/x?y=z", "https://login.microsoftonline.com/common/v2.0", "https://a.example?x",
		"http://127.0.0.1:1/x", "http://localhost", "http://[::1]:65535/", "https://127.0.0.1/", "https://localhost:1",
	} {
		if !ValidURL(s) {
			t.Errorf("%s is refused", s)
		}
	}
	for _, s := range []string{
		"", "a", "https://", "https:///x", "http://a.example", "ftp://a", "HTTPS://a", "https://A", "https://u@a", "https://u:p@a.example/", "https://a#f",
		"https://a/ b", "https://a\\b", "https://a:0", "https://a:65536", "https://a:", "https://a:080", "https://10.0.0.1/", "http://127.0.0.2/",
		"http://localhost.example", "http://127.0.0.1.example/", "http://127.0.0.1@evil/", "https://[::2]/", "https://a/\x7f", "https://a/é", "//a",
		"https://" + strings.Repeat("a", MaxText),
	} {
		if ValidURL(s) {
			t.Errorf("%q is taken", s)
		}
	}
}

func TestVet(t *testing.T) {
	e := full()
	if e.Vet() == nil {
		t.Error("an empty sequence is an authority")
	}
	pub, key, _ := ed25519.GenerateKey(rand.Reader)
	for _, ca := range []bool{true, false} {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Unix(1<<33, 0), IsCA: ca, BasicConstraintsValid: true}
		der, err := x509.CreateCertificate(rand.Reader, template, template, pub, key)
		if err != nil {
			t.Fatal(err)
		}
		e.ClientCAs = [][]byte{der}
		e.Certificates[0].DER = []byte{0x30, 0}
		if e.Vet() == nil {
			t.Error("an empty sequence is a certificate of the other side")
		}
		e.Certificates[0].DER = der
		if err := e.Check(); err != nil {
			t.Error(err)
		}
		if (e.Vet() == nil) != ca {
			t.Errorf("authority: %t, %v", ca, e.Vet())
		}
	}
}

// FuzzSequence: what is taken is one element, and every length has one form.
func FuzzSequence(f *testing.F) {
	for _, der := range [][]byte{{}, {0x30}, {0x30, 0}, {0x30, 0x81, 0x80}, {0x30, 0x82, 1, 0}, {0x30, 0x84, 0, 0, 0, 0}, {0x30, 0x80}, append([]byte{0x30, 0x81, 0x80}, make([]byte, 128)...)} {
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		if !oneSequence(der) {
			return
		}
		n := len(der)
		want := []byte{0x30, byte(n - 2)}
		switch {
		case n >= 0x80+3 && n < 0x100+3:
			want = []byte{0x30, 0x81, byte(n - 3)}
		case n >= 0x100+4 && n < 0x10000+4:
			want = []byte{0x30, 0x82, byte((n - 4) >> 8), byte(n - 4)}
		}
		if n < 0x10000 && string(der[:len(want)]) != string(want) {
			t.Errorf("%x", der[:min(n, 8)])
		}
	})
}
