// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"claviger/internal/authn/bearer"
	"claviger/internal/authority"
	"claviger/internal/gateway"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// Uses of an endpoint's credentials.
const (
	UseToken   = "token"     // a token without an end, of the credential's subject
	UseAppRole = "approle"   // a role's secret id; the subject is the role
	UseKey     = "token-key" // under which tokens are made
)

// Methods of login, and uses of issuers.
const (
	methodJWT        = "jwt"
	methodKubernetes = "kubernetes"
	methodCert       = "cert"
)

// Options of an endpoint.
const (
	OptionTTL    = "token.ttl"     // of a token that a login made, until it is renewed
	OptionMaxTTL = "token.max-ttl" // until when it can be
	OptionRole   = "role."         // begins the name of each role's option
)

const (
	defaultTTL    = time.Hour
	defaultMaxTTL = 24 * time.Hour
	longestTTL    = 32 * 24 * time.Hour // Vault's own default
)

// settings are what an endpoint's record says of tokens and logins.
type settings struct {
	ttl, maxTTL time.Duration
	roles       map[string]role
}

// role is who may log in, how, and for how long.
type role struct {
	method      string
	bound       map[string][]string // claims, and the values that they may have; "x*" is all that begin with x
	ttl, maxTTL time.Duration
	policies    []string // shown with the token
}

// Check judges a record.
func Check(e *authority.Endpoint) error {
	_, err := read(e)
	return err
}

func read(e *authority.Endpoint) (*settings, error) {
	s := &settings{ttl: defaultTTL, maxTTL: defaultMaxTTL, roles: map[string]role{}}
	var err error
	for _, o := range e.Options {
		switch {
		case o.Name == OptionTTL:
			s.ttl, err = duration(o.Value)
		case o.Name == OptionMaxTTL:
			s.maxTTL, err = duration(o.Value)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.Name, err)
		}
	}
	if s.ttl > s.maxTTL {
		return nil, fmt.Errorf("%s is longer than %s", OptionTTL, OptionMaxTTL)
	}
	for _, o := range e.Options {
		name, ok := strings.CutPrefix(o.Name, OptionRole)
		if !ok {
			continue
		}
		if s.roles[name], err = s.role(o.Value); err != nil {
			return nil, fmt.Errorf("%s: %w", o.Name, err)
		}
	}
	if err := checkIssuers(e); err != nil {
		return nil, err
	}
	return s, checkCredentials(e, s)
}

func checkIssuers(e *authority.Endpoint) error {
	seen := map[string]bool{}
	for _, is := range e.Issuers {
		switch {
		case is.Use != methodJWT && is.Use != methodKubernetes:
			return errors.New("an issuer's use is jwt or kubernetes")
		case is.Audience == "":
			return errors.New("an issuer's tokens name an audience of this endpoint's own: say which")
		case seen[is.Use]:
			// Security: both could mean another by the same subject.
			return errors.New("one issuer for each use: another one takes an endpoint of its own")
		}
		seen[is.Use] = true
	}
	return nil
}

func checkCredentials(e *authority.Endpoint, s *settings) error {
	key := false
	for _, c := range e.Credentials {
		switch c.Use {
		case UseKey:
			key = true
		case UseToken, UseAppRole:
			if c.Subject == "" || strings.Contains(c.Subject, ":") {
				return fmt.Errorf("a credential of use %s names its subject, without a colon", c.Use)
			}
			if r, known := s.roles[c.Subject]; c.Use == UseAppRole && known && r.method != UseAppRole {
				return fmt.Errorf("the role %s is of %s and has a secret id", c.Subject, r.method)
			}
		default:
			return fmt.Errorf("a credential's use is %s, %s or %s", UseToken, UseAppRole, UseKey)
		}
	}
	if !key && (len(s.roles) > 0 || len(e.Issuers) > 0) {
		return fmt.Errorf("logins make tokens under a credential of use %s", UseKey)
	}
	return nil
}

