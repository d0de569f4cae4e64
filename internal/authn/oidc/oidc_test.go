// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"errors"
	"testing"
	"time"

	"claviger/internal/authn"
	"claviger/internal/clock"
)

// TestVerify: tokens of another implementation, by every algorithm.
func TestVerify(t *testing.T) {
	p := newProvider(t)
	v := p.verifier(clock.NewManual(began()))
	for algorithm, kid := range map[string]string{rs256: "rsa", ps256: "rsa", es256: "ec", eddsa: "ed"} {
		for _, aud := range []any{"claviger", []string{"other", "claviger"}} {
			proof, err := v.Verify(t.Context(), "login", p.sign(t, algorithm, kid, without(p.claims(), map[string]any{"aud": aud, "groups": []string{"a", "b"}})))
			if err != nil {
				t.Fatalf("%s: %v", algorithm, err)
			}
			c := proof.Claims()
			if c.Issuer != p.URL || c.Subject != "alice" || c.Email != "alice@acme.example" || !c.EmailVerified || !c.Expires.Equal(began().Add(time.Hour)) {
				t.Errorf("%s: %+v", algorithm, c)
			}
			if groups, err := c.Strings("groups"); err != nil || len(groups) != 2 {
				t.Errorf("groups %v, %v", groups, err)
			}
			if _, err := c.Text("groups"); !errors.Is(err, authn.ErrRefused) {
				t.Errorf("groups as a text: %v", err)
			}
		}
	}
	if n := p.fetched.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

func TestCaller(t *testing.T) {
	p := newProvider(t)
	v := p.verifier(clock.NewManual(began()))
	proof, err := v.Verify(t.Context(), "login", p.sign(t, es256, "ec", p.claims()))
	if err != nil {
		t.Fatal(err)
	}
	c, err := proof.Caller("dke", "dke", "alice@acme.example")
	if err != nil || !c.Proved() || c.ID != "dke:alice@acme.example" || c.Attributes["issuer"] != p.URL || c.Attributes["subject"] != "alice" ||
		c.Attributes["email"] != "alice@acme.example" || c.NotAfter.Before(began().Add(time.Hour)) || c.NotAfter.After(began().Add(62*time.Minute)) {
		t.Errorf("%+v, %v", c, err)
	}
	// An address that the issuer didn't verify is no attribute.
	for _, verified := range []any{nil, false, "false", 1} {
		proof, err := v.Verify(t.Context(), "login", p.sign(t, es256, "ec", without(p.claims(), map[string]any{"email_verified": verified})))
		if err != nil {
			t.Fatal(err)
		}
		if c, err := proof.Caller("dke", "dke", "alice"); err != nil || c.Attributes["email"] != nil || proof.Claims().Email == "" {
			t.Errorf("%v: %+v, %v", verified, c, err)
		}
	}
	if _, err := proof.Caller("dke", "dke", "ali\nce"); !errors.Is(err, authn.ErrRefused) {
		t.Errorf("a name of two lines: %v", err)
	}
	if _, err := (Proof{}).Caller("dke", "dke", "alice"); !errors.Is(err, authn.ErrRefused) {
		t.Errorf("no proof: %v", err)
	}
}
