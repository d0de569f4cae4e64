// SPDX-License-Identifier: Apache-2.0

// Package identity is a client's certificate and private key in files: [File] reads
// them again when they change, [Load] reads and checks them once, [FormatKey] and
// [FormatChain] write them, [Replace] and [Finish] put new ones in their place. A key
// must belong to its certificate, and that must name the client; whether a server
// accepts it is the server's to say.
//
// The private key lies on the Go heap while it is used.
package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"claviger/client/internal/keep"
	"claviger/client/internal/trust"
	"claviger/internal/wire"
)

const (
	maxKey  = 64 << 10 // bytes of a file
	maxCert = 256 << 10
)

// File is the client's certificate and key, read again when the files
// change.
type File struct {
	client            string
	certFile, keyFile string

	mu     sync.Mutex
	stamp  [2]stamp
	loaded *Identity
}

// Identity is a certificate and its key.
type Identity struct {
	Trust trust.Identity
	TLS   *tls.Certificate
	Leaf  *x509.Certificate
}

type stamp struct {
	modified time.Time
	size     int64
}

// New returns the File of a client's SPIFFE id. It reads nothing yet.
func New(client, certFile, keyFile string) *File {
	return &File{client: client, certFile: certFile, keyFile: keyFile}
}

// Get returns the certificate and key as they are now.
func (id *File) Get() (*Identity, error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	now, err := id.stat()
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	if id.loaded != nil && now == id.stamp {
		return id.loaded, nil
	}
	fresh, err := Load(id.certFile, id.keyFile, id.client)
	if err != nil {
		// The files may be in the middle of a change: what was read last still holds.
		if id.loaded != nil {
			return id.loaded, nil
		}
		return nil, err
	}
	id.loaded, id.stamp = fresh, now
	return fresh, nil
}

func (id *File) stat() (out [2]stamp, err error) {
	for i, name := range []string{id.certFile, id.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return out, err
		}
		out[i] = stamp{info.ModTime(), info.Size()}
	}
	return out, nil
}

// Certificate is the transport's view of Get.
func (id *File) Certificate() (*tls.Certificate, error) {
	l, err := id.Get()
	if err != nil {
		return nil, err
	}
	return l.TLS, nil
}

// Load reads the PEM files of a certificate chain and its key, which must name the
// client.
func Load(certFile, keyFile, client string) (*Identity, error) {
	certs, err := keep.ReadFile(certFile, maxCert)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	keyPEM, err := keep.ReadFile(keyFile, maxKey)
	if err != nil {
		return nil, fmt.Errorf("read private key: %w", err)
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("read private key: %w", err)
	}
	chain, err := parseChain(certs)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, errors.New("read certificate: malformed")
	}
	if wire.KeyHash(leaf.PublicKey) != wire.KeyHash(key.Public()) {
		return nil, ErrMismatch
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != client {
		return nil, errors.New("read certificate: it does not name the profile's client")
	}
	return &Identity{
		Trust: trust.Identity{Client: client, Chain: chain, Key: key},
		TLS:   &tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf}, Leaf: leaf,
	}, nil
}

// ErrMismatch means that the two files are not of one key pair.
var ErrMismatch = errors.New("certificate and private key do not belong together")

func parseChain(data []byte) ([][]byte, error) {
	var chain [][]byte
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" || len(chain) == wire.MaxChain {
			return nil, errors.New("not a chain of certificates alone")
		}
		chain, data = append(chain, block.Bytes), rest
	}
	if len(chain) == 0 {
		return nil, errors.New("no certificate there")
	}
	return chain, nil
}

// FormatChain writes certificates, DER, as PEM.
func FormatChain(chain [][]byte) []byte {
	var out []byte
	for _, der := range chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}

// parseKey reads an Ed25519 or ECDSA P-256 key, PKCS #8 or SEC 1. Its error never
// repeats the input.
func parseKey(data []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, errors.New("the PEM block is no unencrypted private key")
	}
	if err != nil {
		return nil, errors.New("malformed")
	}
	signer, ok := key.(crypto.Signer)
	if !ok || wire.KeyHash(signer.Public()).IsZero() {
		return nil, errors.New("neither Ed25519 nor ECDSA P-256")
	}
	return signer, nil
}

// FormatKey writes a private key as PEM, PKCS #8. The caller wipes it.
func FormatKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	defer clear(der)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
