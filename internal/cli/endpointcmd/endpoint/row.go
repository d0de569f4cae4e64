// SPDX-License-Identifier: Apache-2.0

package endpoint

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"claviger/internal/authority"
	"claviger/internal/gateway"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// Row is an endpoint as `endpoint list` and `endpoint show` tell it.
type Row struct {
	Name        string            `json:"name"`
	Kind        string            `json:"kind"`
	State       string            `json:"state"` // enabled, disabled, revoked, removed
	Host        string            `json:"host,omitempty"`
	Issuers     []IssuerRow       `json:"issuers,omitempty"`
	Credentials []CredentialRow   `json:"credentials,omitempty"`
	ClientCAs   []RootRow         `json:"client_cas,omitempty"`
	ClientNames []string          `json:"client_names,omitempty"`
	Pinned      []PinnedRow       `json:"certificates,omitempty"`
	Keys        []string          `json:"keys,omitempty"` // none: whatever policy permits
	Rate        uint64            `json:"rate,omitempty"` // 0: the kind's default
	Options     map[string]string `json:"options,omitempty"`
	Created     string            `json:"created"`
	Set         string            `json:"set_by"` // the record that last set it
	// Revoked are the subjects of it that are revoked.
	Revoked []string `json:"revoked_subjects,omitempty"`
}

// IssuerRow is an issuer of tokens.
type IssuerRow struct {
	URL      string `json:"url"`
	Audience string `json:"audience,omitempty"`
	JWKS     string `json:"jwks,omitempty"`
	Use      string `json:"use,omitempty"`
}

// CredentialRow is a credential; Secret is there once, when it was just made.
type CredentialRow struct {
	ID      string `json:"id"`
	Use     string `json:"use,omitempty"`
	Subject string `json:"subject,omitempty"`
	Secret  string `json:"secret,omitempty"`
}

// RootRow is a root of client certificates.
type RootRow struct {
	SHA256   string `json:"sha256"`
	Subject  string `json:"subject"`
	NotAfter string `json:"not_after,omitempty"`
}

// PinnedRow is a certificate of the other side.
type PinnedRow struct {
	Use string `json:"use"`
	RootRow
}

// rootRow is a certificate as people compare it.
func rootRow(der []byte) RootRow {
	sum := sha256.Sum256(der)
	r := RootRow{SHA256: hex.EncodeToString(sum[:])}
	if c, err := x509.ParseCertificate(der); err == nil {
		r.Subject, r.NotAfter = c.Subject.String(), c.NotAfter.UTC().Format(time.RFC3339)
	}
	return r
}

// In tells what the log says of an endpoint, and which of its subjects are
// revoked.
func In(state *authority.State, s *authority.EndpointState) Row {
	r := RowOf(s)
	for c := range state.Clients() {
		if name, ok := strings.CutPrefix(c.ID, s.Name+":"); ok && c.Revoked && !wire.ValidID(c.ID) {
			r.Revoked = append(r.Revoked, name)
		}
	}
	return r
}

// RowOf tells what a record says.
func RowOf(s *authority.EndpointState) Row {
	r := Row{
		Name: s.Name, Kind: s.Kind, State: stateOf(s), Host: s.Host, ClientNames: s.ClientNames, Keys: s.Keys, Rate: s.Rate,
		Created: time.UnixMilli(s.Created).UTC().Format(time.RFC3339), Set: s.Set.String(),
	}
	for _, i := range s.Issuers {
		r.Issuers = append(r.Issuers, IssuerRow{i.URL, i.Audience, i.JWKS, i.Use})
	}
	for _, c := range s.Credentials {
		r.Credentials = append(r.Credentials, CredentialRow{ID: c.ID, Use: c.Use, Subject: c.Subject})
	}
	for _, der := range s.ClientCAs {
		r.ClientCAs = append(r.ClientCAs, rootRow(der))
	}
	for _, c := range s.Certificates {
		r.Pinned = append(r.Pinned, PinnedRow{c.Use, rootRow(c.DER)})
	}
	for _, o := range s.Options {
		if r.Options == nil {
			r.Options = map[string]string{}
		}
		r.Options[o.Name] = o.Value
	}
	return r
}

