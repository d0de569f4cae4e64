// SPDX-License-Identifier: Apache-2.0

package dke

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"claviger/internal/authority"
	"claviger/internal/gateway"
)

// Settings of an endpoint.
const (
	optionURL       = "url"       // public URL of the endpoint, if another one than callers use
	optionAudience  = "audience"  // of tokens; "": the origin of the URL
	optionAuthority = "authority" // where tokens are to be had
	optionCache     = "cache"     // seconds for which clients may keep a public key; "": they decide
	optionClaim     = "claim"     // claims that name the user, first the one that counts most
)

const (
	useToken         = "token"
	defaultClaims    = "email,upn"
	defaultAuthority = "https://login.windows.net/common/oauth2/authorize"
	maxCache         = 30 * 24 * 3600
)

// Kind is Microsoft's Double Key Encryption.
func Kind() *gateway.Kind {
	return &gateway.Kind{
		Name: "dke", Options: []string{gateway.OptionFolder, optionURL, optionAudience, optionAuthority, optionCache, optionClaim},
		Check: check, New: newDoor, Guide: guide, Probe: probe,
	}
}

func check(e *authority.Endpoint) error {
	switch {
	case len(e.Issuers) == 0:
		return errors.New("a DKE endpoint has at least one issuer of tokens: --issuer https://sts.windows.net/TENANT/")
	case len(e.Issuers) > 1:
		// Security: each could mean another by the same name (T-93).
		return errors.New("a DKE endpoint has one issuer of tokens: another tenant takes an endpoint of its own")
	case len(e.Credentials) > 0:
		return errors.New("a DKE endpoint has no credentials: its users have tokens")
	}
	for _, o := range e.Options {
		switch o.Name {
		case optionURL, optionAudience, optionAuthority:
			u, err := url.Parse(o.Value)
			if err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
				return fmt.Errorf("setting %s is no https URL", o.Name)
			}
		case optionCache:
			if n, err := strconv.Atoi(o.Value); err != nil || n < 60 || n > maxCache {
				return fmt.Errorf("setting %s is not within 60 and %d seconds", o.Name, maxCache)
			}
		}
	}
	return nil
}

// audience is what tokens have to be for: DKE's clients ask for one whose audience
// is the origin of the key's URL.
func audience(site gateway.Site) string {
	if a := site.Option(optionAudience); a != "" {
		return a
	}
	base := site.Option(optionURL)
	if base == "" {
		base = site.Base
	}
	u, err := url.Parse(base)
	if err != nil {
		return base
	}
	return u.Scheme + "://" + u.Host
}

// guide says what Microsoft Entra and Purview have to be told.
func guide(site gateway.Site, _ []gateway.Secret) string {
	base := site.Option(optionURL)
	if base == "" {
		base = site.Base
	}
	return fmt.Sprintf(`Microsoft Entra, App registrations, New registration:

  Application ID URI and audience: %s
  Scope (Expose an API): user_impersonation
  Authorized client applications: d3590ed6-52b3-4102-aeff-aad2292ab01c (Office),
                                  c00e9d32-3c8d-4a7d-832b-029040e7db99 (Information Protection)

Microsoft Purview, sensitivity label, Use Double Key Encryption:

  %s/NAME

NAME is an RSA key of this domain without its folder (%q): claviger key create FOLDER/NAME --algorithm rsa-2048.
Policy: permit (principal == Subject::"%s:anyone", action == Action::"wrap", resource) for public keys, and
Action::"unwrap" for the users: Subject::"%s:EMAIL" in lower case, or principal.groups.
`, audience(site), base, site.Option(gateway.OptionFolder), site.Endpoint.Name, site.Endpoint.Name)
}
