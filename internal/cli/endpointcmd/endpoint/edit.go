// SPDX-License-Identifier: Apache-2.0

// Package endpoint makes changes of endpoints out of what an admin asked for, and
// says what stands in the log of them. It reaches no server and makes no secret:
// kinds do (internal/gateway), and the command line brings them.
//
//   - [Edit] over a record gives the next one: [Edit.Apply].
//   - [Rotation] says which credentials a rotation makes anew, [Finish] which it
//     drops.
//   - [RowOf] and [Detail] are what people and scripts read.
//   - [File] is a credential in a file, as `endpoint test` takes it.
package endpoint

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"claviger/internal/authority"
	"claviger/internal/authority/endpoints"
)

// Edit is what an admin wants changed of a record: what is nil stays. An empty
// text in a list stands for an empty list.
type Edit struct {
	Host                   *string
	Rate                   *uint64
	Issuers, CANames, Keys []string
	ClientCAs              [][]byte // PEM files, whole
	Certificates           []endpoints.Certificate
	Options                []string // NAME=VALUE, or NAME= to take one away
	SetIssuers, SetCAs     bool
	SetCANames, SetKeys    bool
	SetCertificates        bool
}

// Apply returns the record as it would be.
func (d Edit) Apply(e authority.Endpoint) (authority.Endpoint, error) {
	if d.Host != nil {
		e.Host = *d.Host
	}
	if d.Rate != nil {
		e.Rate = *d.Rate
	}
	if d.SetKeys {
		e.Keys = listed(d.Keys)
	}
	if d.SetCANames {
		e.ClientNames = listed(d.CANames)
	}
	if d.SetIssuers {
		e.Issuers = nil
		for _, text := range listed(d.Issuers) {
			i, err := ParseIssuer(text)
			if err != nil {
				return e, err
			}
			e.Issuers = append(e.Issuers, i)
		}
	}
	if d.SetCAs {
		e.ClientCAs = nil
		for _, file := range d.ClientCAs {
			roots, err := ReadRoots(file)
			if err != nil {
				return e, err
			}
			e.ClientCAs = append(e.ClientCAs, roots...)
		}
	}
	if d.SetCertificates {
		e.Certificates = d.Certificates
	}
	var err error
	e.Options, err = options(e.Options, d.Options)
	return e, err
}

func listed(list []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == "" })
}

// options takes NAME=VALUE pairs into a list that stays sorted.
func options(have []authority.Tag, pairs []string) ([]authority.Tag, error) {
	out := slices.Clone(have)
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%q: a setting is NAME=VALUE", pair)
		}
		out = slices.DeleteFunc(out, func(t authority.Tag) bool { return t.Name == name })
		if value != "" {
			out = append(out, authority.Tag{Name: name, Value: value})
		}
	}
	slices.SortFunc(out, func(a, b authority.Tag) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// ParseIssuer reads URL[,audience=A][,jwks=URL][,use=U].
func ParseIssuer(text string) (authority.Issuer, error) {
	name, rest, more := strings.Cut(text, ",")
	i := authority.Issuer{URL: name}
	seen := map[string]bool{}
	for more {
		var part string
		part, rest, more = strings.Cut(rest, ",")
		field, value, _ := strings.Cut(part, "=")
		if seen[field] || value == "" {
			return i, fmt.Errorf("%q: an issuer is URL[,audience=A][,jwks=URL][,use=U]", text)
		}
		seen[field] = true
		switch field {
		case "audience":
			i.Audience = value
		case "jwks":
			i.JWKS = value
		case "use":
			i.Use = value
		default:
			return i, fmt.Errorf("%q: an issuer has no %q; it is URL[,audience=A][,jwks=URL][,use=U]", text, field)
		}
	}
	return i, nil
}

// ReadRoots reads the certificates of a PEM file.
func ReadRoots(file []byte) ([][]byte, error) {
	var out [][]byte
	for {
		block, rest := pem.Decode(file)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("the file of roots holds a %.40q; it may hold certificates alone", block.Type)
		}
		out, file = append(out, block.Bytes), rest
	}
	if len(out) == 0 {
		return nil, errors.New("the file of roots holds no certificate in PEM")
	}
	return out, nil
}

// Who is whom a credential is for.
type Who struct{ Use, Subject string }

// Rotation lists whose credentials a rotation makes anew: one of each use and
// subject, or those of one subject alone. While an older credential of theirs is
// still to be dropped there is nothing to rotate.
func Rotation(e *authority.Endpoint, subject string, one bool) ([]Who, error) {
	var out []Who
	for _, c := range e.Credentials {
		who := Who{c.Use, c.Subject}
		if one && c.Subject != subject {
			continue
		}
		if slices.Contains(out, who) {
			return nil, fmt.Errorf("two credentials of %s live already: finish that first (--finish)", orEndpoint(who.Subject, e))
		}
		out = append(out, who)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("endpoint %s has no such credential to rotate", e.Name)
	}
	return out, nil
}

// Finish drops all but the newest credential of each use and subject.
func Finish(e authority.Endpoint) (next authority.Endpoint, dropped []authority.Credential) {
	next = e
	next.Credentials = nil
	for i, c := range e.Credentials {
		newer := func(o authority.Credential) bool { return o.Use == c.Use && o.Subject == c.Subject }
		if slices.ContainsFunc(e.Credentials[i+1:], newer) {
			dropped = append(dropped, c)
		} else {
			next.Credentials = append(next.Credentials, c)
		}
	}
	return next, dropped
}

func orEndpoint(subject string, e *authority.Endpoint) string {
	if subject == "" {
		return e.Name
	}
	return subject
}

// Origin is where the doors of a server are met unless something stands before
// them: its host with the usual port.
func Origin(server string) string {
	host, _, err := net.SplitHostPort(server)
	if err != nil {
		host = server
	}
	return "https://" + net.JoinHostPort(host, "8445")
}

// Base is the public URL of an endpoint: at the root of its own host, under the
// origin's port, or below its name.
func Base(origin string, e *authority.Endpoint) string {
	origin = strings.TrimSuffix(origin, "/")
	if e.Host == "" {
		return origin + "/" + e.Name
	}
	if u, err := url.Parse(origin); err == nil && u.Port() != "" {
		return "https://" + e.Host + ":" + u.Port()
	}
	return "https://" + e.Host
}

// Address is the host and port to dial for an origin.
func Address(origin string) (string, error) {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" {
		return "", fmt.Errorf("%q: an origin is https://HOST[:PORT]", origin)
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}
