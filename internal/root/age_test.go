// SPDX-License-Identifier: Apache-2.0

package root

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"claviger/internal/secret"
)

// TestAgeProgram lets custodians decrypt their shares as they will: X25519
// shares with the age that is installed (Debian's 1.1.1 is old enough to be in
// every custodian's hands), hybrid ones with the age of the module.
func TestAgeProgram(t *testing.T) {
	installed, err := exec.LookPath("age")
	if err != nil {
		t.Fatal("age is not installed: apt-get install age")
	}
	current := buildAge(t)
	classical, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	dir, created := create(t, Sealing{Threshold: 2, Recipients: []string{
		classical.Recipient().String(), hybrid.Recipient().String(), x25519(t),
	}})
	shares := []*secret.Bytes{
		ageDecrypt(t, installed, dir, 1, classical),
		ageDecrypt(t, current, dir, 2, hybrid),
	}
	wantOpen(t, dir, Unlock{Shares: shares}, created)
	again := ageDecrypt(t, current, dir, 1, classical)
	if !again.Equal(shares[0]) {
		t.Error("two ages decrypt one share to two texts")
	}
}

// buildAge builds the program from the module that go.mod names. It is built as
// its own main module, so that what only the program needs stays out of ours.
func buildAge(t *testing.T) string {
	t.Helper()
	source, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "filippo.io/age").Output()
	if err != nil {
		t.Fatalf("find the age module: %v", err)
	}
	program := filepath.Join(t.TempDir(), "age")
	build := exec.CommandContext(t.Context(), "go", "build", "-C", strings.TrimSpace(string(source)), "-o", program, "./cmd/age")
	build.Env = append(os.Environ(), "GOTOOLCHAIN=local", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build age: %v\n%s", err, out)
	}
	return program
}

// ageDecrypt runs `age -d -i IDENTITY FILE` and returns what it prints.
func ageDecrypt(t *testing.T, program, dir string, index int, identity fmt.Stringer) *secret.Bytes {
	t.Helper()
	sealed, err := SealedShare(dir, index)
	if err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	file, key := filepath.Join(work, "share.age"), filepath.Join(work, "identity")
	for path, data := range map[string]string{file: string(sealed), key: identity.String() + "\n"} {
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.CommandContext(t.Context(), program, "-d", "-i", key, file)
	var complaint strings.Builder
	command.Stderr = &complaint
	text, err := command.Output()
	if err != nil {
		t.Fatalf("age -d of share %d: %v: %s", index, err, complaint.String())
	}
	return secret.Take(text)
}
