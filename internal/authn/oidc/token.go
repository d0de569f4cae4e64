// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"claviger/internal/authn"
	"claviger/internal/strictjson"
	"claviger/internal/wire"
)

// Bounds of tokens.
const (
	MaxToken     = 16 << 10 // bytes
	maxAudiences = 32
	maxStrings   = 256 // of a list of another claim
	leeway       = 60 * time.Second
)

// object is a JSON object with its members by name, letter by letter: encoding/json
// alone takes "SUB" for "sub".
type object map[string]json.RawMessage

func readObject(data []byte) (object, error) {
	var o object
	if err := strictjson.CheckForeign(data); err != nil {
		return nil, err
	}
	return o, json.Unmarshal(data, &o)
}

// text is a member that is a string, "" if it isn't there.
func (o object) text(name string) (string, error) {
	raw, ok := o[name]
	if !ok {
		return "", nil
	}
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return "", fmt.Errorf("%s is no string", name)
	}
	return *s, nil
}

// time is a member that is a NumericDate, zero if it isn't there.
func (o object) time(name string) (time.Time, error) {
	raw, ok := o[name]
	if !ok {
		return time.Time{}, nil
	}
	whole, fraction, _ := strings.Cut(string(raw), ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n <= 0 || n > wire.MaxTime/1000 || strings.ContainsFunc(fraction, func(c rune) bool { return c < '0' || c > '9' }) {
		return time.Time{}, fmt.Errorf("%s is no time", name)
	}
	return time.Unix(n, 0).UTC(), nil
}

// list is a member that is a string or a list of some, as "aud" is.
func (o object) list(name string, most int) ([]string, error) {
	raw, ok := o[name]
	if !ok {
		return nil, nil
	}
	if raw[0] == '"' {
		s, err := o.text(name)
		return []string{s}, err
	}
	var all []*string
	if err := json.Unmarshal(raw, &all); err != nil || len(all) > most || slices.Contains(all, nil) {
		return nil, fmt.Errorf("%s is no list of strings", name)
	}
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = *s
	}
	return out, nil
}

// token is a token that was taken apart and not verified.
type token struct {
	algorithm, kid string
	signed         string // what the signature is over
	signature      []byte
	claims         *Claims
}

// parse takes a token apart.
func parse(text string) (*token, error) {
	if len(text) > MaxToken {
		return nil, refused("a token of more than %d bytes", MaxToken)
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, refused("not a signed token")
	}
	var raw [3][]byte
	for i, part := range parts {
		var err error
		if raw[i], err = decode(part); err != nil {
			return nil, refused("not a signed token: its base 64")
		}
	}
	t := &token{signed: text[:len(parts[0])+1+len(parts[1])], signature: raw[2]}
	if err := t.readHeader(raw[0]); err != nil {
		return nil, refused("its header: %w", err)
	}
	claims, err := readClaims(raw[1])
	if err != nil {
		return nil, refused("its claims: %w", err)
	}
	t.claims = claims
	return t, nil
}

// decode reads base 64 that is written in one way only; the standard library skips
// line ends.
func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, base64.CorruptInputError(0)
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

func (t *token) readHeader(data []byte) error {
	h, err := readObject(data)
	if err != nil {
		return err
	}
	if t.algorithm, err = h.text("alg"); err != nil {
		return err
	}
	if t.kid, err = h.text("kid"); err != nil {
		return err
	}
	typ, err := h.text("typ")
	if err != nil {
		return err
	}
	// Security: whatever it is, it has to be understood, and isn't (RFC 7515, 4.1.11).
	if _, critical := h["crit"]; critical {
		return fmt.Errorf("it has extensions that have to be understood")
	}
	switch {
	case !slices.Contains([]string{"", "jwt", "at+jwt"}, strings.ToLower(typ)):
		return fmt.Errorf("it is another kind of token")
	case t.kid == "":
		return fmt.Errorf("it names no key")
	}
	return nil
}

// Claims are what a token says.
type Claims struct {
	Issuer        string
	Subject       string
	Email         string
	EmailVerified bool
	Audience      []string
	Expires       time.Time
	NotBefore     time.Time // zero if it doesn't say
	IssuedAt      time.Time // likewise

	all object
}

func readClaims(data []byte) (*Claims, error) {
	o, err := readObject(data)
	if err != nil {
		return nil, err
	}
	c := &Claims{all: o}
	for name, to := range map[string]*string{"iss": &c.Issuer, "sub": &c.Subject, "email": &c.Email} {
		if *to, err = o.text(name); err != nil {
			return nil, err
		}
	}
	for name, to := range map[string]*time.Time{"exp": &c.Expires, "nbf": &c.NotBefore, "iat": &c.IssuedAt} {
		if *to, err = o.time(name); err != nil {
			return nil, err
		}
	}
	if c.Audience, err = o.list("aud", maxAudiences); err != nil {
		return nil, err
	}
	// Some issuers write the flag as a string.
	verified := string(o["email_verified"])
	c.EmailVerified = c.Email != "" && (verified == "true" || verified == `"true"`)
	if c.Issuer == "" || c.Expires.IsZero() {
		return nil, fmt.Errorf("it names no issuer, or has no end")
	}
	return c, nil
}

// Text is a claim that is a string, "" if there is none. An error matches
// authn.ErrRefused.
func (c *Claims) Text(name string) (string, error) {
	s, err := c.all.text(name)
	if err != nil {
		return "", refused("its claims: %w", err)
	}
	return s, nil
}

// Strings is a claim that is a string or a list of at most 256, nil if there is none.
// An error matches authn.ErrRefused.
func (c *Claims) Strings(name string) ([]string, error) {
	list, err := c.all.list(name, maxStrings)
	if err != nil {
		return nil, refused("its claims: %w", err)
	}
	return list, nil
}

// Raw is a claim as JSON, nil if there is none.
func (c *Claims) Raw(name string) json.RawMessage { return c.all[name] }

// inTime holds that the claims count now.
func (c *Claims) inTime(now time.Time) error {
	switch {
	case !now.Before(c.Expires.Add(leeway)):
		return refused("it has ended")
	case now.Add(leeway).Before(c.NotBefore), now.Add(leeway).Before(c.IssuedAt):
		return refused("it is of the future")
	}
	return nil
}

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: token: %w", authn.ErrRefused, fmt.Errorf(format, args...))
}
