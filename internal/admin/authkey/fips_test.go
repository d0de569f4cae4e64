// SPDX-License-Identifier: Apache-2.0

package authkey

import (
	"bytes"
	"crypto/fips140"
	"errors"
	"os"
	"os/exec"
	"testing"

	"claviger/internal/root"
)

// TestFIPS runs itself again under GODEBUG=fips140=only, which has to stand
// before a program starts: there passphrases are refused and key files work.
func TestFIPS(t *testing.T) {
	if !fips140.Enforced() {
		again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^(TestFIPS|TestKeyFileIsCovered)$", "-test.v")
		again.Env = append(os.Environ(), "GODEBUG=fips140=only")
		out, err := again.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("--- PASS: TestFIPS")) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if _, err := Seal("alice", Generate(), Unlock{Passphrase: phrase()}, cheap); !errors.Is(err, root.ErrFIPS) {
		t.Errorf("a passphrase: %v", err)
	}
	data, err := Seal("alice", Generate(), keyA(), cheap)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(data, keyA()); err != nil {
		t.Errorf("a key file: %v", err)
	}
}
