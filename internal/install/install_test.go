// SPDX-License-Identifier: Apache-2.0

package install_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/install"
	"claviger/internal/members"
	"claviger/internal/pki/pkitest"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// plan is one that works.
func plan(t *testing.T, dir string) install.Plan {
	t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return install.Plan{
		Dir: dir, ConfigFile: "claviger.toml", Config: func(d wire.DomainID) []byte { return []byte(d.String()) },
		Name: "example.org", Sealing: root.Sealing{Key: secret.Take(bytes.Repeat([]byte{7}, root.MinKey))},
		Keys:  members.Keys{Keys: []members.Key{{Name: "alice", Public: der}}, Threshold: 1},
		Admin: key, Clock: clock.System(),
		Drill: func(_ context.Context, dir string, with root.Unlock) ([root.Size]byte, error) {
			return root.Drill(dir, with)
		},
	}
}

func TestMake(t *testing.T) {
	for _, existed := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "a", "b")
		if existed {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		made, err := install.Make(t.Context(), plan(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		config, err := os.ReadFile(filepath.Join(dir, "claviger.toml"))
		if err != nil || string(config) != made.Domain.String() {
			t.Errorf("configuration %q, %v", config, err)
		}
		info, err := root.Describe(filepath.Join(dir, "root"))
		if err != nil || info.Fingerprint != made.Fingerprint {
			t.Errorf("root %+v, %v", info, err)
		}
		if stat, err := os.Stat(dir); err != nil || stat.Mode().Perm() != 0o700 {
			t.Errorf("mode %v, %v", stat.Mode(), err)
		}
		if _, err := install.Make(t.Context(), plan(t, dir)); !errors.Is(err, install.ErrNotEmpty) {
			t.Errorf("a second installation: %v", err)
		}
		if again, err := os.ReadFile(filepath.Join(dir, "claviger.toml")); err != nil || !bytes.Equal(again, config) {
			t.Error("a refused installation changed the directory")
		}
	}
}

// TestMakeLeavesNothing breaks the plan at every stage.
func TestMakeLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	for name, spoil := range map[string]func(*install.Plan){
		"root":          func(p *install.Plan) { p.Sealing = root.Sealing{} },
		"name":          func(p *install.Plan) { p.Name = "No Name" },
		"keys":          func(p *install.Plan) { p.Keys.Threshold = 2 },
		"signer":        func(p *install.Plan) { p.Admin = ed25519.NewKeyFromSeed(make([]byte, 32)) },
		"drill":         func(p *install.Plan) { p.Drill = drillOf([root.Size]byte{}, errors.New("no")) },
		"another root":  func(p *install.Plan) { p.Drill = drillOf([root.Size]byte{1}, nil) },
		"configuration": func(p *install.Plan) { p.ConfigFile = "no/such/directory" },
		"interrupted":   func(p *install.Plan) { drill := p.Drill; p.Drill = interrupt(cancel, drill) },
	} {
		for _, existed := range []bool{false, true} {
			dir := filepath.Join(t.TempDir(), "d")
			if existed {
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			p := plan(t, dir)
			spoil(&p)
			use := t.Context()
			if name == "interrupted" {
				use = ctx
			}
			_, err := install.Make(use, p)
			if err == nil {
				t.Errorf("%s: it was made", name)
			}
			if drilled := name == "drill" || name == "another root"; drilled != errors.Is(err, install.ErrDrill) {
				t.Errorf("%s: %v", name, err)
			}
			entries, err := os.ReadDir(dir)
			if len(entries) > 0 || existed != (err == nil) {
				t.Errorf("%s: left %v, %v", name, entries, err)
			}
		}
	}
}

type drillFunc = func(context.Context, string, root.Unlock) ([root.Size]byte, error)

func drillOf(sum [root.Size]byte, err error) drillFunc {
	return func(context.Context, string, root.Unlock) ([root.Size]byte, error) { return sum, err }
}

func interrupt(cancel func(), drill drillFunc) drillFunc {
	return func(ctx context.Context, dir string, with root.Unlock) ([root.Size]byte, error) {
		cancel()
		return drill(ctx, dir, with)
	}
}

// The drill gets as many shares as will be needed, not all that there are.
func TestDrillWithShares(t *testing.T) {
	p := plan(t, filepath.Join(t.TempDir(), "d"))
	p.Sealing = root.Sealing{Threshold: 2, Recipients: []string{
		"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
		"age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg",
		"age1lvyvwawkr0mcnnnncaghunadrqkmuf9e6507x9y920xxpp866cnql7dp2z",
	}}
	got := 0
	p.Drill = func(_ context.Context, dir string, with root.Unlock) ([root.Size]byte, error) {
		got = len(with.Shares)
		return root.Drill(dir, with)
	}
	if _, err := install.Make(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if got != 2 {
		t.Errorf("the drill got %d shares, want 2", got)
	}
}

func TestQuorum(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int
		want uint64
	}{
		{"", 1, 1}, {"1of1", 1, 1}, {"2of3", 3, 2}, {"3of3", 3, 3}, {"10of12", 12, 10},
		{"", 2, 0}, {"2of2", 3, 0}, {"2of4", 3, 0}, {"4of3", 3, 0}, {"0of3", 3, 0}, {"2/3", 3, 0}, {"02of3", 3, 0}, {"2of3 ", 3, 0}, {"-1of3", 3, 0},
	} {
		got, err := install.Quorum(c.text, c.n)
		if got != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("Quorum(%q, %d) = %d, %v, want %d", c.text, c.n, got, err, c.want)
		}
	}
}

