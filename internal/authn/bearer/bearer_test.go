// SPDX-License-Identifier: Apache-2.0

package bearer

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"claviger/internal/authn"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

func now() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 500_000_000, time.UTC) }

func seed() *secret.Bytes { return secret.Take(bytes.Repeat([]byte{7}, 32)) }

func place() Endpoint { return Endpoint{Domain: wire.DomainID{1}, Name: "vault", Kind: "vault"} }

func someToken() Token {
	return Token{
		Name: "jwt:alice", Attributes: map[string]string{"issuer": "https://id.example", "subject": "alice"}, Login: "jwt",
		Policies: []string{"default", "app"}, Expires: now().Add(time.Hour), MaxExpires: now().Add(24 * time.Hour), Ancestors: []ID{{1}, {2}},
	}
}

func TestToken(t *testing.T) {
	i := New(seed(), place())
	text, made, err := i.Make(someToken(), now())
	if err != nil {
		t.Fatal(err)
	}
	if !made.Issued.Equal(now().Truncate(time.Second)) || made.ID == (ID{}) || !made.Renewable() {
		t.Errorf("%+v", made)
	}
	other, again, _ := New(seed(), place()).Make(someToken(), now())
	if other == text || again.ID == made.ID {
		t.Error("two tokens are one")
	}
	proof, err := New(seed(), place()).Verify(text, now().Add(59*time.Minute)) // another server of the domain
	if err != nil || !cmp.Equal(proof.Token(), made) {
		t.Fatalf("%v: %s", err, cmp.Diff(proof.Token(), made))
	}
	c, err := proof.Caller()
	if err != nil || !c.Proved() || c.ID != "vault:jwt:alice" || c.Endpoint != "vault" || c.EndpointKind != "vault" || !c.NotAfter.Equal(made.Expires) ||
		c.Attributes["issuer"] != "https://id.example" || c.Attributes["kind"] != "vault" || c.Key.IsZero() {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := (Proof{}).Caller(); !errors.Is(err, authn.ErrRefused) {
		t.Errorf("a proof of nothing: %v", err)
	}
}

// TestTokenRefused: not another endpoint's, kind's, domain's or key's, and none
// that has ended or is of the future.
func TestTokenRefused(t *testing.T) {
	text, _, err := New(seed(), place()).Make(someToken(), now())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		issuer *Issuer
		text   string
		at     time.Time
	}{
		"another key":      {New(secret.Take(bytes.Repeat([]byte{8}, 32)), place()), text, now()},
		"another domain":   {New(seed(), Endpoint{wire.DomainID{2}, "vault", "vault"}), text, now()},
		"another endpoint": {New(seed(), Endpoint{wire.DomainID{1}, "vault2", "vault"}), text, now()},
		"another kind":     {New(seed(), Endpoint{wire.DomainID{1}, "vault", "kes"}), text, now()},
		"ended":            {New(seed(), place()), text, now().Add(time.Hour)},
		"of the future":    {New(seed(), place()), text, now().Add(-2 * time.Minute)},
		"no prefix":        {New(seed(), place()), strings.TrimPrefix(text, Prefix), now()},
		"another prefix":   {New(seed(), place()), "hvs." + strings.TrimPrefix(text, Prefix), now()},
		"padded":           {New(seed(), place()), text + "=", now()},
		"a line end":       {New(seed(), place()), text + "\n", now()},
		"longer":           {New(seed(), place()), text + "AAAA", now()},
		"shorter":          {New(seed(), place()), text[:len(text)-4], now()},
		"nothing":          {New(seed(), place()), "", now()},
		"only the prefix":  {New(seed(), place()), Prefix, now()},
		"huge":             {New(seed(), place()), Prefix + strings.Repeat("A", MaxToken), now()},
	} {
		if p, err := c.issuer.Verify(c.text, c.at); !errors.Is(err, authn.ErrRefused) || p.Token() != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Every bit counts.
	data, _ := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(text, Prefix))
	for i := range data {
		changed := bytes.Clone(data)
		changed[i] ^= 1 << (i % 8)
		if _, err := New(seed(), place()).Verify(Prefix+base64.RawURLEncoding.EncodeToString(changed), now()); !errors.Is(err, authn.ErrRefused) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
}

// TestRenewed: a renewal that the door kept lets a token live longer, never beyond
// what was said when it was made.
func TestRenewed(t *testing.T) {
	i := New(seed(), place())
	text, made, err := i.Make(someToken(), now())
	if err != nil {
		t.Fatal(err)
	}
	fixed := someToken()
	fixed.MaxExpires = time.Time{}
	other, _, err := i.Make(fixed, now())
	if err != nil {
		t.Fatal(err)
	}
	boom := errors.New("the book is away")
	for name, c := range map[string]struct {
		text  string
		at    time.Duration
		until time.Duration
		err   error
		ends  time.Duration
	}{
		"not renewed":            {text, time.Hour, 0, authn.ErrRefused, 0},
		"renewed":                {text, time.Hour, 2 * time.Hour, nil, 2 * time.Hour},
		"that ended too":         {text, 2 * time.Hour, 2 * time.Hour, authn.ErrRefused, 0},
		"beyond its maximum":     {text, 23 * time.Hour, 99 * time.Hour, nil, 24 * time.Hour},
		"after its maximum":      {text, 24 * time.Hour, 99 * time.Hour, authn.ErrRefused, 0},
		"earlier than it ended":  {text, 0, time.Minute, nil, time.Hour},
		"not renewable":          {other, time.Hour, 2 * time.Hour, authn.ErrRefused, 0},
		"none of ours":           {text + "x", 0, time.Hour, authn.ErrRefused, 0},
		"the book says an error": {text, 0, -1, boom, 0},
	} {
		p, err := i.VerifyRenewed(c.text, now().Truncate(time.Second).Add(c.at), func(tok *Token) (time.Time, error) {
			if c.until < 0 {
				return time.Time{}, boom
			}
			if tok.Name != made.Name {
				t.Errorf("%s: asked of %+v", name, tok)
			}
			return now().Truncate(time.Second).Add(c.until), nil
		})
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.err != nil {
			continue
		}
		want := now().Truncate(time.Second).Add(c.ends)
		if caller, err := p.Caller(); err != nil || !caller.NotAfter.Equal(want) || !p.Token().Expires.Equal(want) {
			t.Errorf("%s: ends %v, %v", name, p.Token().Expires, err)
		}
	}
}

// TestMakeRefuses: what could never be verified or would name nobody isn't made.
func TestMakeRefuses(t *testing.T) {
	for name, change := range map[string]func(*Token){
		"no name":           func(t *Token) { t.Name = "" },
		"a name's control":  func(t *Token) { t.Name = "a\nb" },
		"no end":            func(t *Token) { t.Expires = time.Time{} },
		"ended":             func(t *Token) { t.Expires = now() },
		"an early maximum":  func(t *Token) { t.MaxExpires = now().Add(time.Minute) },
		"unknown attribute": func(t *Token) { t.Attributes = map[string]string{"group": "x"} },
		"empty attribute":   func(t *Token) { t.Attributes = map[string]string{"email": ""} },
		"many policies":     func(t *Token) { t.Policies = make([]string, maxList+1) },
		"many ancestors":    func(t *Token) { t.Ancestors = make([]ID, maxList+1) },
		"a long login":      func(t *Token) { t.Login = strings.Repeat("l", maxText+1) },
		"a huge policy":     func(t *Token) { t.Policies = []string{strings.Repeat("p", MaxToken)} },
	} {
		tok := someToken()
		change(&tok)
		if text, made, err := New(seed(), place()).Make(tok, now()); !errors.Is(err, authn.ErrRefused) || text != "" || made != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestShared(t *testing.T) {
	kept := []byte("0123456789abcdef0123456789abcdef")
	boom := errors.New("the store is away")
	live := []Shared{
		{ID: "broken", Subject: "x", Secret: func(context.Context) (*secret.Bytes, error) { return nil, boom }},
		{ID: "nobody", Secret: func(context.Context) (*secret.Bytes, error) { return secret.Take(bytes.Clone(kept)), nil }},
		{ID: "ci/1", Subject: "token:ci", Secret: func(context.Context) (*secret.Bytes, error) { return secret.Take(bytes.Clone(kept)), nil }},
	}
	text := Text("ci/1", secret.Take(bytes.Clone(kept)))
	id, shown, err := Parse(text)
	if err != nil || id != "ci/1" || !bytes.Equal(shown.Expose(), kept) {
		t.Fatalf("%q, %v", id, err)
	}
	c, err := Check(t.Context(), place(), live, id, shown)
	if err != nil || !c.Proved() || c.ID != "vault:token:ci" || c.EndpointKind != "vault" {
		t.Errorf("%+v, %v", c, err)
	}
	for name, try := range map[string]struct {
		id    string
		shown []byte
	}{
		"another secret": {"ci/1", []byte("0123456789abcdef0123456789abcdeF")},
		"a part of it":   {"ci/1", kept[:31]},
		"nothing":        {"ci/1", nil},
		"another name":   {"ci/2", bytes.Clone(kept)},
		"no name":        {"", bytes.Clone(kept)},
		"of nobody":      {"nobody", bytes.Clone(kept)},
	} {
		if c, err := Check(t.Context(), place(), live, try.id, secret.Take(bytes.Clone(try.shown))); !errors.Is(err, authn.ErrRefused) || c != nil {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	if _, err := Check(t.Context(), place(), live, "broken", shown); !errors.Is(err, boom) || errors.Is(err, authn.ErrRefused) {
		t.Errorf("a store that is away: %v", err)
	}
	for _, bad := range []string{"", SharedPrefix, SharedPrefix + ".", SharedPrefix + "Y2k.", SharedPrefix + ".AAAA", "cvt." + text[4:], text + "=", text + ".AAAA", text[:len(text)-1] + "!"} {
		if id, s, err := Parse(bad); !errors.Is(err, authn.ErrRefused) || id != "" || s != nil {
			t.Errorf("%q: %q, %v", bad, id, err)
		}
	}
}

// FuzzVerify: what is taken has our MAC, one spelling, and names somebody.
func FuzzVerify(f *testing.F) {
	text, _, err := New(seed(), place()).Make(someToken(), now())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(Prefix + "gA")
	f.Add(Text("ci", secret.Take([]byte("x"))))
	issuer := New(seed(), place())
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := issuer.Verify(s, now()); err == nil {
			data, _ := base64.RawURLEncoding.DecodeString(s[len(Prefix):])
			sum := issuer.mac.Sum(data[:len(data)-macSize])
			if c, err := p.Caller(); err != nil || !c.Proved() || Prefix+base64.RawURLEncoding.EncodeToString(append(data[:len(data)-macSize], sum[:macSize]...)) != s {
				t.Fatalf("%q is taken: %+v", s, p.Token())
			}
		}
		if id, kept, err := Parse(s); err == nil && Text(id, kept) != s {
			t.Fatalf("%q is read in two ways", s)
		}
	})
}

// FuzzPayload: what is under a MAC of ours is still read strictly.
func FuzzPayload(f *testing.F) {
	p := payload{Shape: shape, Name: "a", Issued: 1, Expires: 2, Attributes: []pair{{Name: "email", Value: "a@b"}}}
	f.Add(wire.Marshal(&p))
	f.Fuzz(func(t *testing.T, data []byte) {
		var p payload
		if wire.Unmarshal(data, &p, MaxToken) != nil {
			return
		}
		if tok, err := p.token(); (err == nil) == (tok == nil) {
			t.Fatalf("%+v, %v", tok, err)
		}
	})
}
