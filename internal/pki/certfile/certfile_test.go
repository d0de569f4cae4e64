// SPDX-License-Identifier: Apache-2.0

package certfile_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/pki/certfile"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// pair writes a certificate for a new key.
func pair(t *testing.T, dir string) (certificate, key, pin string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(t, certificate, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})))
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key, certfile.Pin(&tls.Certificate{Leaf: leaf})
}

// TestCertificateIsReadAgain: a renewed certificate is used without a restart, and
// a broken one doesn't stop the server.
func TestCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	certificate, key, first := pair(t, dir)
	var log strings.Builder
	clk := clock.NewManual(time.Unix(1e9, 0))
	f, err := certfile.Open(certificate, key, clk, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	served := func() string {
		t.Helper()
		cert, err := f.Get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return certfile.Pin(cert)
	}
	if served() != first {
		t.Error("another certificate")
	}
	write(t, certificate, "half a file")
	clk.Advance(2 * time.Second)
	if served() != first || !strings.Contains(log.String(), "stays in use") {
		t.Errorf("with a broken certificate: %s", log.String())
	}
	_, _, second := pair(t, dir)
	if err := os.Chtimes(certificate, time.Unix(2e9, 0), time.Unix(2e9, 0)); err != nil { // the file system's clock may be coarse
		t.Fatal(err)
	}
	if served() != first {
		t.Error("the files are looked at more than once a second")
	}
	clk.Advance(2 * time.Second)
	if served() != second {
		t.Error("the renewed certificate isn't used")
	}
	os.Remove(key)
	clk.Advance(2 * time.Second)
	if served() != second {
		t.Error("without a key file")
	}
	for _, bad := range [][2]string{{certificate, "/no/key"}, {certificate, certificate}} {
		if _, err := certfile.Open(bad[0], bad[1], clk, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%q was opened", bad)
		}
	}
}