func TestRecovery(t *testing.T) {
	key := func(name string) members.Key {
		public, _, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		return members.Key{Name: name, Public: der}
	}
	ann, rex, rio := key("ann"), key("rex"), key("rio")
	for _, c := range []struct {
		keys []members.Key
		text string
		wait time.Duration
		want uint64
	}{
		{[]members.Key{rex}, "", time.Hour, 1},
		{[]members.Key{rex, rio}, "2of2", install.DefaultRecoveryWait, 2},
		{[]members.Key{rex, rio}, "", time.Hour, 0},
		{[]members.Key{rex, rio}, "1of1", time.Hour, 0},
		{[]members.Key{rex, rex}, "1of2", time.Hour, 0},
		{[]members.Key{ann}, "", time.Hour, 0},
		{[]members.Key{{Name: "rex", Public: ann.Public}}, "", time.Hour, 0},
		{[]members.Key{{Name: "ann", Public: rex.Public}}, "", time.Hour, 0},
		{[]members.Key{rex}, "", 0, 0},
		{[]members.Key{rex}, "", -time.Hour, 0},
		{[]members.Key{rex}, "", 1500 * time.Millisecond, 0},
		{[]members.Key{rex}, "", 367 * 24 * time.Hour, 0},
	} {
		got, err := install.Recovery(c.keys, []members.Key{ann}, c.text, c.wait)
		if (err == nil) != (c.want > 0) {
			t.Errorf("Recovery(%d keys, %q, %v): %v", len(c.keys), c.text, c.wait, err)
		}
		if err == nil && (got.Threshold != c.want || got.Wait != uint64(c.wait.Seconds()) || len(got.Keys) != len(c.keys)) {
			t.Errorf("Recovery(%d keys, %q, %v) = %+v", len(c.keys), c.text, c.wait, got)
		}
	}
}

func TestOutsideCA(t *testing.T) {
	ca := pkitest.NewRoot(t, pkitest.Spec{Name: "root"})
	inter := ca.CA(pkitest.Spec{Name: "inter"})
	block := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	got, err := install.OutsideCA("example.org", append(block(inter.Cert.Raw), block(ca.Cert.Raw)...))
	if err != nil {
		t.Fatal(err)
	}
	want := []members.Anchor{{
		Name: "outside", Prefix: "spiffe://example.org/workload/", Roots: [][]byte{ca.Cert.Raw}, Intermediates: [][]byte{inter.Cert.Raw},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("anchors %+v", got)
	}
	for name, bundle := range map[string][]byte{"no PEM": []byte("hello"), "no root": block(inter.Cert.Raw), "nothing": nil} {
		if _, err := install.OutsideCA("example.org", bundle); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := install.OutsideCA("No Name", block(ca.Cert.Raw)); err == nil {
		t.Error("a domain of another name was taken")
	}
}
