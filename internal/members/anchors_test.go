// SPDX-License-Identifier: Apache-2.0

package members_test

import (
	"errors"
	"strings"
	"testing"

	"claviger/internal/members"
	"claviger/internal/wire"
)

// found makes a genesis with a name and anchors.
func found(t *testing.T, name string, anchors ...members.Anchor) error {
	t.Helper()
	d := &domain{t: t, a: newPerson("ann"), server: newPerson("s1")}
	g := members.Genesis{
		Name: name, RootGeneration: 1, Root: wire.Sum("root"), Server: d.server.server(),
		Keys:    members.Keys{Keys: []members.Key{d.a.admin()}, Threshold: 1},
		Anchors: anchors,
	}
	g.Random[0] = 1
	_, err := members.Found(d.sign(wire.Body{Kind: members.KindGenesis, Payload: wire.Marshal(g)}, d.a))
	return err
}

// A domain whose name no certificate can carry would be founded and then never
// work.
func TestGenesisName(t *testing.T) {
	for _, name := range []string{"acme", "acme.example", "a-b_c.1"} {
		if err := found(t, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"", "a..b", ".a", "a.", "1.2.3.4", "42", "Acme", "a/b", strings.Repeat("a", 129)} {
		if err := found(t, name); !errors.Is(err, members.ErrChain) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestGenesisAnchors(t *testing.T) {
	embedded := func(prefix string) members.Anchor {
		return members.Anchor{Name: "embedded", Prefix: prefix, Embedded: true}
	}
	outside := func(name, prefix string) members.Anchor {
		return members.Anchor{Name: name, Prefix: prefix, Roots: [][]byte{{1}}}
	}
	for name, c := range map[string]struct {
		anchors []members.Anchor
		want    error
	}{
		"none":                       {nil, nil},
		"embedded":                   {[]members.Anchor{embedded("spiffe://acme/workload/")}, nil},
		"embedded and a partner":     {[]members.Anchor{embedded("spiffe://acme/workload/"), outside("partner", "spiffe://partner/workload/")}, nil},
		"two halves of one name":     {[]members.Anchor{outside("a", "spiffe://acme/workload/a/"), outside("b", "spiffe://acme/workload/b/")}, nil},
		"embedded for a part":        {[]members.Anchor{embedded("spiffe://acme/workload/pay/")}, members.ErrChain},
		"embedded for another":       {[]members.Anchor{embedded("spiffe://partner/workload/")}, members.ErrChain},
		"overlapping":                {[]members.Anchor{embedded("spiffe://acme/workload/"), outside("a", "spiffe://acme/workload/a/")}, members.ErrChain},
		"one name twice":             {[]members.Anchor{outside("a", "spiffe://acme/workload/a/"), outside("a", "spiffe://acme/workload/b/")}, members.ErrChain},
		"without slash":              {[]members.Anchor{outside("a", "spiffe://acme/workload/pay")}, members.ErrChain},
		"no such domain":             {[]members.Anchor{outside("a", "spiffe://a..b/workload/")}, members.ErrChain},
		"an address":                 {[]members.Anchor{outside("a", "spiffe://10.0.0.1/workload/")}, members.ErrChain},
		"no name fits under it":      {[]members.Anchor{outside("a", "spiffe://acme/workload/aa/"+strings.Repeat("a/", 115))}, members.ErrChain},
		"outside without a root":     {[]members.Anchor{{Name: "a", Prefix: "spiffe://acme/workload/"}}, members.ErrChain},
		"embedded with a root":       {[]members.Anchor{{Name: "a", Prefix: "spiffe://acme/workload/", Embedded: true, Roots: [][]byte{{1}}}}, members.ErrChain},
		"a name that isn't one":      {[]members.Anchor{outside("a b", "spiffe://acme/workload/")}, members.ErrChain},
		"a root without any content": {[]members.Anchor{{Name: "a", Prefix: "spiffe://acme/workload/", Roots: [][]byte{{}}}}, members.ErrChain},
	} {
		if err := found(t, "acme", c.anchors...); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}
