// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"claviger/internal/members"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

func TestKeyFile(t *testing.T) {
	for _, c := range []struct {
		name       string
		seal, open func() Unlock
		want       error
	}{
		{"passphrase", func() Unlock { return Unlock{Passphrase: phrase()} }, func() Unlock { return Unlock{Passphrase: phrase()} }, nil},
		{"wrong passphrase", func() Unlock { return Unlock{Passphrase: phrase()} },
			func() Unlock { return Unlock{Passphrase: secret.Take([]byte("correct horse batterx"))} }, root.ErrWrongPassphrase},
		{"key file", keyA, keyA, nil},
		{"wrong key file", keyA, func() Unlock { return Unlock{Key: secret.Take(bytes.Repeat([]byte{2}, 32))} }, root.ErrWrongKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			key := GenerateKey()
			data, err := sealKey("alice", key, c.seal(), cheap)
			if err != nil {
				t.Fatal(err)
			}
			got, err := openKey(data, c.open())
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err != nil {
				return
			}
			signature, err := got.Sign(nil, []byte("message"), nullHash{})
			if err != nil || !ed25519.Verify(key.public, []byte("message"), signature) {
				t.Errorf("the opened key signs differently: %v", err)
			}
		})
	}
}

type nullHash struct{}

func (nullHash) HashFunc() crypto.Hash { return 0 }

func keyA() Unlock { return Unlock{Key: secret.Take(bytes.Repeat([]byte{1}, 32))} }

func TestKeyFileRefusals(t *testing.T) {
	key := GenerateKey()
	for name, u := range map[string]Unlock{
		"nothing": {}, "both": {Passphrase: phrase(), Key: keyA().Key},
		"short passphrase": {Passphrase: secret.Take([]byte("elevenbytes"))},
		"short key file":   {Key: secret.Take(make([]byte, 31))},
	} {
		if _, err := sealKey("alice", key, u, cheap); err == nil {
			t.Errorf("sealed under %s", name)
		}
	}
	for name, cost := range map[string]root.Cost{
		"cheap": {MemoryKiB: 19<<10 - 1, Passes: 2, Lanes: 1}, "dear": {MemoryKiB: 1<<20 + 1, Passes: 2, Lanes: 1},
		"one pass": {MemoryKiB: 19 << 10, Passes: 1, Lanes: 1}, "many passes": {MemoryKiB: 19 << 10, Passes: 17, Lanes: 1},
		"many lanes": {MemoryKiB: 19 << 10, Passes: 2, Lanes: 17},
	} {
		if _, err := sealKey("alice", key, Unlock{Passphrase: phrase()}, cost); err == nil {
			t.Errorf("%s cost taken", name)
		}
	}
	if _, err := sealKey("Alice!", key, keyA(), cheap); err == nil {
		t.Error("an unusable name taken")
	}
}

// TestKeyFileIsCovered flips each byte of a key file: it opens no more.
func TestKeyFileIsCovered(t *testing.T) {
	data, err := sealKey("alice", GenerateKey(), keyA(), cheap)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1
		if _, err := openKey(bad, keyA()); err == nil {
			t.Errorf("opens with byte %d changed", i)
		}
	}
	if _, err := openKey(append(bytes.Clone(data), 0), keyA()); !errors.Is(err, ErrKeyFile) {
		t.Errorf("opens with a byte more: %v", err)
	}
}

// TestKeyFileNamesItsKey: a file that was made to show another public key than
// the one inside doesn't open, although its seal is right.
func TestKeyFileNamesItsKey(t *testing.T) {
	mine, theirs := GenerateKey(), GenerateKey()
	forged := &Key{seed: mine.seed, public: theirs.public}
	data, err := sealKey("alice", forged, keyA(), cheap)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openKey(data, keyA()); !errors.Is(err, ErrKeyFile) {
		t.Errorf("got %v", err)
	}
}

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
	if err != nil || !opened.public.Equal(key.public) {
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

func TestPublicText(t *testing.T) {
	k := memberKey(t, "alice", GenerateKey().Public())
	got, err := ParseNamedKey(FormatNamedKey(k))
	if err != nil || got.Name != k.Name || !bytes.Equal(got.Public, k.Public) {
		t.Errorf("%+v, %v", got, err)
	}
	whole := FormatPublic(k.Public)
	for _, bad := range []string{"", "alice", "=" + whole, "Al ice=" + whole, "alice=" + whole[1:], "alice=" + whole + "A", "alice=" + whole[:len(whole)-1]} {
		if k, err := ParseNamedKey(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, members.Key(k))
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
	for _, bad := range []string{"", "clv1_" + text[8:], text[:len(text)-2], text + "AAAA"} {
		if _, err := ParseInvite(bad); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzKeyFile(f *testing.F) {
	data, err := sealKey("alice", GenerateKey(), keyA(), cheap)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := parseKey(data)
		if err == nil && !bytes.Equal(wire.Marshal(*k), data) {
			t.Error("two encodings of one file")
		}
	})
}

func FuzzInvite(f *testing.F) {
	f.Add(Invite{Addresses: []string{"a:1"}}.Text())
	f.Fuzz(func(t *testing.T, text string) {
		if i, err := ParseInvite(text); err == nil && i.Text() != strings.TrimSpace(text) {
			t.Error("two texts of one invite")
		}
	})
}
