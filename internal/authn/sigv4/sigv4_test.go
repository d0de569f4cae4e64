// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"claviger/internal/authn"
	"claviger/internal/secret"
)

const (
	id      = "BETWEENTWENTYANDTHIRTY"
	service = "kms-xks-proxy"
)

// text is a secret access key.
func text() *secret.Bytes { return secret.Take([]byte("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")) }

func now() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

func verifier(region string) *Verifier {
	read := func(context.Context) (*secret.Bytes, error) { return text(), nil }
	other := func(context.Context) (*secret.Bytes, error) { return secret.Random(48), nil }
	return New(Options{Service: service, Region: region, Credentials: []Credential{{"OTHERACCESSKEYIDOFKMS2", other}, {id, read}}})
}

func signed(t *testing.T, body []byte) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/door/kms/xks/v1/keys/k-1/encrypt", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	Signer{id, text(), "eu-west-1", service}.Sign(r, body, now())
	return r
}

// TestSigningKey is the example that AWS publishes with the derivation of signing
// keys ("Create a signed AWS API request": 20150830, us-east-1, iam).
func TestSigningKey(t *testing.T) {
	got := signingKey(text(), scope{date: "20150830", region: "us-east-1"}, "iam")
	const want = "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
	if hex.EncodeToString(got.Expose()) != want {
		t.Errorf("%x, want %s", got.Expose(), want)
	}
}

func TestVerify(t *testing.T) {
	body := []byte("{}")
	for _, region := range []string{"", "eu-west-1"} {
		v := verifier(region)
		for range 2 { // the second time with the key that was kept
			proof, err := v.Verify(t.Context(), signed(t, body), body, now().Add(4*time.Minute))
			if err != nil || proof.Credential() != id {
				t.Fatalf("%q, %v", proof.Credential(), err)
			}
			caller, err := proof.Subject(authn.SubjectClaims{Endpoint: "store", EndpointKind: "xks", Name: "arn:aws:iam::1:root"})
			if err != nil || !caller.Proved() || caller.ID != "store:arn:aws:iam::1:root" {
				t.Errorf("%+v, %v", caller, err)
			}
		}
	}
	if _, err := (Proof{}).Subject(authn.SubjectClaims{Endpoint: "store", EndpointKind: "xks", Name: "x"}); !errors.Is(err, authn.ErrRefused) {
		t.Errorf("without a proof: %v", err)
	}
}

