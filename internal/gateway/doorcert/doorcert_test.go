// SPDX-License-Identifier: Apache-2.0

package doorcert_test

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/gateway/doorcert"
)

// TestOwn: the CA stays over restarts, its certificates fit the hosts as they are,
// and each verifies against what clients were given first.
func TestOwn(t *testing.T) {
	dir := t.TempDir()
	clk := clock.NewManual(time.Unix(1_800_000_000, 0))
	first, err := doorcert.Open(dir, "keys.example.com:8445", clk)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(first.PEM())
	trusted := func(o *doorcert.Own, name string, hosts ...string) error {
		t.Helper()
		cert, err := o.Get(nil, hosts)
		if err != nil {
			t.Fatal(err)
		}
		_, err = cert.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: clk.Now()})
		return err
	}
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "keys.example.com"} {
		if err := trusted(first, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if trusted(first, "a.example") == nil {
		t.Error("the certificate is for a host of no endpoint")
	}
	if err := trusted(first, "a.example", "a.example"); err != nil {
		t.Error(err)
	}
	if trusted(first, "a.example", "b.example") == nil {
		t.Error("the certificate still names a host that is gone")
	}
	same, _ := first.Get(nil, []string{"b.example"})
	if again, _ := first.Get(nil, []string{"b.example"}); again != same {
		t.Error("a new certificate for each handshake")
	}
	clk.Advance(20 * 24 * time.Hour)
	if again, _ := first.Get(nil, []string{"b.example"}); again == same {
		t.Error("the certificate isn't renewed")
	}
	info, err := os.Stat(filepath.Join(dir, doorcert.KeyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v %v", info, err)
	}

	second, err := doorcert.Open(dir, "0.0.0.0:8445", clk)
	if err != nil {
		t.Fatal(err)
	}
	if err := trusted(second, "localhost"); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if trusted(second, "0.0.0.0") == nil {
		t.Error("the certificate names an address that is none")
	}
}

func TestOwnRefuses(t *testing.T) {
	clk := clock.NewManual(time.Unix(1_800_000_000, 0))
	dir, other := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, other} {
		if _, err := doorcert.Open(d, "", clk); err != nil {
			t.Fatal(err)
		}
	}
	ca, err := os.ReadFile(filepath.Join(other, doorcert.CAFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"another CA's": ca, "broken": []byte("x"), "two": append(ca, ca...)} {
		if err := os.WriteFile(filepath.Join(dir, doorcert.CAFile), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := doorcert.Open(dir, "", clk); err == nil {
			t.Errorf("opened with a certificate that is %s", name)
		}
	}
	clk.Advance(11 * 365 * 24 * time.Hour)
	if _, err := doorcert.Open(other, "", clk); err == nil {
		t.Error("opened a CA that has ended")
	}
	if _, err := doorcert.Open(filepath.Join(dir, "none"), "", clk); err == nil {
		t.Error("opened where there is no directory")
	}
}
