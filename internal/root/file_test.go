// SPDX-License-Identifier: Apache-2.0

package root

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"claviger/internal/secret"
)

func fileOf(t *testing.T, dir string) []byte {
	t.Helper()
	data, err := Export(dir)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// place writes data as the custody file of a new directory, unchecked.
func place(t *testing.T, data []byte) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// edited decodes data, changes it, and writes it in the form in which files
// are written: what is left to refuse it is the seal.
func edited(t *testing.T, data []byte, change func(*custodyFile)) string {
	t.Helper()
	f, err := decode(data)
	if err != nil {
		t.Fatal(err)
	}
	change(f)
	data, err = f.encode()
	if err != nil {
		t.Fatal(err)
	}
	return place(t, data)
}

// TestEveryByte changes each byte of a file: it opens no more.
func TestEveryByte(t *testing.T) {
	dir, _ := create(t, Sealing{Key: testKey(1)})
	data := fileOf(t, dir)
	for i := range data {
		for _, flip := range []byte{0x01, 0x20, 0x80} {
			changed := bytes.Clone(data)
			changed[i] ^= flip
			if _, err := Open(place(t, changed), Unlock{Key: testKey(1)}); err == nil {
				t.Fatalf("byte %d ^ %#x was accepted", i, flip)
			}
		}
	}
	for n := range data {
		if _, err := decode(data[:n]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("the first %d bytes: %v", n, err)
		}
	}
}

// TestHeaderIsSealed changes members that are well-formed and that nothing but
// the seal covers.
func TestHeaderIsSealed(t *testing.T) {
	dir, _ := create(t, Sealing{Key: testKey(1)})
	for name, test := range map[string]struct {
		change func(*custodyFile)
		want   error
	}{
		"generation":  {func(f *custodyFile) { f.Generation = 2 }, ErrDamaged},
		"fingerprint": {func(f *custodyFile) { f.Fingerprint[0] ^= 1 }, ErrDamaged},
		"sealed":      {func(f *custodyFile) { f.KeyFile.Sealed[0] ^= 1 }, ErrDamaged},
		"salt":        {func(f *custodyFile) { f.KeyFile.Salt[0] ^= 1 }, ErrWrongKey},
		"key check":   {func(f *custodyFile) { f.KeyFile.Check[0] ^= 1 }, ErrWrongKey},
	} {
		if _, err := Open(edited(t, fileOf(t, dir), test.change), Unlock{Key: testKey(1)}); !errors.Is(err, test.want) {
			t.Errorf("%s changed: %v, want %v", name, err, test.want)
		}
	}
	dir, _ = create(t, Sealing{Passphrase: take(goodPassphrase), Cost: cheap()})
	for name, change := range map[string]func(*custodyFile){
		"memory": func(f *custodyFile) { f.Passphrase.MemoryKiB++ },
		"passes": func(f *custodyFile) { f.Passphrase.Passes++ },
		"lanes":  func(f *custodyFile) { f.Passphrase.Lanes++ },
	} {
		if _, err := Open(edited(t, fileOf(t, dir), change), Unlock{Passphrase: take(goodPassphrase)}); !errors.Is(err, ErrWrongPassphrase) {
			t.Errorf("%s changed: %v", name, err)
		}
	}
}

// TestFingerprintIsChecked seals a secret under the description of another:
// the key is right and the seal covers its header.
func TestFingerprintIsChecked(t *testing.T) {
	f := &custodyFile{Format: formatName, Version: formatVersion, Generation: 1, Fingerprint: make([]byte, Size)}
	if err := f.sealKey(secret.Random(Size), testKey(1)); err != nil {
		t.Fatal(err)
	}
	data, err := f.encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(place(t, data), Unlock{Key: testKey(1)}); !errors.Is(err, ErrDamaged) {
		t.Errorf("Open = %v, want ErrDamaged", err)
	}
}

// TestDescriptionIsShared changes what a share set tells: every share notices.
func TestDescriptionIsShared(t *testing.T) {
	s := newSharing(t, 2, 3)
	texts := s.texts(t, 1, 3)
	for name, change := range map[string]func(*custodyFile){
		"generation":  func(f *custodyFile) { f.Generation = 2 },
		"fingerprint": func(f *custodyFile) { f.Fingerprint[0] ^= 1 },
		"threshold":   func(f *custodyFile) { f.Shares.Threshold = 1 },
		"custodian":   func(f *custodyFile) { f.Shares.Custodians[1].Recipient = x25519(t) },
		"order":       func(f *custodyFile) { slices.Reverse(f.Shares.Custodians) },
		"number":      func(f *custodyFile) { f.Shares.Custodians = f.Shares.Custodians[:2] },
		"sharing":     func(f *custodyFile) { f.Shares.Sharing[0] ^= 1 },
		"commitment":  func(f *custodyFile) { f.Shares.Custodians[0].Commitment[0] ^= 1 },
	} {
		dir := edited(t, fileOf(t, s.dir), change)
		var bad BadSharesError
		if _, err := Open(dir, Unlock{Shares: texts}); !errors.As(err, &bad) || bad[0].Position != 1 {
			t.Errorf("%s changed: %v", name, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	dir, _ := create(t, Sealing{Key: testKey(1)})
	good := string(fileOf(t, dir))
	shared := newSharing(t, 1, 2)
	replaced := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("file has no %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for name, test := range map[string]struct {
		data string
		want error
	}{
		"empty":             {"", ErrDamaged},
		"no object":         {"null\n", ErrDamaged},
		"other format":      {replaced(formatName, "root of something else"), ErrDamaged},
		"newer":             {replaced(`"version": 1`, `"version": 2`), ErrVersion},
		"newer, other form": {`{"format":"claviger root custody","version":3,"new":true}`, ErrVersion},
		"version 0":         {replaced(`"version": 1`, `"version": 0`), ErrDamaged},
		"trailing byte":     {good + "\n", ErrDamaged},
		"trailing object":   {good + "{}\n", ErrDamaged},
		"spaces":            {replaced(`"version": 1`, `"version":  1`), ErrDamaged},
		"doubled member":    {replaced(`"version": 1,`, `"version": 1,`+"\n"+`  "version": 1,`), ErrDamaged},
		"unknown member":    {replaced(`"version": 1,`, `"version": 1,`+"\n"+`  "more": 1,`), ErrDamaged},
		"upper-case member": {replaced(`"version"`, `"Version"`), ErrDamaged},
		"upper-case hex":    {replaced(`"fingerprint": "`, `"fingerprint": "AA`), ErrDamaged},
		"generation 0":      {replaced(`"generation": 1`, `"generation": 0`), ErrDamaged},
		"generation 2^63":   {replaced(`"generation": 1`, `"generation": 9223372036854775808`), ErrDamaged},
		"negative":          {replaced(`"generation": 1`, `"generation": -1`), ErrDamaged},
		"too long":          {good + strings.Repeat(" ", maxFile), ErrDamaged},
	} {
		if _, err := decode([]byte(test.data)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
		if _, err := Open(place(t, []byte(test.data)), Unlock{Key: testKey(1)}); !errors.Is(err, test.want) {
			t.Errorf("%s: Open = %v, want %v", name, err, test.want)
		}
	}
	if _, err := decode([]byte(good + strings.Repeat(" ", maxFile))); !strings.Contains(err.Error(), "more than") {
		t.Errorf("a long file was parsed: %v", err)
	}
	for name, change := range map[string]func(*custodyFile){
		"short fingerprint": func(f *custodyFile) { f.Fingerprint = f.Fingerprint[1:] },
		"no seal":           func(f *custodyFile) { f.Shares = nil },
		"two seals": func(f *custodyFile) {
			f.KeyFile = &keyFileSeal{Salt: make([]byte, saltSize), Check: make([]byte, Size), Sealed: make([]byte, sealedSize)}
		},
		"short salt": func(f *custodyFile) { f.Shares, f.KeyFile = nil, &keyFileSeal{Salt: make([]byte, 8)} },
		"no cost": func(f *custodyFile) {
			f.Shares, f.Passphrase = nil, &passphraseSeal{keyFileSeal: keyFileSeal{
				Salt: make([]byte, saltSize), Check: make([]byte, Size), Sealed: make([]byte, sealedSize)}}
		},
		"short sharing id":   func(f *custodyFile) { f.Shares.Sharing = f.Shares.Sharing[1:] },
		"threshold 0":        func(f *custodyFile) { f.Shares.Threshold = 0 },
		"threshold too high": func(f *custodyFile) { f.Shares.Threshold = 3 },
		"no custodians":      func(f *custodyFile) { f.Shares.Custodians = nil },
		"custodian twice":    func(f *custodyFile) { f.Shares.Custodians[1].Recipient = f.Shares.Custodians[0].Recipient },
		"no recipient":       func(f *custodyFile) { f.Shares.Custodians[1].Recipient = "me" },
		"control characters": func(f *custodyFile) { f.Shares.Custodians[1].Recipient = "age1\x1b[2J" },
		"long recipient":     func(f *custodyFile) { f.Shares.Custodians[1].Recipient = "age1" + strings.Repeat("q", 4096) },
		"no commitment":      func(f *custodyFile) { f.Shares.Custodians[1].Commitment = nil },
		"no share":           func(f *custodyFile) { f.Shares.Custodians[1].Sealed = "" },
		"long share":         func(f *custodyFile) { f.Shares.Custodians[1].Sealed = strings.Repeat("x", maxSealed+1) },
		"too many": func(f *custodyFile) {
			f.Shares.Custodians = slices.Repeat(f.Shares.Custodians, MaxShares)
		},
	} {
		dir := edited(t, fileOf(t, shared.dir), change)
		if _, err := Describe(dir); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFileHidesSecret looks for the secret in each kind of custody file.
func TestFileHidesSecret(t *testing.T) {
	for _, how := range []Sealing{
		{Key: testKey(1)},
		{Passphrase: take(goodPassphrase), Cost: cheap()},
		{Recipients: []string{x25519(t)}, Threshold: 1},
	} {
		dir, s := create(t, how)
		raw := []byte(exposed(s.bytes))
		for _, form := range [][]byte{raw, []byte(hex.EncodeToString(raw)), []byte(base64.StdEncoding.EncodeToString(raw))} {
			if bytes.Contains(fileOf(t, dir), form) {
				t.Error("the custody file shows the secret")
			}
		}
		if bytes.Contains(fileOf(t, dir), []byte(goodPassphrase)) {
			t.Error("the custody file shows the passphrase")
		}
	}
}

func TestWriteLeavesOldFile(t *testing.T) {
	dir := t.TempDir()
	if err := write(dir, []byte("old"), false); err != nil {
		t.Fatal(err)
	}
	if err := write(dir, []byte("new"), false); !errors.Is(err, os.ErrExist) {
		t.Errorf("second write = %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, FileName)); err != nil || string(got) != "old" {
		t.Errorf("file is %q (%v)", got, err)
	}
	if err := write(dir, []byte("new"), true); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, FileName)); err != nil || string(got) != "new" {
		t.Errorf("file is %q (%v)", got, err)
	}
	wantOnlyCustody(t, restrict(t, dir))
	if err := write(filepath.Join(dir, "missing"), []byte("x"), true); err == nil {
		t.Error("wrote into a missing directory")
	}
}

func restrict(t *testing.T, dir string) string {
	t.Helper()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func FuzzDecode(f *testing.F) {
	for _, name := range []string{"keyfile.json", "passphrase.json", "shares.json"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"format":"claviger root custody","version":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := decode(data)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
				t.Errorf("error of no known kind: %v", err)
			}
			return
		}
		again, err := file.encode()
		if err != nil || !bytes.Equal(data, again) {
			t.Errorf("accepted what encodes to something else (%v)", err)
		}
	})
}
