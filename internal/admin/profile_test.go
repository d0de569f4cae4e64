// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"claviger/internal/secret"
	"claviger/internal/wire"
)

func keyA() Unlock { return Unlock{Key: secret.Take(bytes.Repeat([]byte{1}, 32))} }

func TestProfile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "alice")
	content := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(content, bytes.Repeat([]byte{1}, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	p, key, err := CreateProfile(dir, NewProfile{Name: "alice", Demo: true, Unlock: keyA(), KeyFile: content})
	if err != nil {
		t.Fatal(err)
	}
	domain := wire.DomainID{7}
	if err := p.Join(domain, []string{"127.0.0.1:8443"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Join(wire.DomainID{8}, nil, nil); !errors.Is(err, ErrOtherDomain) {
		t.Errorf("another domain: %v", err)
	}
	again, err := OpenProfile(dir)
	if err != nil || again.Domain != domain || again.Name != "alice" || !again.Demo || again.Addresses[0] != "127.0.0.1:8443" {
		t.Fatalf("%+v, %v", again, err)
	}
	opened, err := again.Key(nil)
	if err != nil || !opened.Public().(ed25519.PublicKey).Equal(key.Public()) {
		t.Errorf("key file: %v", err)
	}
	if _, _, err := CreateProfile(dir, NewProfile{Name: "bob", Unlock: keyA(), KeyFile: content}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over another profile: %v", err)
	}
	for _, f := range []string{ProfileFile, KeyFileName} {
		if info, err := os.Stat(filepath.Join(dir, f)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, info.Mode(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info.Mode(), err)
	}
}

func TestProfileWithoutAKeyFileIsLocked(t *testing.T) {
	p, _, err := CreateProfile(filepath.Join(t.TempDir(), "alice"), NewProfile{Name: "alice", Unlock: Unlock{Passphrase: phrase()}, Cost: cheap})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Key(nil); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v", err)
	}
	if _, err := p.Key(phrase()); err != nil {
		t.Error(err)
	}
	if _, err := Offline(p); !errors.Is(err, ErrNotJoined) {
		t.Errorf("offline: %v", err)
	}
	if _, err := Connect(t.Context(), p, Options{}); !errors.Is(err, ErrNotJoined) {
		t.Errorf("connect: %v", err)
	}
}

func TestProfileIsStrict(t *testing.T) {
	for name, c := range map[string]struct{ old, new string }{
		"member twice": {`"demo"`, `"name":"x","demo"`}, "another case": {`"demo"`, `"Demo"`},
		"unknown member": {`"demo"`, `"extra":1,"demo"`}, "newer schema": {`"schema": 1`, `"schema": 2`},
		"another kind": {`"kind": "admin"`, `"kind": "client"`}, "no name": {`"alice"`, `""`},
		"short domain": {`"demo": false`, `"demo":false,"domain":"00"`}, "trailing": {"}\n", "}{}"},
		"another's key": {`"alice"`, `"bob"`}, "no JSON": {"{", ""},
	} {
		p, _, err := CreateProfile(filepath.Join(t.TempDir(), "alice"), NewProfile{Name: "alice", Unlock: Unlock{Passphrase: phrase()}, Cost: cheap})
		if err != nil {
			t.Fatal(err)
		}
		data, err := p.readFile(ProfileFile, maxProfile)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(data), c.old, c.new, 1)
		if changed == string(data) {
			t.Fatalf("%s: nothing to change in %s", name, data)
		}
		if err := p.writeFile(ProfileFile, []byte(changed)); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenProfile(p.Dir()); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestInviteText(t *testing.T) {
	i := Invite{Domain: wire.DomainID{1}, Members: wire.Hash{2}, Demo: true, Addresses: []string{"127.0.0.1:8443"}}
	got, err := ParseInvite(i.Text() + "\n")
	if err != nil || got.Domain != i.Domain || got.Members != i.Members || !got.Demo || len(got.Addresses) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	text := i.Text()
	for _, bad := range []string{"", "clv1_" + text[8:], text[:len(text)-2], text + "AAAA", text[:20] + "\n" + text[20:]} {
		if _, err := ParseInvite(bad); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzInvite(f *testing.F) {
	f.Add(Invite{Addresses: []string{"a:1"}}.Text())
	f.Fuzz(func(t *testing.T, text string) {
		if i, err := ParseInvite(text); err == nil && i.Text() != strings.TrimSpace(text) {
			t.Error("two texts of one invite")
		}
	})
}
