// SPDX-License-Identifier: Apache-2.0

package root

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"claviger/internal/secret"
)

const goodPassphrase = "six words are better than one"

// cheap is the least cost that is allowed.
func cheap() Cost { return Cost{MemoryKiB: 19 << 10, Passes: 2, Lanes: 1} }

func testKey(fill byte) *secret.Bytes { return secret.Take(bytes.Repeat([]byte{fill}, MinKey)) }

func newDir(t *testing.T) string { return filepath.Join(t.TempDir(), "root") }

func create(t *testing.T, how Sealing) (dir string, s *Secret) {
	t.Helper()
	dir = newDir(t)
	s, err := Create(dir, 1, how)
	if err != nil {
		t.Fatal(err)
	}
	return dir, s
}

func derived(t *testing.T, s *Secret) *secret.Bytes {
	t.Helper()
	key, err := s.Derive("test", []byte("field"))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func wantOpen(t *testing.T, dir string, with Unlock, created *Secret) {
	t.Helper()
	s, err := Open(dir, with)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Wipe()
	if !derived(t, s).Equal(derived(t, created)) || s.Fingerprint() != created.Fingerprint() || s.Generation() != created.Generation() {
		t.Error("opened to another secret")
	}
}

func TestPassphrase(t *testing.T) {
	dir, created := create(t, Sealing{Passphrase: take(goodPassphrase), Cost: cheap()})
	wantOpen(t, dir, Unlock{Passphrase: take(goodPassphrase)}, created)
	for _, wrong := range []string{"", goodPassphrase + "\n", strings.ToUpper(goodPassphrase), strings.Repeat("x", MaxPassphrase+1)} {
		if _, err := Open(dir, Unlock{Passphrase: take(wrong)}); !errors.Is(err, ErrWrongPassphrase) {
			t.Errorf("Open with a wrong passphrase = %v", err)
		}
	}
	described, err := Describe(dir)
	if err != nil || described.Kind != KindPassphrase || described.Cost != cheap() ||
		described.Generation != 1 || described.Fingerprint != created.Fingerprint() {
		t.Errorf("Describe = %+v, %v", described, err)
	}
}

func TestDefaultCost(t *testing.T) {
	dir, created := create(t, Sealing{Passphrase: take(goodPassphrase)})
	described, err := Describe(dir)
	if err != nil || described.Cost != DefaultCost() {
		t.Errorf("Describe = %+v, %v", described, err)
	}
	wantOpen(t, dir, Unlock{Passphrase: take(goodPassphrase)}, created)
}

func TestKeyFile(t *testing.T) {
	dir, created := create(t, Sealing{Key: testKey(1)})
	wantOpen(t, dir, Unlock{Key: testKey(1)}, created)
	longer := secret.Take(append(bytes.Repeat([]byte{1}, MinKey), '\n'))
	for _, wrong := range []*secret.Bytes{testKey(2), longer, secret.New(0)} {
		if _, err := Open(dir, Unlock{Key: wrong}); !errors.Is(err, ErrWrongKey) {
			t.Errorf("Open with a wrong key = %v", err)
		}
	}
	fingerprint, err := Drill(dir, Unlock{Key: testKey(1)})
	if err != nil || fingerprint != created.Fingerprint() {
		t.Errorf("Drill = %x, %v", fingerprint, err)
	}
	if _, err := Drill(dir, Unlock{Key: testKey(2)}); !errors.Is(err, ErrWrongKey) {
		t.Errorf("Drill with a wrong key = %v", err)
	}
}

func TestUnlockOfAnotherKind(t *testing.T) {
	byKey, _ := create(t, Sealing{Key: testKey(1)})
	byPassphrase, _ := create(t, Sealing{Passphrase: take(goodPassphrase), Cost: cheap()})
	for dir, with := range map[string]Unlock{
		byKey:        {Passphrase: take(goodPassphrase)},
		byPassphrase: {Key: testKey(1)},
		newDir(t):    {Key: testKey(1)},
	} {
		if _, err := Open(dir, with); err == nil || errors.Is(err, ErrDamaged) {
			t.Errorf("Open = %v", err)
		}
	}
	if _, err := SealedShare(byKey, 1); !errors.Is(err, errNotShared) {
		t.Errorf("SealedShare = %v", err)
	}
	if _, err := CheckShare(byKey, testShare().encode()); !errors.Is(err, errNotShared) {
		t.Errorf("CheckShare = %v", err)
	}
}

func TestSealingRefused(t *testing.T) {
	x, y := x25519(t), x25519(t)
	many := make([]string, MaxShares+1)
	for i := range many {
		many[i] = x25519(t)
	}
	costs := []Cost{{19<<10 - 1, 2, 1}, {1<<20 + 1, 2, 1}, {19 << 10, 1, 1}, {19 << 10, 17, 1}, {19 << 10, 2, 0}, {19 << 10, 2, 17}}
	refused := []Sealing{
		{},
		{Passphrase: take("too short")},
		{Passphrase: take(strings.Repeat("x", MaxPassphrase+1))},
		{Key: secret.New(MinKey - 1)},
		{Key: secret.New(MaxKey + 1)},
		{Key: testKey(1), Passphrase: take(goodPassphrase)},
		{Key: testKey(1), Recipients: []string{x}, Threshold: 1},
		{Passphrase: take(goodPassphrase), Recipients: []string{x}, Threshold: 1},
		{Threshold: 1},
		{Recipients: []string{x}},
		{Recipients: []string{x, y}, Threshold: 3},
		{Recipients: []string{x, y}, Threshold: -1},
		{Recipients: []string{x, y, x}, Threshold: 2},
		{Recipients: []string{x, "age1yubikey1qqqq"}, Threshold: 2},
		{Recipients: []string{x, "ssh-ed25519 AAAA"}, Threshold: 2},
		{Recipients: []string{x, "age1pq1qqqq"}, Threshold: 2},
		{Recipients: []string{x, y + "q"}, Threshold: 2},
		{Recipients: many, Threshold: 2},
	}
	for _, cost := range costs {
		refused = append(refused, Sealing{Passphrase: take(goodPassphrase), Cost: cost})
	}
	for i, how := range refused {
		dir := newDir(t)
		if _, err := Create(dir, 1, how); err == nil {
			t.Errorf("sealing %d was taken", i)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("sealing %d left something: %v", i, err)
		}
	}
	for _, generation := range []uint64{0, 1 << 63} {
		if _, err := Create(newDir(t), generation, Sealing{Key: testKey(1)}); err == nil {
			t.Errorf("generation %d was taken", generation)
		}
	}
}

func TestCreateNeverReplaces(t *testing.T) {
	dir, created := create(t, Sealing{Key: testKey(1)})
	if _, err := Create(dir, 1, Sealing{Key: testKey(1)}); !errors.Is(err, os.ErrExist) {
		t.Errorf("second Create = %v", err)
	}
	data, err := Export(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := Import(dir, data); !errors.Is(err, os.ErrExist) {
		t.Errorf("Import over a root = %v", err)
	}
	wantOpen(t, dir, Unlock{Key: testKey(1)}, created)
	wantOnlyCustody(t, dir)
}

// wantOnlyCustody checks modes, and that no temporary file is left.
func wantOnlyCustody(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != FileName {
		t.Fatalf("directory holds %v (%v)", entries, err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, FileName): 0o600} {
		stat, err := os.Stat(path)
		if err != nil || stat.Mode().Perm() != want {
			t.Errorf("%s: mode %v (%v), want %v", filepath.Base(path), stat.Mode().Perm(), err, want)
		}
	}
}

func TestOpenDirectory(t *testing.T) {
	dir := newDir(t)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(dir, 1, Sealing{Key: testKey(1)}); err == nil {
		t.Error("a directory open to others was taken")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(file, 1, Sealing{Key: testKey(1)}); err == nil || !strings.Contains(err.Error(), "no directory") {
		t.Errorf("a file for the directory: %v", err)
	}
}

func TestReseal(t *testing.T) {
	dir, created := create(t, Sealing{Key: testKey(1)})
	if err := Reseal(dir, created, Sealing{Passphrase: take(goodPassphrase), Cost: cheap()}); err != nil {
		t.Fatal(err)
	}
	wantOpen(t, dir, Unlock{Passphrase: take(goodPassphrase)}, created)
	wantOnlyCustody(t, dir)

	if err := Reseal(dir, created, Sealing{Key: secret.New(1)}); err == nil {
		t.Error("a short key was taken")
	}
	_, other := create(t, Sealing{Key: testKey(1)})
	if err := Reseal(dir, other, Sealing{Key: testKey(1)}); err == nil {
		t.Error("another root replaced this one")
	}
	wantOpen(t, dir, Unlock{Passphrase: take(goodPassphrase)}, created)
	created.Wipe()
	if err := Reseal(dir, created, Sealing{Key: testKey(1)}); !errors.Is(err, ErrWiped) {
		t.Errorf("Reseal of a wiped secret = %v", err)
	}
}

func TestExportImport(t *testing.T) {
	dir, created := create(t, Sealing{Key: testKey(1)})
	data, err := Export(dir)
	if err != nil {
		t.Fatal(err)
	}
	onDisk, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil || !bytes.Equal(data, onDisk) {
		t.Errorf("Export differs from the file (%v)", err)
	}
	restored := newDir(t)
	if err := Import(restored, data); err != nil {
		t.Fatal(err)
	}
	wantOpen(t, restored, Unlock{Key: testKey(1)}, created)
	wantOnlyCustody(t, restored)
	if err := Import(newDir(t), data[:len(data)-1]); !errors.Is(err, ErrDamaged) {
		t.Errorf("Import of a cut file = %v", err)
	}
	if _, err := Export(newDir(t)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Export of nothing = %v", err)
	}
}

func TestReadKey(t *testing.T) {
	write := func(name string, size int, mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, bytes.Repeat([]byte{7}, size), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // past the umask
			t.Fatal(err)
		}
		return path
	}
	key, err := ReadKey(write("good", MinKey, 0o440))
	if err != nil || !key.Equal(testKey(7)) {
		t.Errorf("ReadKey = %v, %v", key, err)
	}
	for _, path := range []string{
		write("short", MinKey-1, 0o600), write("long", MaxKey+1, 0o600), write("open", MinKey, 0o604),
		t.TempDir(), filepath.Join(t.TempDir(), "missing"),
	} {
		if _, err := ReadKey(path); err == nil {
			t.Errorf("ReadKey took %s", filepath.Base(path))
		}
	}
}

func TestSecret(t *testing.T) {
	_, s := create(t, Sealing{Key: testKey(1)})
	if _, err := s.Derive(""); err == nil {
		t.Error("an empty label was taken")
	}
	if _, err := s.Derive("test", nil, make([]byte, MaxField)); err != nil {
		t.Error(err)
	}
	if _, err := s.Derive("test", nil, make([]byte, MaxField+1)); err == nil {
		t.Error("too long a field was taken")
	}
	raw := exposed(s.bytes)
	for _, shown := range []string{fmt.Sprintf("%v", s), fmt.Sprintf("%+v", s), fmt.Sprintf("%#v", s), fmt.Sprintf("%x", s)} {
		if strings.Contains(shown, raw) || strings.Contains(shown, fmt.Sprintf("%x", raw)) || strings.Contains(shown, fmt.Sprint([]byte(raw))) {
			t.Errorf("formatting shows the secret: %s", shown)
		}
	}
	s.Wipe()
	s.Wipe()
	if _, err := s.Derive("test"); !errors.Is(err, ErrWiped) {
		t.Errorf("Derive after Wipe = %v", err)
	}
}

// TestDerivation pins fingerprint and derived keys for the root 00 01 … 1f; the
// wanted values come from a separate HKDF in Python.
func TestDerivation(t *testing.T) {
	bytes := secret.New(Size)
	for i := range bytes.Expose() {
		bytes.Expose()[i] = byte(i)
	}
	s := newSecret(bytes, 1)
	defer s.Wipe()
	const fingerprint = "3fdcf66e4eee24720c13d12172e875091cb3a78c243afc315e4f7faeff974cd1"
	if got := fmt.Sprintf("%x", s.Fingerprint()); got != fingerprint {
		t.Errorf("fingerprint = %s, want %s", got, fingerprint)
	}
	key, err := s.Derive("domain", []byte{1, 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const derived = "0d7d6a49651386df108baa6fedf62091bda62e979bf0573beb0d2800d4840ecd"
	if got := fmt.Sprintf("%x", key.Expose()); got != derived {
		t.Errorf("derived key = %s, want %s", got, derived)
	}
}

// TestInfo pins the framing: every derived key depends on it.
func TestInfo(t *testing.T) {
	got := string(info("derive", []byte("domain"), nil, []byte{1, 2}))
	want := "\x17claviger/root/v1/derive\x00\x00\x00\x06domain\x00\x00\x00\x00\x00\x00\x00\x02\x01\x02"
	if got != want {
		t.Errorf("info = %q, want %q", got, want)
	}
}
