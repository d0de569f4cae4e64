// SPDX-License-Identifier: Apache-2.0

package xks

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"

	"claviger/internal/authority"
	"claviger/internal/gateway"
	"claviger/internal/secret"
)

const (
	useSigV4 = "sigv4"         // use of an endpoint's credentials
	service  = "kms-xks-proxy" // in the scope of signatures
)

// Kind is AWS KMS's external key store proxy.
func Kind() *gateway.Kind {
	return &gateway.Kind{
		Name: "xks", Rate: defaultRate, Options: []string{gateway.OptionFolder, optionRegion},
		Check: check, New: newDoor, Credential: newCredential, Guide: guide, Probe: probe,
	}
}

// defaultRate is what KMS sends to one key store unless AWS raised its quota.
const defaultRate = 1800

// optionRegion names the AWS region whose signatures count; without it any does.
const optionRegion = "region"

var errNoCredential = errors.New("an XKS endpoint has at least one credential of use sigv4")

func check(e *authority.Endpoint) error {
	n := 0
	for _, c := range e.Credentials {
		if c.Use == useSigV4 {
			n++
		}
	}
	if n == 0 {
		return errNoCredential
	}
	if len(e.Issuers) > 0 {
		return errors.New("an XKS endpoint has no token issuers")
	}
	return nil
}

// newCredential makes an access key as KMS takes it: an id of 20 characters of
// base 32, and a secret of 48 characters that hold 288 random bits.
func newCredential(use, subject string) (gateway.Secret, error) {
	if use != "" && use != useSigV4 || subject != "" {
		return gateway.Secret{}, fmt.Errorf("%w: XKS has credentials of use %s, for KMS and for nobody else", gateway.ErrEndpoint, useSigV4)
	}
	raw := make([]byte, 12)
	rand.Read(raw)
	id := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw)
	random := make([]byte, 36)
	rand.Read(random)
	text := base64.StdEncoding.EncodeToString(random)
	secret.Wipe(random)
	return gateway.Secret{
		Credential: authority.Credential{ID: id, Use: useSigV4},
		Material:   secret.Take([]byte(text)), Show: text,
	}, nil
}
