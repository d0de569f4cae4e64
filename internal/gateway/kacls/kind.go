// SPDX-License-Identifier: Apache-2.0

package kacls

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"claviger/internal/authority"
	"claviger/internal/authority/endpoints"
	"claviger/internal/gateway"
	"claviger/internal/wire"
)

// Settings of an endpoint.
const (
	optionKey        = "key"         // wrapping key, aes256
	optionSigning    = "signing_key" // ecdsa-p256 or rsa; "": no rewrap, delegate and certs
	optionURL        = "url"         // public URL of the endpoint, as Google's admin console has it; "": as the port says
	optionDomain     = "domain"      // the customer's Workspace domain
	optionGuests     = "guests"      // "yes": users without a Google account may come
	optionPerimeters = "perimeters"  // that data may lie in, with commas; "": any
	optionPrivileged = "privileged"  // e-mail addresses of admins, with commas
	optionOrigins    = "origins"     // of browsers' pages besides Google's, with commas
)

// What issuers and certificates are for.
const (
	useAuthentication = "authentication" // the customer's identity providers
	useAuthorization  = "authorization"  // Google
	useMigration      = "migration"      // other services of this kind
	useDelegated      = "delegated"      // tokens of the endpoint itself
	usePeer           = "peer"           // roots of those services' TLS certificates
)

// Audiences of tokens.
const (
	audienceGoogle    = "cse-authorization"
	audienceMigration = "kacls-migration"
	audienceDelegated = "kacls-delegation"
)

// pageOrigin is where Google's pages call from.
const pageOrigin = "https://client-side-encryption.google.com"

// Kind is Google Workspace's client-side encryption.
func Kind() *gateway.Kind {
	return &gateway.Kind{
		Name: "kacls",
		Options: []string{
			optionKey, optionSigning, optionURL, optionDomain, optionGuests, optionPerimeters, optionPrivileged, optionOrigins,
		},
		Check: check, New: newDoor, Guide: guide, Probe: probe,
	}
}

// googleIssuers are who signs Google's tokens: for Drive, Meet, Calendar, Gmail and
// migrations. Their key sets are where Google publishes those of such accounts.
func googleIssuers() []authority.Issuer {
	const keys = "https://www.googleapis.com/service_accounts/v1/jwk/"
	var out []authority.Issuer
	for _, account := range []string{
		"gsuitecse-tokenissuer-drive@system.gserviceaccount.com", "gsuitecse-tokenissuer-meet@system.gserviceaccount.com",
		"gsuitecse-tokenissuer-calendar@system.gserviceaccount.com", "gsuitecse-tokenissuer-gmail@system.gserviceaccount.com",
		"apps-security-cse-kaclscommunication@system.gserviceaccount.com",
	} {
		out = append(out, authority.Issuer{URL: account, Audience: audienceGoogle, JWKS: keys + account, Use: useAuthorization})
	}
	return out
}

func check(e *authority.Endpoint) error {
	if len(e.Credentials) > 0 {
		return errors.New("a KACLS endpoint has no credentials: its users have tokens")
	}
	if err := checkIssuers(e); err != nil {
		return err
	}
	for _, c := range e.Certificates {
		if _, err := x509.ParseCertificate(c.DER); err != nil || c.Use != usePeer {
			return fmt.Errorf("certificates are of use %s: roots of other services' TLS certificates", usePeer)
		}
	}
	site := gateway.Site{Endpoint: *e}
	for _, name := range []string{optionKey, optionDomain} {
		if site.Option(name) == "" {
			return fmt.Errorf("setting %s is missing: --set %s=…", name, name)
		}
	}
	for _, o := range e.Options {
		if err := checkOption(o.Name, o.Value); err != nil {
			return fmt.Errorf("setting %s: %w", o.Name, err)
		}
	}
	return nil
}

func checkIssuers(e *authority.Endpoint) error {
	known := 0
	for _, i := range e.Issuers {
		switch i.Use {
		case useAuthentication:
			known++
			if i.Audience == "" {
				return errors.New("an identity provider needs an audience: --issuer URL,audience=CLIENT_ID,use=authentication")
			}
		case useAuthorization:
		case useMigration:
			if !endpoints.ValidURL(i.URL) || strings.ContainsAny(i.URL, "?") || strings.HasSuffix(i.URL, "/") || i.Audience != "" {
				return errors.New("another service is its URL, without a query, a slash at the end or an audience: --issuer https://old.example.com/v1,use=migration")
			}
		default:
			return fmt.Errorf("an issuer's use is %s, %s or %s", useAuthentication, useAuthorization, useMigration)
		}
	}
	if known == 0 {
		return errors.New("a KACLS endpoint has at least one identity provider: --issuer URL,audience=CLIENT_ID,use=authentication")
	}
	return nil
}

func checkOption(name, value string) error {
	switch name {
	case optionKey, optionSigning:
		if !wire.ValidKeyName(value) {
			return errors.New("it is no key's name")
		}
	case optionURL:
		if !httpsURL(value) || strings.HasSuffix(value, "/") {
			return errors.New("it is no https URL, or ends in a slash")
		}
	case optionGuests:
		if value != "yes" {
			return errors.New("it is yes, or not there")
		}
	case optionOrigins:
		for _, o := range list(value) {
			if u, err := url.Parse(o); !httpsURL(o) || err != nil || o != u.Scheme+"://"+u.Host {
				return errors.New("an origin is https://HOST")
			}
		}
	case optionPrivileged:
		for _, a := range list(value) {
			if clean, ok := address(a); !ok || clean != a {
				return errors.New("it is no list of e-mail addresses in lower case")
			}
		}
	case optionPerimeters:
		if slices.ContainsFunc(list(value), func(p string) bool { return p == "" || len(p) > maxName }) {
			return fmt.Errorf("a perimeter's id has 1 to %d bytes", maxName)
		}
	}
	return nil
}

func httpsURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" && endpoints.ValidURL(s)
}

// list takes a setting with commas apart; nil for an empty one.
func list(value string) []string {
	if value == "" {
		return nil
	}
	out := strings.Split(value, ",")
	for i := range out {
		out[i] = strings.TrimSpace(out[i])
	}
	return out
}

// guide says what Google's admin console has to be told.
func guide(site gateway.Site, _ []gateway.Secret) string {
	base := ownURL(site)
	name := site.Endpoint.Name
	text := fmt.Sprintf(`Google Admin console, Security, Access and data control, Client-side encryption:

  External key service, Add: %s
  Identity provider: the one whose tokens this endpoint's record names

  The identity provider's client has the redirect URI %s/callback
  and its browser origin %s.

Keys: claviger key create %s
`, base, pageOrigin, pageOrigin, site.Option(optionKey))
	if key := site.Option(optionSigning); key != "" {
		text += fmt.Sprintf("      claviger key create %s --algorithm rsa-2048\n", key)
	}
	text += fmt.Sprintf(`Policy: permit (principal in Endpoint::"%s", action in [Action::"encrypt", Action::"decrypt"], resource == Key::"%s");
`, name, site.Option(optionKey))
	if key := site.Option(optionSigning); key != "" {
		text += fmt.Sprintf(`        permit (principal in Endpoint::"%s", action == Action::"sign", resource == Key::"%s");
        permit (principal == Subject::"%s:anyone", action == Action::"verify", resource == Key::"%s");
`, name, key, name, key)
	}
	return text
}

// ownURL is the endpoint's URL as Google knows it.
func ownURL(site gateway.Site) string {
	if u := site.Option(optionURL); u != "" {
		return u
	}
	return site.Base
}
