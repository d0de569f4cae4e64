// SPDX-License-Identifier: Apache-2.0

package kes

import (
	"errors"
	"fmt"
	"strings"

	"claviger/internal/authority"
	"claviger/internal/gateway"
	"claviger/internal/wire"
)

// Kind is the KES kind of endpoint.
func Kind() *gateway.Kind {
	return &gateway.Kind{
		Name: name, NeedsHost: true, NeedsClientCert: true, Options: []string{gateway.OptionFolder},
		Check: check, New: newDoor, Guide: guide, Probe: probe,
	}
}

const name = "kes"

// check judges a record: KES clients have certificates and nothing else.
func check(e *authority.Endpoint) error {
	if len(e.Issuers) > 0 || len(e.Credentials) > 0 {
		return errors.New("KES clients are known by their certificates; issuers and credentials mean nothing here")
	}
	for _, o := range e.Options {
		if o.Name == gateway.OptionFolder && (!strings.HasSuffix(o.Value, "/") || !wire.ValidKeyName(o.Value+"k")) {
			return errors.New("the folder is a key's name that ends in /")
		}
	}
	return nil
}

// guide says what a MinIO server has to be told.
func guide(s gateway.Site, _ []gateway.Secret) string {
	return fmt.Sprintf(`Tell MinIO, or another client of KES:

  MINIO_KMS_KES_ENDPOINT=%s
  MINIO_KMS_KES_CERT_FILE=client.crt
  MINIO_KMS_KES_KEY_FILE=client.key
  MINIO_KMS_KES_CAPATH=doors-ca.pem        # unless the port has a public certificate
  MINIO_KMS_KES_KEY_NAME=minio

The client's certificate may be self-signed. Its identity is the SHA-256 of its public key:

  openssl x509 -in client.crt -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum

Permit it in the policy, where IDENTITY stands for that:

  permit (principal == Subject::"%s:IDENTITY",
          action in [Action::"encrypt", Action::"decrypt"], resource == Key::"%sminio");
`, s.Base, s.Endpoint.Name, s.Option(gateway.OptionFolder))
}
