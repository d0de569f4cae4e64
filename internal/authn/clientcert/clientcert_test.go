// SPDX-License-Identifier: Apache-2.0

package clientcert_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"math/big"
	"testing"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authn/clientcert"
)

var now = time.Unix(1_800_000_000, 0)

func certificate(t *testing.T, key crypto.Signer) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "admin"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func ecKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func shaken(certs ...*x509.Certificate) *tls.ConnectionState {
	return &tls.ConnectionState{HandshakeComplete: true, Version: tls.VersionTLS12, PeerCertificates: certs}
}

func TestCaller(t *testing.T) {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"ecdsa": ecKey(t), "ed25519": ed, "rsa": strong} {
		cert := certificate(t, key)
		c, err := clientcert.Caller("minio", "kes", shaken(cert), now)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		der, _ := x509.MarshalPKIXPublicKey(key.Public())
		sum := sha256.Sum256(der)
		id := hex.EncodeToString(sum[:])
		if !c.Proved() || c.Kind != authn.Subject || c.ID != "minio:"+id || c.Endpoint != "minio" || c.EndpointKind != "kes" || !c.NotAfter.Equal(cert.NotAfter) {
			t.Errorf("%s: %+v", name, c)
		}
		if c.Attributes["certificate"] != id || c.Key != clientcert.Identity(cert) {
			t.Errorf("%s: attributes %v, key %v", name, c.Attributes, c.Key)
		}
		for _, claim := range []string{"subject", "email", "issuer", "arn"} {
			if c.Attributes[claim] != nil {
				t.Errorf("%s: the certificate's own word became the claim %s", name, claim)
			}
		}
	}
}

// TestFirstCertificate: the handshake proves the first one's key; whatever follows
// was only attached.
func TestFirstCertificate(t *testing.T) {
	mine, victims := certificate(t, ecKey(t)), certificate(t, ecKey(t))
	mine.IsCA = true // some servers skip those in front
	c, err := clientcert.Caller("minio", "kes", shaken(mine, victims), now)
	if err != nil {
		t.Fatal(err)
	}
	if c.Key != clientcert.Identity(mine) {
		t.Error("an attached certificate names the caller")
	}
}

func TestRefuses(t *testing.T) {
	cert := certificate(t, ecKey(t))
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	unfinished, old := shaken(cert), shaken(cert)
	unfinished.HandshakeComplete = false
	old.Version = tls.VersionTLS11
	for name, c := range map[string]struct {
		endpoint string
		state    *tls.ConnectionState
		at       time.Time
	}{
		"no TLS":           {"minio", nil, now},
		"unfinished":       {"minio", unfinished, now},
		"old TLS":          {"minio", old, now},
		"no certificate":   {"minio", shaken(), now},
		"ended":            {"minio", shaken(cert), now.Add(2 * time.Hour)},
		"not begun":        {"minio", shaken(cert), now.Add(-2 * time.Hour)},
		"weak":             {"minio", shaken(certificate(t, weak)), now},
		"no such endpoint": {"a:b", shaken(cert), now},
	} {
		if got, err := clientcert.Caller(c.endpoint, "kes", c.state, c.at); !errors.Is(err, authn.ErrRefused) || got != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
