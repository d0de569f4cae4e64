// SPDX-License-Identifier: Apache-2.0

package endpoints

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"claviger/internal/wire"
)

// Bounds of an endpoint's fields. Sizes are in bytes.
const (
	MaxEndpoints   = 1024     // names, those of removed endpoints included
	MaxSize        = 48 << 10 // of a whole endpoint: all of them fit one part of a snapshot
	MaxIssuers     = 16
	MaxCredentials = 32
	MaxCAs         = 16
	MaxPinned      = 8 // certificates of the other side
	MaxCA          = 8 << 10
	MaxNames       = 64
	MaxKeys        = 256
	MaxOptions     = 32
	MaxText        = 512 // of a URL or an audience
	MaxRate        = 1_000_000
)

// Check says what of an endpoint is not within the bounds of this version, nil
// if nothing. It is part of the fold.
func (e *Endpoint) Check() error {
	switch {
	case !wire.ValidEndpointName(e.Name):
		return errors.New("the endpoint's name is not usable: lower-case letters, digits and -, at most 63")
	case !validWord(e.Kind):
		return errors.New("the endpoint's kind is not usable")
	case e.Host != "" && !validHost(e.Host):
		return errors.New("the host is no DNS name in lower case")
	case e.Rate > MaxRate:
		return fmt.Errorf("a rate of more than %d requests a second", MaxRate)
	case len(e.ClientCAs) > 0 && e.Host == "":
		return errors.New("client certificates are asked for under a host of the endpoint's own: name one")
	case len(e.ClientNames) > 0 && len(e.ClientCAs) == 0:
		return errors.New("names of client certificates without roots that they come from")
	}
	if err := errors.Join(e.checkIssuers(), e.checkCredentials(), e.checkCAs(), e.checkCertificates(), e.checkLists()); err != nil {
		return err
	}
	if n := len(wire.Marshal(e)); n > MaxSize {
		return fmt.Errorf("the endpoint takes %d bytes, more than %d", n, MaxSize)
	}
	return nil
}

func (e *Endpoint) checkIssuers() error {
	if len(e.Issuers) > MaxIssuers {
		return fmt.Errorf("more than %d issuers", MaxIssuers)
	}
	for i, is := range e.Issuers {
		// Security: keys that come over a line that anybody may change would let
		// anybody sign tokens.
		if is.JWKS != "" && !ValidURL(is.JWKS) || is.JWKS == "" && !ValidURL(is.URL) {
			return errors.New("an issuer's keys have no https URL with a host in lower case (http only on loopback)")
		}
		if !validText(is.URL) || is.Audience != "" && !validText(is.Audience) || is.Use != "" && !validWord(is.Use) {
			return errors.New("an issuer's name, audience or use is not usable")
		}
		twice := func(o Issuer) bool { return o.URL == is.URL && o.Audience == is.Audience && o.Use == is.Use }
		if slices.ContainsFunc(e.Issuers[:i], twice) {
			return errors.New("an issuer stands there twice")
		}
	}
	return nil
}

func (e *Endpoint) checkCredentials() error {
	if len(e.Credentials) > MaxCredentials {
		return fmt.Errorf("more than %d credentials", MaxCredentials)
	}
	for i, c := range e.Credentials {
		if !validText(c.ID) || len(c.ID) > wire.MaxKeyName || c.Use != "" && !validWord(c.Use) || c.Material.IsZero() {
			return errors.New("a credential's id or use is not usable, or it has no material")
		}
		if c.Subject != "" && !wire.ValidSubjectName(c.Subject) {
			return errors.New("a credential's subject is not usable")
		}
		twice := func(o Credential) bool { return o.ID == c.ID || o.Material == c.Material }
		if slices.ContainsFunc(e.Credentials[:i], twice) {
			return errors.New("a credential stands there twice")
		}
	}
	return nil
}

func (e *Endpoint) checkCAs() error {
	if len(e.ClientCAs) > MaxCAs {
		return fmt.Errorf("more than %d roots of client certificates", MaxCAs)
	}
	for i, der := range e.ClientCAs {
		if len(der) > MaxCA || !oneSequence(der) {
			return errors.New("a root of client certificates is no certificate in DER")
		}
		if slices.ContainsFunc(e.ClientCAs[:i], func(o []byte) bool { return bytes.Equal(o, der) }) {
			return errors.New("a root of client certificates stands there twice")
		}
	}
	return nil
}

func (e *Endpoint) checkCertificates() error {
	if len(e.Certificates) > MaxPinned {
		return fmt.Errorf("more than %d certificates of the other side", MaxPinned)
	}
	for i, c := range e.Certificates {
		if !validWord(c.Use) || len(c.DER) > MaxCA || !oneSequence(c.DER) {
			return errors.New("a certificate of the other side is none in DER, or has no use")
		}
		same := func(o Certificate) bool { return o.Use == c.Use && bytes.Equal(o.DER, c.DER) }
		if slices.ContainsFunc(e.Certificates[:i], same) {
			return errors.New("a certificate of the other side stands there twice")
		}
	}
	return nil
}

func (e *Endpoint) checkLists() error {
	switch {
	case len(e.ClientNames) > MaxNames:
		return fmt.Errorf("more than %d names of client certificates", MaxNames)
	case len(e.Keys) > MaxKeys:
		return fmt.Errorf("more than %d keys", MaxKeys)
	case len(e.Options) > MaxOptions:
		return fmt.Errorf("more than %d options", MaxOptions)
	case !distinct(e.ClientNames, wire.ValidSubjectName):
		return errors.New("names of client certificates are not usable, or there twice")
	case !distinct(e.Keys, validKeys):
		return errors.New("keys are no names or folders ending in /, or there twice")
	}
	for i, o := range e.Options {
		if !wire.ValidNamePart(o.Name) || !wire.ValidSubjectName(o.Value) || i > 0 && o.Name <= e.Options[i-1].Name {
			return errors.New("options are not usable or not in order")
		}
	}
	return nil
}

func distinct(list []string, valid func(string) bool) bool {
	for i, s := range list {
		if !valid(s) || slices.Contains(list[:i], s) {
			return false
		}
	}
	return true
}

// validKeys reports whether s names a key, or a folder by its "/".
func validKeys(s string) bool { return wire.ValidKeyName(strings.TrimSuffix(s, "/")) }

// Vet says what parsers find wrong about an endpoint that Check takes. It is for
// whoever is about to sign or to propose, and no part of the fold.
func (e *Endpoint) Vet() error {
	for _, der := range e.ClientCAs {
		if c, err := x509.ParseCertificate(der); err != nil || !c.IsCA || !c.BasicConstraintsValid {
			return errors.New("a root of client certificates is no certificate of an authority")
		}
	}
	for _, c := range e.Certificates {
		if _, err := x509.ParseCertificate(c.DER); err != nil {
			return errors.New("a certificate of the other side can't be read")
		}
	}
	return nil
}
