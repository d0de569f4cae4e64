// SPDX-License-Identifier: Apache-2.0

package root

import (
	"bytes"
	"crypto/fips140"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"claviger/internal/secret"
)

// TestFIPS runs this test binary again under GODEBUG=fips140=only, where the
// setting has to stand before the program starts.
func TestFIPS(t *testing.T) {
	if fips140.Enforced() {
		testFIPS(t)
		return
	}
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^(TestFIPS|TestKeyFile|TestField|TestSplitCombine)$", "-test.v")
	command.Env = append(os.Environ(), "GODEBUG=fips140=only")
	out, err := command.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestFIPS")) || !bytes.Contains(out, []byte("--- PASS: TestKeyFile")) {
		t.Errorf("under fips140=only: %v\n%s", err, out)
	}
}

func testFIPS(t *testing.T) {
	const classical = "age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq"
	for _, how := range []Sealing{
		{Passphrase: take(goodPassphrase), Cost: cheap()},
		{Recipients: []string{classical}, Threshold: 1},
	} {
		if _, err := Create(newDir(t), 1, how); !errors.Is(err, ErrFIPS) {
			t.Errorf("Create = %v, want ErrFIPS", err)
		}
	}
	kept := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	dir := newDir(t)
	if err := Import(dir, kept("passphrase.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Unlock{Passphrase: take(goodPassphrase)}); !errors.Is(err, ErrFIPS) {
		t.Errorf("Open with a passphrase = %v, want ErrFIPS", err)
	}
	dir = newDir(t)
	if err := Import(dir, kept("shares.json")); err != nil {
		t.Fatal(err)
	}
	var shares []*secret.Bytes
	for _, index := range []int{1, 3} {
		shares = append(shares, secret.Take(kept(fmt.Sprintf("share-%d.txt", index))))
	}
	if _, err := Drill(dir, Unlock{Shares: shares}); err != nil { // no age is needed for that
		t.Errorf("Drill from shares = %v", err)
	}
}
