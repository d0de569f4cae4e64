// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/keyserver"
)

func TestFailureOf(t *testing.T) {
	for err, want := range map[error]Failure{
		errors.New("x"):        Internal,
		ErrInternal:            Internal,
		ErrBody:                Malformed,
		keyserver.ErrMalformed: Malformed,
		keyserver.ErrUnproved:  Unauthenticated,
		authn.ErrRefused:       Unauthenticated,
		&keyserver.Denial{}:    Denied,
		keyserver.ErrDenied:    Denied,
		keyserver.ErrNotFound:  Denied,
		&keyserver.Denial{Cause: keyserver.CauseDisabled}:        KeyOff,
		&keyserver.Denial{Cause: keyserver.CauseState}:           KeyState,
		&keyserver.Denial{Cause: keyserver.CauseRevoked}:         Revoked,
		fmt.Errorf("%w: %w", authn.ErrRefused, authn.ErrRevoked): Revoked,
		ErrOff:                   EndpointOff,
		keyserver.ErrRefused:     Refused,
		ErrNotFound:              NoRoute,
		ErrMethod:                NoMethod,
		ErrMediaType:             MediaType,
		ErrTooLarge:              TooLarge,
		ErrTimeout:               TooSlow,
		context.DeadlineExceeded: TooSlow,
		ErrRate:                  TooMany,
		keyserver.ErrBusy:        Busy,
		authn.ErrBusy:            Busy,
		keyserver.ErrUnavailable: Unavailable,
		keyserver.ErrSealed:      Sealed,
		errors.Join(ErrTimeout, keyserver.ErrUnavailable): TooSlow,
	} {
		if got := FailureOf(fmt.Errorf("do: %w", err)); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
	seen := map[string]bool{}
	for f := range Failures {
		if name := f.String(); name == "unknown" || seen[name] {
			t.Errorf("failure %d is called %s", f, name)
		}
		seen[f.String()] = true
	}
	if Failures.String() != "unknown" || Failure(-1).String() != "unknown" {
		t.Error("what is no failure has a name")
	}
}

func TestNotes(t *testing.T) {
	r := &Request{}
	for range 20 {
		r.Note("name", "a\nb\x00c ü "+strings.Repeat("x", 1000))
	}
	if len(r.notes) != 8 {
		t.Errorf("%d notes", len(r.notes))
	}
	if got := r.notes[0].Value.String(); len(got) != 256 || !strings.HasPrefix(got, "a?b?c ?? x") {
		t.Errorf("%q", got)
	}
}

func TestDecodeJSON(t *testing.T) {
	var v struct {
		KeyID string `json:"keyId"`
	}
	r := &Request{Body: []byte(`{"keyId":"k","new":1}`)}
	if err := r.DecodeJSON(&v, true); err != nil || v.KeyID != "k" {
		t.Errorf("%+v %v", v, err)
	}
	if err := r.DecodeJSON(&v, false); !errors.Is(err, ErrBody) {
		t.Errorf("an unknown member: %v", err)
	}
	r.Body = []byte(`{"keyId":"the-secret","keyId":7}`)
	if err := r.DecodeJSON(&v, true); !errors.Is(err, ErrBody) || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

func TestNeedJSON(t *testing.T) {
	for given, want := range map[string]bool{
		"application/json": true, "application/json; charset=utf-8": true, "Application/JSON;charset=UTF-8": true,
		"application/json; charset=utf-16": false, "text/plain": false, "application/jsonp": false, "json": false, ";": false,
	} {
		r := &Request{Request: &http.Request{Header: http.Header{"Content-Type": {given}}}}
		if got := r.NeedJSON(true) == nil; got != want {
			t.Errorf("%q: %v", given, got)
		}
	}
	none := &Request{Request: &http.Request{Header: http.Header{}}}
	if none.NeedJSON(true) != nil || !errors.Is(none.NeedJSON(false), ErrMediaType) {
		t.Error("without a content type")
	}
	none.Header["Content-Type"] = []string{"application/json", "application/json"}
	if none.NeedJSON(true) == nil {
		t.Error("two content types")
	}
}

func TestBase64(t *testing.T) {
	for text, want := range map[string]string{"": "", "YQ==": "a", "YWI=": "ab", "YWJj": "abc"} {
		if got, err := Base64("x", text, 3); err != nil || string(got) != want {
			t.Errorf("%q: %q %v", text, got, err)
		}
	}
	for _, text := range []string{"YQ", "YR==", "YQ==\n", "Y\nQ==", "YQ= =", "-_-_", "YWJjZA==", "YQ==YQ==", "=", strings.Repeat("A", 1<<10)} {
		if got, err := Base64("x", text, 3); !errors.Is(err, ErrBody) {
			t.Errorf("%q: %q %v", text, got, err)
		}
	}
}

func FuzzBase64(f *testing.F) {
	f.Add("YWJj")
	f.Add("YR==\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Base64("x", text, 1<<10)
		if err == nil && base64.StdEncoding.EncodeToString(got) != text {
			t.Errorf("%q is not its one form", text)
		}
	})
}

func TestKinds(t *testing.T) {
	kinds := Kinds{
		{Name: "toy", Options: []string{"folder"}, Check: func(e *authority.Endpoint) error {
			if e.Rate == 13 {
				return errors.New("an unlucky rate")
			}
			return nil
		}},
		{Name: "hosted", NeedsHost: true},
		{Name: "named", NeedsClientCert: true},
	}
	good := authority.Endpoint{Name: "a", Kind: "toy", Options: []authority.Tag{{Name: "folder", Value: "x/"}}}
	for name, c := range map[string]struct {
		edit func(*authority.Endpoint)
		want string // "": it is taken
	}{
		"good":              {func(*authority.Endpoint) {}, ""},
		"unknown kind":      {func(e *authority.Endpoint) { e.Kind = "kmip" }, "no kind"},
		"reserved":          {func(e *authority.Endpoint) { e.Name = "v1" }, "another meaning"},
		"ping":              {func(e *authority.Endpoint) { e.Name = "ping" }, "another meaning"},
		"unknown option":    {func(e *authority.Endpoint) { e.Options[0].Name = "fodler" }, "no setting"},
		"the kind's own":    {func(e *authority.Endpoint) { e.Rate = 13 }, "unlucky"},
		"no host":           {func(e *authority.Endpoint) { e.Kind, e.Options = "hosted", nil }, "--host"},
		"host":              {func(e *authority.Endpoint) { e.Kind, e.Options, e.Host = "hosted", nil, "h" }, ""},
		"no host for names": {func(e *authority.Endpoint) { e.Kind, e.Options = "named", nil }, "--host"},
		"CAs without host":  {func(e *authority.Endpoint) { e.ClientCAs = [][]byte{{1}} }, "--host"},
	} {
		e := good
		e.Options = []authority.Tag{good.Options[0]}
		c.edit(&e)
		err := kinds.Check(&e)
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, ErrEndpoint) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	s := Site{Endpoint: good}
	if s.KeyName("k") != "x/k" || s.Option("other") != "" {
		t.Error("options")
	}
}

func TestBase(t *testing.T) {
	for _, c := range []struct{ public, name, host, want string }{
		{"https://127.0.0.1:8445", "a", "", "https://127.0.0.1:8445/a"},
		{"https://keys.example.com", "a", "", "https://keys.example.com/a"},
		{"https://keys.example.com", "a", "a.example.com", "https://a.example.com"},
		{"https://127.0.0.1:8445", "a", "a.example.com", "https://a.example.com:8445"},
	} {
		if got := base(c.public, c.name, c.host); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestHostname(t *testing.T) {
	for host, want := range map[string]string{"A.example.:8445": "a.example", "a.example": "a.example", "[::1]:1": "::1", "": "", "127.0.0.1:1": "127.0.0.1"} {
		if got := hostname(host); got != want {
			t.Errorf("%q: %q", host, got)
		}
	}
}
