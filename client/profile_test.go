// SPDX-License-Identifier: Apache-2.0

package client

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"claviger/client/internal/identity"
)

const goodProfile = `{"schema":1,"kind":"client","demo":false,"domain":"` +
	`000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f","addresses":["127.0.0.1:8443"],` +
	`"client":"spiffe://acme/workload/app","keys":[{"name":"payments/cards"}]}`

func openText(t testing.TB, text string) (*Profile, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, fileProfile), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return OpenProfile(dir)
}

func TestOpenProfile(t *testing.T) {
	p, err := openText(t, goodProfile)
	if err != nil || p.Client != app || p.Keys[0].Name != "payments/cards" || p.domain[31] != 0x1f {
		t.Fatalf("OpenProfile = %+v, %v", p, err)
	}
	if _, err := OpenProfile(t.TempDir()); !errors.Is(err, ErrNotFound) {
		t.Errorf("an empty directory: %v", err)
	}
	for name, change := range map[string][2]string{
		"another schema":  {`"schema":1`, `"schema":2`},
		"another kind":    {`"kind":"client"`, `"kind":"admin"`},
		"a field more":    {`"demo":false`, `"demo":false,"quorum":1`},
		"short domain":    {`1c1d1e1f`, `1c1d1e`},
		"domain not hex":  {`1c1d1e1f`, `1c1d1e1g`},
		"no address":      {`["127.0.0.1:8443"]`, `[]`},
		"many addresses":  {`["127.0.0.1:8443"]`, `["a:1"` + strings.Repeat(`,"a:1"`, 16) + `]`},
		"client":          {`workload/app`, `workload/App`},
		"key name":        {`payments/cards`, `payments/../cards`},
		"key id":          {`"payments/cards"`, `"payments/cards","id":"00"`},
		"only a cert":     {`"demo":false`, `"demo":false,"cert_file":"c"`},
		"a field twice":   {`"demo":false`, `"demo":false,"demo":false`},
		"another case":    {`"demo":false`, `"Demo":false`},
		"something after": {`}]}`, `}]}{}`},
		"cut":             {`}]}`, `}]`},
	} {
		if p, err := openText(t, strings.Replace(goodProfile, change[0], change[1], 1)); err == nil || p != nil {
			t.Errorf("%s is read", name)
		}
	}
	if _, err := openText(t, goodProfile+strings.Repeat(" ", maxProfile)); err == nil {
		t.Error("a profile beyond its limit is read")
	}
}

// TestDamagedProfile: what is damaged is said, and nobody is asked.
func TestDamagedProfile(t *testing.T) {
	for _, name := range []string{identity.FileCert, identity.FileKey, "members", "mark", "pins.json"} {
		w := newWorld(t)
		w.seal("writes mark and pins")
		for _, damage := range []string{"rot", ""} {
			if err := os.WriteFile(filepath.Join(w.profile.Dir, name), []byte(damage), 0o600); err != nil {
				t.Fatal(err)
			}
			if c, err := Dial(t.Context(), w.profile, Options{Clock: w.clock}); err == nil || c != nil {
				t.Errorf("%s damaged (%q): opened", name, damage)
			}
		}
	}
}

// TestForeignIdentity: certificate, key and client have to belong together.
func TestForeignIdentity(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	second := w.enrol("other")
	copyFile := func(from, to, name string) {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	copyFile(other.profile.Dir, w.profile.Dir, identity.FileKey)
	if _, err := Dial(t.Context(), w.profile, Options{Clock: w.clock}); !errors.Is(err, identity.ErrMismatch) {
		t.Errorf("another key: %v", err)
	}
	copyFile(second.Dir, w.profile.Dir, identity.FileKey)
	copyFile(second.Dir, w.profile.Dir, identity.FileCert)
	if _, err := Dial(t.Context(), w.profile, Options{Clock: w.clock}); err == nil {
		t.Error("another client's certificate is used")
	}
}

// TestOtherMembers: a member chain of another domain in the profile is refused.
func TestOtherMembers(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	chain, err := other.client.kept.Members()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(w.profile.Dir, "members")); err != nil {
		t.Fatal(err)
	}
	if err := w.client.kept.SaveMembers(chain); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(t.Context(), w.profile, Options{Clock: w.clock}); !errors.Is(err, ErrIntegrity) {
		t.Errorf("Dial = %v", err)
	}
}

func FuzzProfile(f *testing.F) {
	f.Add(goodProfile)
	f.Add(`{}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseProfile("dir", []byte(text))
		if err != nil {
			return
		}
		data, err := p.encode()
		if err != nil {
			t.Fatalf("a profile that was read can't be written: %v", err)
		}
		if again, err := parseProfile("dir", data); err != nil || again.Client != p.Client || again.domain != p.domain {
			t.Errorf("a profile that was written can't be read: %v", err)
		}
	})
}