// role reads METHOD;claim.NAME=VALUE;…;ttl=…;max-ttl=…;policies=A B.
func (s *settings) role(text string) (r role, err error) {
	parts := strings.Split(text, ";")
	r = role{method: parts[0], ttl: s.ttl, maxTTL: s.maxTTL, bound: map[string][]string{}}
	if !slices.Contains([]string{methodJWT, methodKubernetes, methodCert, UseAppRole}, r.method) {
		return r, errors.New("a role begins with jwt, kubernetes, cert or approle")
	}
	for _, p := range parts[1:] {
		name, value, ok := strings.Cut(p, "=")
		claim, isClaim := strings.CutPrefix(name, "claim.")
		switch {
		case !ok || value == "":
			return r, errors.New("a role's settings are NAME=VALUE, separated by ;")
		case isClaim && claim != "" && r.method != UseAppRole:
			r.bound[claim] = append(r.bound[claim], value)
		case name == "ttl":
			r.ttl, err = duration(value)
		case name == "max-ttl":
			r.maxTTL, err = duration(value)
		case name == "policies":
			r.policies = strings.Fields(value)
		default:
			return r, errors.New("a role's settings are claim.NAME, ttl, max-ttl and policies")
		}
		if err != nil {
			return r, err
		}
	}
	switch {
	case r.ttl > r.maxTTL:
		return r, errors.New("a role's ttl is longer than its max-ttl")
	case len(r.policies) > 16:
		return r, errors.New("a role shows at most 16 policies")
	case r.method != UseAppRole && len(r.bound) == 0:
		// Security: of a broad issuer, everybody would be let in.
		return r, errors.New("a role says whom it is for: claim.sub=…, claim.namespace=…, claim.certificate=… or another claim (\"*\" is anybody)")
	}
	return r, nil
}

// admits reports whether claims are what the role asks for.
func (r role) admits(claim func(string) []string) bool {
	for name, values := range r.bound {
		have := claim(name)
		if !slices.ContainsFunc(values, func(v string) bool { return slices.ContainsFunc(have, func(h string) bool { return fits(v, h) }) }) {
			return false
		}
	}
	return true
}

func fits(pattern, value string) bool {
	if all, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(value, all)
	}
	return pattern == value
}

func duration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Minute || d > longestTTL || d%time.Second != 0 {
		return 0, fmt.Errorf("no time of 1m to %s, such as 90m or 24h", longestTTL)
	}
	return d, nil
}

// Credential makes what a user of the endpoint gets: use "" is a token for a subject,
// and the key of all tokens without one.
func Credential(use, subject string) (gateway.Secret, error) {
	if use == "" && subject == "" {
		use = UseKey
	}
	if use == "" {
		use = UseToken
	}
	var id [16]byte
	rand.Read(id[:])
	out := gateway.Secret{Credential: authority.Credential{ID: hex.EncodeToString(id[:]), Use: use, Subject: subject}}
	if (subject == "") != (use == UseKey) || subject != "" && (!wire.ValidSubjectName(subject) || strings.Contains(subject, ":")) {
		return out, fmt.Errorf("%w: tokens and roles have a subject without a colon, a %s has none", gateway.ErrEndpoint, UseKey)
	}
	out.Material = secret.Random(32)
	switch use {
	case UseToken:
		out.Show = bearer.Text(out.Credential.ID, out.Material)
	case UseAppRole:
		// Its text is what lies in the slot: that is what a login shows.
		text := []byte(base64.RawURLEncoding.EncodeToString(out.Material.Expose()))
		out.Material.Wipe()
		out.Show = string(text)
		out.Material = secret.Take(text) // which wipes it
	case UseKey:
	default:
		return out, fmt.Errorf("%w: a credential's use is %s, %s or %s", gateway.ErrEndpoint, UseToken, UseAppRole, UseKey)
	}
	return out, nil
}
