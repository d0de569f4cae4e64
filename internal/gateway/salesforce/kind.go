// SPDX-License-Identifier: Apache-2.0

package salesforce

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"

	"claviger/internal/authority"
	"claviger/internal/gateway"
)

// Settings of an endpoint, and what its pinned certificates are for.
const (
	optionReplay = "replay"    // "off": requests without an id are answered
	optionSigner = "signer"    // unique name of the certificate that signs Salesforce's tokens: their "kid"
	useRecipient = "recipient" // keys are encrypted to it
	useToken     = "token"     // it signs tokens
	minRSA       = 2048        // bits
)

// Kind is Salesforce's cache-only keys.
func Kind() *gateway.Kind {
	return &gateway.Kind{
		Name: "salesforce", Options: []string{gateway.OptionFolder, optionReplay, optionSigner},
		Check: check, New: newDoor, Guide: guide, Probe: probe,
	}
}

func check(e *authority.Endpoint) error {
	if _, err := recipient(e); err != nil {
		return err
	}
	if len(e.Credentials) > 0 {
		return errors.New("a Salesforce endpoint has no credentials: Salesforce has a token or a certificate")
	}
	if len(e.Issuers) > 1 {
		// Security: each could mean another by the same name (T-93).
		return errors.New("a Salesforce endpoint has one issuer of tokens: another org takes an endpoint of its own")
	}
	for _, i := range e.Issuers {
		if i.Audience == "" {
			return errors.New("an issuer of tokens needs an audience: --issuer ISS,audience=AUD")
		}
	}
	for _, o := range e.Options {
		if o.Name == optionReplay && o.Value != "off" {
			return fmt.Errorf("setting %s is off, or not there", optionReplay)
		}
	}
	_, err := tokenKeys(gateway.Site{Endpoint: *e})
	switch {
	case err != nil:
		return err
	case len(e.Issuers) == 0 && len(e.ClientCAs) == 0:
		return errors.New("say how Salesforce proves itself: --issuer with --certificate token=FILE, or --host with --client-ca")
	}
	return nil
}

// recipient is the key of the one certificate that keys are encrypted to.
func recipient(e *authority.Endpoint) (*rsa.PublicKey, error) {
	var out *rsa.PublicKey
	for _, c := range e.Certificates {
		if c.Use != useRecipient {
			continue
		}
		key, err := rsaKey(c.DER)
		if err != nil {
			return nil, err
		}
		if out != nil {
			return nil, errors.New("a Salesforce endpoint has one certificate of use recipient, not two")
		}
		out = key
	}
	if out == nil {
		return nil, errors.New("a Salesforce endpoint needs the org's BYOK-compatible certificate: --certificate recipient=FILE")
	}
	return out, nil
}

func rsaKey(der []byte) (*rsa.PublicKey, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, errors.New("a certificate can't be read")
	}
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok || key.N.BitLen() < minRSA {
		return nil, fmt.Errorf("the certificate of %s has no RSA key of %d bits or more", cert.Subject, minRSA)
	}
	return key, nil
}

// tokenKeys is the key set that the certificates of use token make; nil for none.
func tokenKeys(site gateway.Site) ([]byte, error) {
	type jwk struct {
		Type      string `json:"kty"`
		Use       string `json:"use"`
		Algorithm string `json:"alg"`
		ID        string `json:"kid"`
		Modulus   string `json:"n"`
		Exponent  string `json:"e"`
	}
	var keys []jwk
	signer := site.Option(optionSigner)
	for _, c := range site.Endpoint.Certificates {
		if c.Use != useToken {
			continue
		}
		key, err := rsaKey(c.DER)
		if err != nil {
			return nil, err
		}
		keys = append(keys, jwk{"RSA", "sig", "RS256", signer, encode(key.N.Bytes()), encode(big.NewInt(int64(key.E)).Bytes())})
	}
	if keys == nil {
		for _, i := range site.Endpoint.Issuers {
			if i.JWKS == "" {
				return nil, errors.New("an issuer without a key set of its own needs the certificate that signs its tokens: --certificate token=FILE")
			}
		}
		return nil, nil
	}
	if signer == "" {
		return nil, fmt.Errorf("setting %s is missing: the unique name of the certificate that signs tokens, which they have as kid", optionSigner)
	}
	return json.Marshal(map[string]any{"keys": keys})
}

func encode(p []byte) string { return base64.RawURLEncoding.EncodeToString(p) }

// guide says what Salesforce has to be told.
func guide(site gateway.Site, _ []gateway.Secret) string {
	return fmt.Sprintf(`Salesforce Setup:

  Named Credential, URL: %s
    Authentication by JWT, signed by a certificate of the org (RS256), or by client certificate
  Encryption Settings: Allow Cache-Only Keys with BYOK, and Enable Replay Detection for Cache-Only Keys
  Key Management, Bring Your Own Key, Use a Cache-Only Key:
    Unique Key Identifier: NAME-v1   (version 1 of the key %sNAME of this domain)
    Certificate: the BYOK-compatible one that this endpoint's record pins
    Named Credential: as above

Policy: permit (principal in Endpoint::"%s", action in [Action::"release", Action::"unwrap"], resource in Folder::"…");
`, site.Base, site.Option(gateway.OptionFolder), site.Endpoint.Name)
}
