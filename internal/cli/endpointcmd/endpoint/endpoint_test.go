// SPDX-License-Identifier: Apache-2.0

package endpoint_test

import (
	"bytes"
	"encoding/pem"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/authority/endpoints"
	"claviger/internal/cli/endpointcmd/endpoint"
	"claviger/internal/gateway"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

func ptr[T any](v T) *T { return &v }

func TestEdit(t *testing.T) {
	was := authority.Endpoint{
		Name: "a", Kind: "xks", Host: "a.example", Rate: 3, Keys: []string{"x/"}, ClientNames: []string{"n"},
		Issuers: []authority.Issuer{{URL: "https://i.example"}}, ClientCAs: [][]byte{{0x30, 0}},
		Options: []authority.Tag{{Name: "b", Value: "1"}, {Name: "d", Value: "2"}},
	}
	same, err := endpoint.Edit{}.Apply(was)
	if err != nil || !reflect.DeepEqual(same, was) {
		t.Errorf("what no flag names changes: %+v %v", same, err)
	}
	roots := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{0x30, 0}}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{0x30, 1, 0}})...)
	got, err := endpoint.Edit{
		Host: ptr(""), Rate: ptr(uint64(9)), SetKeys: true, Keys: []string{""}, SetCANames: true, CANames: []string{"m", "o"},
		SetIssuers: true, Issuers: []string{"https://j.example,audience=us,jwks=https://k.example/jwks?x=y,use=jwt", "https://l.example"},
		SetCAs: true, ClientCAs: [][]byte{roots}, Options: []string{"c=x=y", "b=", "d=3"},
	}.Apply(was)
	want := authority.Endpoint{
		Name: "a", Kind: "xks", Rate: 9, Keys: []string{}, ClientNames: []string{"m", "o"},
		Issuers:   []authority.Issuer{{URL: "https://j.example", Audience: "us", JWKS: "https://k.example/jwks?x=y", Use: "jwt"}, {URL: "https://l.example"}},
		ClientCAs: [][]byte{{0x30, 0}, {0x30, 1, 0}}, Options: []authority.Tag{{Name: "c", Value: "x=y"}, {Name: "d", Value: "3"}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n%+v\n%+v", err, got, want)
	}
	if was.Options[0].Name != "b" || len(was.Keys) != 1 {
		t.Error("the record that was is changed")
	}
	for _, bad := range []endpoint.Edit{
		{Options: []string{"x"}}, {Options: []string{"=x"}},
		{SetIssuers: true, Issuers: []string{"https://a,aud=x"}}, {SetIssuers: true, Issuers: []string{"https://a,use"}},
		{SetIssuers: true, Issuers: []string{"https://a,use=x,use=y"}}, {SetIssuers: true, Issuers: []string{"https://a,"}},
		{SetCAs: true, ClientCAs: [][]byte{[]byte("no PEM")}},
		{SetCAs: true, ClientCAs: [][]byte{pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}})}},
	} {
		if _, err := bad.Apply(was); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

func TestRotation(t *testing.T) {
	c := func(id, subject string) authority.Credential {
		return authority.Credential{ID: id, Use: "u", Subject: subject}
	}
	e := authority.Endpoint{Name: "a", Credentials: []authority.Credential{c("1", "ann"), c("2", "")}}
	all, err := endpoint.Rotation(&e, "", false)
	if err != nil || !slices.Equal(all, []endpoint.Who{{Use: "u", Subject: "ann"}, {Use: "u"}}) {
		t.Errorf("%v %v", all, err)
	}
	one, err := endpoint.Rotation(&e, "", true)
	if err != nil || !slices.Equal(one, []endpoint.Who{{Use: "u"}}) {
		t.Errorf("%v %v", one, err)
	}
	if _, err := endpoint.Rotation(&e, "bob", true); err == nil {
		t.Error("nobody's credential")
	}
	e.Credentials = append(e.Credentials, c("3", "ann"))
	if _, err := endpoint.Rotation(&e, "", false); err == nil {
		t.Error("a third live credential")
	}
	next, dropped := endpoint.Finish(e)
	if !slices.Equal(next.Credentials, []authority.Credential{c("2", ""), c("3", "ann")}) || !slices.Equal(dropped, []authority.Credential{c("1", "ann")}) {
		t.Errorf("%v %v", next.Credentials, dropped)
	}
	if _, dropped := endpoint.Finish(next); len(dropped) != 0 || len(e.Credentials) != 3 {
		t.Error("finished twice, or the record that was is changed")
	}
}

func TestOrigins(t *testing.T) {
	at, root := &authority.Endpoint{Name: "a"}, &authority.Endpoint{Name: "a", Host: "kms.example"}
	for _, c := range []struct{ origin, below, own, address string }{
		{"https://h:8445", "https://h:8445/a", "https://kms.example:8445", "h:8445"},
		{"https://h/", "https://h/a", "https://kms.example", "h:443"},
		{endpoint.Origin("[::1]:8443"), "https://[::1]:8445/a", "https://kms.example:8445", "[::1]:8445"},
		{endpoint.Origin("10.0.0.1:8443"), "https://10.0.0.1:8445/a", "https://kms.example:8445", "10.0.0.1:8445"},
	} {
		address, err := endpoint.Address(c.origin)
		if endpoint.Base(c.origin, at) != c.below || endpoint.Base(c.origin, root) != c.own || address != c.address || err != nil {
			t.Errorf("%s: %s, %s, %s, %v", c.origin, endpoint.Base(c.origin, at), endpoint.Base(c.origin, root), address, err)
		}
	}
	for _, bad := range []string{"", "h:1", "http://h", "https://h/x", "https://u@h", "https://h?x", "https://"} {
		if _, err := endpoint.Address(bad); err == nil {
			t.Errorf("%q is an origin", bad)
		}
	}
}

// kind makes a credential whose secret is of its own.
func kind(t *testing.T) *gateway.Kind {
	return &gateway.Kind{
		Name: "xks",
		Credential: func(use, subject string) (gateway.Secret, error) {
			if use == "bad" {
				return gateway.Secret{}, errors.New("no such use")
			}
			m := secret.Random(32)
			return gateway.Secret{Credential: authority.Credential{ID: "id-" + subject, Use: use, Subject: subject}, Material: m, Show: "shown-" + subject}, nil
		},
		Guide: func(s gateway.Site, made []gateway.Secret) string {
			out := s.Base + "\n"
			for _, m := range made {
				out += m.Show
			}
			return out + "\n"
		},
	}
}

func TestFile(t *testing.T) {
	made, err := endpoint.Make(kind(t), []endpoint.Who{{Subject: "ann"}, {Subject: "bob"}})
	if err != nil {
		t.Fatal(err)
	}
	defer endpoint.Wipe(made)
	if made[0].Credential.Material != endpoints.MaterialHash(made[0].Material.Expose()) {
		t.Error("the record names something else than was made")
	}
	e := endpoint.With(authority.Endpoint{Name: "a", Kind: "xks"}, made)
	if err := endpoint.Check(gateway.Kinds{kind(t)}, &e); err != nil {
		t.Error(err)
	}
	f := endpoint.File{Kind: "xks", Endpoint: "a", Credentials: endpoint.RowsOf(made, true), Guide: endpoint.Guide(kind(t), e, "https://h/a", made)}
	data, err := f.Encode()
	if err != nil || !strings.Contains(f.Guide, "https://h/a\nshown-annshown-bob") || strings.Contains(endpoint.Guide(kind(t), e, "", nil), "shown") {
		t.Errorf("%v %q", err, f.Guide)
	}
	got, err := endpoint.ReadFile(data, &e)
	if err != nil || got.Show != "shown-bob" || got.Credential != e.Credentials[1] || string(got.Material.Expose()) != "shown-bob" {
		t.Errorf("%+v %v", got, err)
	}
	e.Credentials = e.Credentials[:1]
	if got, err = endpoint.ReadFile(data, &e); err != nil || got.Show != "shown-ann" {
		t.Errorf("%+v %v", got, err)
	}
	other := e
	other.Name = "b"
	for name, in := range map[string][]byte{"nothing": nil, "no JSON": data[:40], "too much": bytes.Repeat([]byte(" "), endpoint.MaxFile+1), "another version": bytes.Replace(data, []byte(`"schema": 1`), []byte(`"schema": 2`), 1)} {
		if _, err := endpoint.ReadFile(in, &e); err == nil || strings.Contains(err.Error(), "shown") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := endpoint.ReadFile(data, &other); err == nil {
		t.Error("a file of another endpoint")
	}
	e.Credentials = nil
	if _, err := endpoint.ReadFile(data, &e); err == nil {
		t.Error("a credential that was dropped")
	}
	if rows := endpoint.RowsOf(made, false); rows[0].Secret != "" {
		t.Error("a secret is shown")
	}
	if _, err := endpoint.Make(kind(t), []endpoint.Who{{}, {Use: "bad"}}); err == nil {
		t.Error("a use that is none")
	}
	if _, err := endpoint.Make(&gateway.Kind{Name: "kes"}, []endpoint.Who{{}}); err == nil {
		t.Error("a kind without credentials")
	}
}

func TestRows(t *testing.T) {
	s := &authority.EndpointState{Endpoint: authority.Endpoint{
		Name: "a", Kind: "xks", Issuers: []authority.Issuer{{URL: "https://i", Use: "jwt"}}, Credentials: []authority.Credential{{ID: "1", Subject: "ann", Material: wire.Hash{7}}},
		ClientCAs: [][]byte{{0x30, 0}}, Options: []authority.Tag{{Name: "x", Value: "y"}},
	}, Set: wire.Epoch{Generation: 1, Position: 4}}
	for want, edit := range map[string]func(){"enabled": func() {}, "disabled": func() { s.Disabled = true }, "revoked": func() { s.Disabled, s.Revoked = true, true }, "removed": func() { s.Removed = true }} {
		*s = authority.EndpointState{Endpoint: s.Endpoint, Set: s.Set}
		edit()
		r := endpoint.RowOf(s)
		text := strings.Join(r.Detail(), "|")
		if r.State != want || !strings.Contains(text, "state|"+want) || !strings.Contains(text, "issuer|https://i, for jwt") || !strings.Contains(text, "credential|1, names ann") ||
			!strings.Contains(text, "keys|whatever policy permits") || !strings.Contains(text, "setting|x=y") || strings.Contains(text, "0700") {
			t.Errorf("%s: %s", want, text)
		}
	}
}

func TestSteps(t *testing.T) {
	steps, passed := endpoint.Steps([]gateway.Check{{Name: "a", Latency: 1500 * time.Microsecond, Note: "n"}, {Name: "b", Err: errors.New("no")}})
	if passed || steps[0] != (endpoint.Step{Name: "a", OK: true, Latency: 0.0015, Note: "n"}) || steps[1] != (endpoint.Step{Name: "b", Error: "no"}) {
		t.Errorf("%+v", steps)
	}
	if _, passed := endpoint.Steps(nil); passed {
		t.Error("a probe without a check passes")
	}
	if _, passed := endpoint.Steps([]gateway.Check{{Name: "a"}}); !passed {
		t.Error("a probe that went well fails")
	}
	if _, err := endpoint.Trust([]byte("x")); err == nil {
		t.Error("no roots")
	}
}
