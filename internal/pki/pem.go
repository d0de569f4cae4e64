// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// MaxBundle is the largest certificate bundle [ParseBundle] reads, in bytes.
const MaxBundle = 1 << 20

var pemBegin = []byte("-----BEGIN ")

// ParseBundle reads the certificates of a PEM file. It refuses a file with
// anything but certificates in PEM blocks: a private key that strayed into the
// bundle is an accident to stop, not to skip. Text between blocks, as openssl
// writes it, is allowed.
func ParseBundle(data []byte) ([]*x509.Certificate, error) {
	if len(data) > MaxBundle {
		return nil, fmt.Errorf("read certificates: larger than %d bytes", MaxBundle)
	}
	var certs []*x509.Certificate
	blocks := bytes.Count(data, pemBegin)
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, errors.New("read certificates: a PEM block is not a certificate")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read certificates: certificate %d is malformed", len(certs)+1)
		}
		certs = append(certs, c)
		data = rest
	}
	// pem.Decode skips what is damaged; a CA must not get lost silently.
	if len(certs) != blocks {
		return nil, errors.New("read certificates: a damaged PEM block")
	}
	if len(certs) == 0 {
		return nil, errors.New("read certificates: none there")
	}
	return certs, nil
}

// ParseCRL reads one revocation list, PEM ("X509 CRL") or DER, and returns its
// DER. It checks everything but the issuer's signature, which needs the chain.
func ParseCRL(data []byte) ([]byte, error) {
	// PEM is a third larger; the exact bound is the DER's.
	if len(data) > 2*MaxCRLSize {
		return nil, fmt.Errorf("read revocation list: larger than %d bytes", MaxCRLSize)
	}
	der := data
	if block, rest := pem.Decode(data); block != nil {
		if block.Type != "X509 CRL" || bytes.Contains(rest, pemBegin) {
			return nil, errors.New("read revocation list: the file is not one PEM revocation list")
		}
		der = block.Bytes
	}
	if _, err := newCRL(der); err != nil {
		return nil, fmt.Errorf("read revocation list: %w", err)
	}
	return der, nil
}
