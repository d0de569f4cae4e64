// SPDX-License-Identifier: Apache-2.0

package change

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"strconv"

	"claviger/internal/authority"
	"claviger/internal/authority/endpoints"
)

func newEndpointPayload(kind string) any {
	switch kind {
	case authority.KindEndpointSet:
		return new(authority.EndpointSet)
	case authority.KindEndpointDisable:
		return new(authority.EndpointDisable)
	case authority.KindEndpointEnable, authority.KindEndpointRemove:
		return new(authority.EndpointRef)
	}
	return nil
}

// endpointSigners says in words who has to sign a kind.
func endpointSigners(kind, quorum string) string {
	if kind == authority.KindEndpointSet {
		return "one admin for a name that never was; " + quorum + " for any change"
	}
	return "one admin; " + quorum + " after a revocation"
}

// endpoint describes what is done to an endpoint.
func (d *describer) endpoint(kind string, p any) string {
	switch p := p.(type) {
	case *authority.EndpointSet:
		return d.setEndpoint(p)
	case *authority.EndpointDisable:
		d.set("endpoint", p.Name)
		d.set("enabling it again takes", map[bool]string{true: "a quorum", false: "one admin"}[p.Revoke])
		d.reason(p.Reason)
		if p.Revoke {
			return "revoke endpoint " + p.Name + ": it answers nothing from now on"
		}
		return "disable endpoint " + p.Name
	case *authority.EndpointRef:
		d.set("endpoint", p.Name)
		d.reason(p.Reason)
		if kind == authority.KindEndpointRemove {
			return "remove endpoint " + p.Name + ": its name stays taken"
		}
		return "enable endpoint " + p.Name
	}
	return kind
}

func (d *describer) setEndpoint(p *authority.EndpointSet) string {
	e, was := &p.Endpoint, new(endpoints.Endpoint)
	have := d.state.Endpoint(e.Name)
	show := func(name string, _, value any) { d.set(name, value) }
	if have != nil {
		was, show = &have.Endpoint, d.change
	}
	d.set("endpoint", e.Name)
	show("kind", was.Kind, e.Kind)
	show("host", orElse(was.Host, "none, below /"+e.Name), orElse(e.Host, "none, below /"+e.Name))
	show("requests a second", rate(was.Rate), rate(e.Rate))
	d.list("issuer", texts(was.Issuers, issuer), texts(e.Issuers, issuer), "no token is taken")
	d.list("credential", texts(was.Credentials, credential), texts(e.Credentials, credential), "none")
	d.list("client certificate root", texts(was.ClientCAs, root), texts(e.ClientCAs, root), "none")
	d.list("client certificate name", was.ClientNames, e.ClientNames, "any under those roots")
	d.list("key", was.Keys, e.Keys, "whatever policy permits")
	d.list("certificate of the other side", texts(was.Certificates, pinned), texts(e.Certificates, pinned), "none")
	d.list("option", texts(was.Options, option), texts(e.Options, option), "none")
	d.reason(p.Reason)
	switch {
	case have == nil:
		return fmt.Sprintf("make endpoint %s (%s)", e.Name, e.Kind)
	case have.Removed:
		return fmt.Sprintf("bring back endpoint %s (%s), which was removed", e.Name, e.Kind)
	case have.Disabled:
		return fmt.Sprintf("change endpoint %s (%s), which stays disabled", e.Name, e.Kind)
	}
	return fmt.Sprintf("change endpoint %s (%s)", e.Name, e.Kind)
}

// list notes what goes from a list and what comes to it; an empty one is said in
// words, since it may permit more than a full one.
func (d *describer) list(name string, old, list []string, none string) {
	for _, s := range old {
		if !slices.Contains(list, s) {
			d.lines = append(d.lines, fmt.Sprintf("- %s: %s", name, plain(s)))
		}
	}
	for _, s := range list {
		sign := "+"
		if slices.Contains(old, s) {
			sign = " "
		}
		d.lines = append(d.lines, fmt.Sprintf("%s %s: %s", sign, name, plain(s)))
	}
	if len(list) == 0 {
		sign := "+"
		if len(old) == 0 {
			sign = " "
		}
		d.lines = append(d.lines, fmt.Sprintf("%s %s: %s", sign, name, none))
	}
}

func texts[T any](list []T, text func(T) string) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = text(v)
	}
	return out
}

func issuer(i authority.Issuer) string {
	return fmt.Sprintf("%s for %s, audience %s, keys from %s", i.URL, orElse(i.Use, "any use"), orElse(i.Audience, "of the kind"), orElse(i.JWKS, "its own discovery"))
}

func credential(c authority.Credential) string {
	names := "itself"
	if c.Subject != "" {
		names = strconv.Quote(c.Subject) // it may have blanks and commas
	}
	return fmt.Sprintf("%s for %s, names %s, material %s", c.ID, orElse(c.Use, "any use"), names, c.Material)
}

func pinned(c endpoints.Certificate) string { return "for " + c.Use + ", " + root(c.DER) }

// root names a certificate by what can't be forged first.
func root(der []byte) string {
	sum := sha256.Sum256(der)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Sprintf("SHA-256 %x, unreadable", sum)
	}
	return fmt.Sprintf("SHA-256 %x, says it is %s, until %s", sum, cert.Subject, stamp(cert.NotAfter.UnixMilli()))
}

func option(t authority.Tag) string { return fmt.Sprintf("%s=%q", t.Name, t.Value) }

func rate(n uint64) string {
	if n == 0 {
		return "the kind's default"
	}
	return fmt.Sprint(n)
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
