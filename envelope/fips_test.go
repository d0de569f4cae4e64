// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestEnforcement shows that what TestFIPSOnly relies on is there: raw AES-GCM with
// a chosen nonce is refused exactly in such a process.
func TestEnforcement(t *testing.T) {
	block, err := aes.NewCipher(random(32))
	if err != nil {
		t.Fatal(err)
	}
	_, err = cipher.NewGCM(block)
	if refused := err != nil; refused != fips140.Enforced() {
		t.Errorf("enforced %v, refused %v", fips140.Enforced(), refused)
	}
	t.Logf("enforced: %v", fips140.Enforced())
}

// TestFIPSOnly runs the tests that seal and open in every way again, in a process
// that refuses everything FIPS 140 doesn't approve.
func TestFIPSOnly(t *testing.T) {
	const tests = "^(TestEnforcement|TestEveryWay|TestField|TestRewrap|TestKeysChoose|TestEveryBitFlipped)$"
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", tests, "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := strings.Count(string(out), "\n--- PASS"); got != 6 || !strings.Contains(string(out), "enforced: true") {
		t.Errorf("%d tests ran, or not enforced:\n%s", got, out)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Errorf("a test was skipped:\n%s", out)
	}
}