func stateOf(s *authority.EndpointState) string {
	switch {
	case s.Removed:
		return "removed"
	case s.Revoked:
		return "revoked"
	case s.Disabled:
		return "disabled"
	}
	return "enabled"
}

// Detail is a row as names and values for people, in turn.
func (r Row) Detail() []string {
	out := []string{"name", r.Name, "kind", r.Kind, "state", r.State}
	add := func(name, value string) {
		if value != "" {
			out = append(out, name, value)
		}
	}
	add("host", r.Host)
	for _, i := range r.Issuers {
		add("issuer", joined(i.URL, "audience", i.Audience, "keys", i.JWKS, "for", i.Use))
	}
	for _, c := range r.Credentials {
		add("credential", joined(c.ID, "for", c.Use, "names", c.Subject))
	}
	for _, c := range r.ClientCAs {
		add("client root", joined(c.SHA256, "", c.Subject, "until", c.NotAfter))
	}
	for _, c := range r.Pinned {
		add("certificate", joined(c.SHA256, "for", c.Use, "of", c.Subject, "until", c.NotAfter))
	}
	add("client names", strings.Join(r.ClientNames, ", "))
	keys := strings.Join(r.Keys, ", ")
	if keys == "" {
		keys = "whatever policy permits"
	}
	add("keys", keys)
	if r.Rate != 0 {
		add("requests a second", fmt.Sprint(r.Rate))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Options)) {
		add("setting", name+"="+r.Options[name])
	}
	for _, name := range r.Revoked {
		add("revoked subject", name)
	}
	return append(out, "created", r.Created, "set by record", r.Set)
}

// joined puts names before those values that are there.
func joined(first string, rest ...string) string {
	out := []string{first}
	for i := 0; i+1 < len(rest); i += 2 {
		if rest[i+1] != "" {
			out = append(out, strings.TrimSpace(rest[i]+" "+rest[i+1]))
		}
	}
	return strings.Join(out, ", ")
}

// RowsOf tells of credentials that were just made, with their secrets if those
// are to be shown.
func RowsOf(made []gateway.Secret, show bool) []CredentialRow {
	var out []CredentialRow
	for _, m := range made {
		row := CredentialRow{ID: m.Credential.ID, Use: m.Credential.Use, Subject: m.Credential.Subject}
		if show {
			row.Secret = m.Show
		}
		out = append(out, row)
	}
	return out
}

// File is what --credential-out writes and `endpoint test --credential` reads.
type File struct {
	Schema      int             `json:"schema"` // 1
	Kind        string          `json:"kind"`
	Endpoint    string          `json:"endpoint"`
	Credentials []CredentialRow `json:"credentials"`
	Guide       string          `json:"guide,omitempty"` // what the other side is told, secrets and all
}

// MaxFile bounds a credential file, in bytes.
const MaxFile = 256 << 10

var errFile = errors.New("it is no credential file of this endpoint, as --credential-out writes it")

// Encode gives the file's bytes, which hold secrets.
func (f File) Encode() ([]byte, error) {
	f.Schema = 1
	out, err := json.MarshalIndent(f, "", "  ")
	return append(out, '\n'), err
}

// ReadFile gives the newest credential of a file that an endpoint still has; the
// caller wipes its material. Nothing of a file that is none is repeated.
func ReadFile(data []byte, e *authority.Endpoint) (*gateway.Secret, error) {
	var f File
	if len(data) > MaxFile || json.Unmarshal(data, &f) != nil || f.Schema != 1 || f.Endpoint != e.Name || f.Kind != e.Kind {
		return nil, errFile
	}
	var found *CredentialRow
	var record authority.Credential
	for i, have := range f.Credentials {
		for _, c := range e.Credentials {
			if c.ID == have.ID && have.Secret != "" {
				found, record = &f.Credentials[i], c
			}
		}
	}
	if found == nil {
		return nil, errors.New("the endpoint has none of that file's credentials any more")
	}
	return &gateway.Secret{Credential: record, Material: secret.Take([]byte(found.Secret)), Show: found.Secret}, nil
}