// TestRefused changes one thing of a request that verifies.
func TestRefused(t *testing.T) {
	header := func(name, old, to string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, strings.Replace(r.Header.Get(name), old, to, 1)) }
	}
	for name, change := range map[string]func(*http.Request){
		"method":           func(r *http.Request) { r.Method = "PUT" },
		"path":             func(r *http.Request) { r.RequestURI = "/door/kms/xks/v1/keys/k-2/encrypt" },
		"query":            func(r *http.Request) { r.RequestURI += "?a" },
		"escaped path":     func(r *http.Request) { r.RequestURI = "/door/kms/xks/v1/keys/k%2D1/encrypt" },
		"absolute form":    func(r *http.Request) { r.RequestURI = "https://example.com" + r.RequestURI },
		"host":             func(r *http.Request) { r.Host = "other.example.com" },
		"content type":     header("Content-Type", "json", "cbor"),
		"date":             header("X-Amz-Date", "120000Z", "120001Z"),
		"no date":          func(r *http.Request) { r.Header.Del("X-Amz-Date") },
		"two dates":        func(r *http.Request) { r.Header.Add("X-Amz-Date", r.Header.Get("X-Amz-Date")) },
		"date's day":       header("X-Amz-Date", "20261121", "20261120"),
		"no authorization": func(r *http.Request) { r.Header.Del("Authorization") },
		"two":              func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) },
		"algorithm":        header("Authorization", "HMAC-SHA256", "HMAC-SHA512"),
		"access key":       header("Authorization", id, "UNKNOWNACCESSKEYID2222"),
		"another's":        header("Authorization", id, "OTHERACCESSKEYIDOFKMS2"),
		"region":           header("Authorization", "eu-west-1", "us-east-1"),
		"region's form":    header("Authorization", "eu-west-1", "eu west"),
		"service":          header("Authorization", service, "s3"),
		"terminator":       header("Authorization", "aws4_request", "aws5_request"),
		"field twice":      header("Authorization", "SignedHeaders=", "Signature=00, SignedHeaders="),
		"fourth field":     header("Authorization", "SignedHeaders=", "X=1, SignedHeaders="),
		"host not signed":  header("Authorization", "host;", ""),
		"date not signed":  header("Authorization", ";x-amz-date", ""),
		"order":            header("Authorization", "content-type;host", "host;content-type"),
		"header twice":     header("Authorization", "content-type;host", "content-type;content-type;host"),
		"header not there": header("Authorization", "content-type;host", "content-type;cookie;host"),
		"upper case":       header("Authorization", "content-type", "Content-type"),
		"signature cut": func(r *http.Request) {
			r.Header.Set("Authorization", strings.TrimRight(r.Header.Get("Authorization"), "0123456789abcdef")+"00")
		},
		"hash of the body": func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", strings.Repeat("0", 64)) },
		"unsigned payload": func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") },
		"long": func(r *http.Request) {
			r.Header.Set("Authorization", r.Header.Get("Authorization")+strings.Repeat(" ", maxHeader))
		},
	} {
		r := signed(t, []byte("{}"))
		change(r)
		if proof, err := verifier("eu-west-1").Verify(t.Context(), r, []byte("{}"), now()); !errors.Is(err, authn.ErrRefused) || proof.Credential() != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, sign := range map[string]func(*http.Request){
		"signed without host": func(r *http.Request) {
			Signer{id, text(), "eu-west-1", service}.sign(r, nil, now(), "content-type", "x-amz-date")
		},
		"signed without date": func(r *http.Request) {
			Signer{id, text(), "eu-west-1", service}.sign(r, nil, now(), "content-type", "host")
		},
		"for another service": func(r *http.Request) { Signer{id, text(), "eu-west-1", "s3"}.Sign(r, nil, now()) },
		"for another region":  func(r *http.Request) { Signer{id, text(), "us-east-1", service}.Sign(r, nil, now()) },
	} {
		r := signed(t, nil)
		sign(r)
		if _, err := verifier("eu-west-1").Verify(t.Context(), r, nil, now()); !errors.Is(err, authn.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	v := verifier("")
	for name, at := range map[string]time.Time{"late": now().Add(Skew + time.Second), "early": now().Add(-Skew - time.Second)} {
		if _, err := v.Verify(t.Context(), signed(t, nil), nil, at); !errors.Is(err, authn.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := v.Verify(t.Context(), signed(t, []byte("{}")), []byte("[]"), now()); !errors.Is(err, authn.ErrRefused) {
		t.Errorf("body: %v", err)
	}
	if len(v.keys) != 0 {
		t.Errorf("%d keys kept of what did not verify", len(v.keys))
	}
}

// TestKept bounds what is remembered, and leaves nothing of a day that is over.
func TestKept(t *testing.T) {
	v := verifier("")
	for day := range 3 {
		at := now().AddDate(0, 0, day)
		for _, region := range []string{"eu-west-1", "us-east-1"} {
			r := httptest.NewRequestWithContext(t.Context(), "POST", "/", nil)
			r.Header.Set("Content-Type", "application/json")
			Signer{id, text(), region, service}.Sign(r, nil, at)
			if _, err := v.Verify(t.Context(), r, nil, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(v.keys) != 2 {
		t.Errorf("%d keys kept", len(v.keys))
	}
	broken := errors.New("store")
	v = New(Options{Service: service, Credentials: []Credential{{id, func(context.Context) (*secret.Bytes, error) { return nil, broken }}}})
	if _, err := v.Verify(t.Context(), signed(t, nil), nil, now()); !errors.Is(err, broken) || errors.Is(err, authn.ErrRefused) {
		t.Errorf("a credential that can't be read: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	r := httptest.NewRequest("POST", "/door/kms/xks/v1/health", nil)
	r.Header.Set("Content-Type", "application/json")
	Signer{id, text(), "eu-west-1", service}.Sign(r, nil, now())
	f.Add(r.Header.Get("Authorization"), r.Header.Get("X-Amz-Date"), r.RequestURI)
	good := r.Header.Get("Authorization")
	v := verifier("")
	f.Fuzz(func(t *testing.T, authorization, date, uri string) {
		r := httptest.NewRequest("POST", "/", nil)
		r.RequestURI = uri
		r.Header.Set("Content-Type", "application/json")
		r.Header["Authorization"], r.Header["X-Amz-Date"] = []string{authorization}, []string{date}
		if _, err := v.Verify(t.Context(), r, nil, now()); err == nil && (!strings.EqualFold(strings.ReplaceAll(authorization, " ", ""), strings.ReplaceAll(good, " ", "")) || uri != "/door/kms/xks/v1/health") {
			t.Errorf("accepted %q %q %q", authorization, date, uri)
		}
	})
}
