// SPDX-License-Identifier: Apache-2.0

package change

import (
	"slices"
	"strings"
	"testing"

	"claviger/internal/authority"
	"claviger/internal/authority/authoritytest"
	"claviger/internal/wire"
)

// TestEndpointDiff: a change of an endpoint is shown as a diff of what the log
// says now, whatever its proposer says of it.
func TestEndpointDiff(t *testing.T) {
	d := authoritytest.New(t)
	e := authority.Endpoint{
		Name: "aws", Kind: "xks", Host: "xks.example.com", Keys: []string{"aws/"},
		Issuers:     []authority.Issuer{{URL: "https://a.example"}},
		Credentials: []authority.Credential{{ID: "AKIA1", Material: wire.Hash{1}}, {ID: "AKIA2", Subject: "ann, the first", Material: wire.Hash{2}}},
		ClientCAs:   [][]byte{{0x30, 0}},
	}
	describe := func(kind string, payload any) *Change {
		t.Helper()
		var c *Change
		var err error
		d.Log.View(func(s *authority.State) {
			body := s.NewBody(kind, authority.Object(payload), payload, d.Clock.Now())
			c, err = Describe(s, &body)
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	want := func(c *Change, summary string, lines ...string) {
		t.Helper()
		if c.Summary != summary {
			t.Errorf("summary %q", c.Summary)
		}
		for _, l := range lines {
			if !slices.Contains(c.Lines, l) {
				t.Errorf("no line %q in\n%s", l, strings.Join(c.Lines, "\n"))
			}
		}
	}
	c := describe(authority.KindEndpointSet, authority.EndpointSet{Endpoint: e})
	want(c, "make endpoint aws (xks)", "+ kind: xks", "+ key: aws/", "+ credential: AKIA2 for any use, names \"ann, the first\", material "+wire.Hash{2}.String(),
		"  client certificate name: any under those roots")
	if !strings.Contains(c.Signers, "one admin for a name that never was") {
		t.Error(c.Signers)
	}
	d.Append(d.Log, authority.KindEndpointSet, authority.EndpointSet{Endpoint: e}, d.Admin)
	e.Host, e.Keys, e.Credentials, e.Rate = "xks2.example.com", nil, e.Credentials[1:], 9
	c = describe(authority.KindEndpointSet, authority.EndpointSet{Endpoint: e})
	want(c, "change endpoint aws (xks)", "- host: xks.example.com", "+ host: xks2.example.com", "- key: aws/", "+ key: whatever policy permits",
		"- credential: AKIA1 for any use, names itself, material "+wire.Hash{1}.String(),
		"  credential: AKIA2 for any use, names \"ann, the first\", material "+wire.Hash{2}.String(),
		"  issuer: https://a.example for any use, audience of the kind, keys from its own discovery",
		"- requests a second: the kind's default", "+ requests a second: 9")
	want(describe(authority.KindEndpointDisable, authority.EndpointDisable{Name: "aws", Revoke: true}),
		"revoke endpoint aws: it answers nothing from now on", "+ enabling it again takes: a quorum")
	d.Append(d.Log, authority.KindEndpointDisable, authority.EndpointDisable{Name: "aws"}, d.Admin)
	want(describe(authority.KindEndpointSet, authority.EndpointSet{Endpoint: e}), "change endpoint aws (xks), which stays disabled")
	want(describe(authority.KindEndpointEnable, authority.EndpointRef{Name: "aws"}), "enable endpoint aws")
	want(describe(authority.KindEndpointRemove, authority.EndpointRef{Name: "aws"}), "remove endpoint aws: its name stays taken")
	d.Append(d.Log, authority.KindEndpointRemove, authority.EndpointRef{Name: "aws"}, d.Admin)
	want(describe(authority.KindEndpointSet, authority.EndpointSet{Endpoint: e}), "bring back endpoint aws (xks), which was removed", "+ host: xks2.example.com")
}
