// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The strict mode is read at start, so a second process runs the tests of the
// primitives in it.
func TestUnderFIPS140Only(t *testing.T) {
	if strings.Contains(os.Getenv("GODEBUG"), "fips140=only") {
		return // this is the second process, or the whole run is strict
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.v", "-test.run=^Test(SelfTest|AEAD|HMAC|HKDF|Wycheproof)")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestSelfTest") {
		t.Errorf("under GODEBUG=fips140=only: %v\n%s", err, out)
	}
}
