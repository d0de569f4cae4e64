// SPDX-License-Identifier: Apache-2.0

package owncert_test

import (
	"os"
	"path/filepath"
	"testing"

	"claviger/internal/clock"
	"claviger/internal/relay/owncert"
)

// TestOpen: the key is made once and stays; what is no key is neither taken for
// one nor written over.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	first, err := owncert.Open(dir, clock.System())
	if err != nil {
		t.Fatal(err)
	}
	again, err := owncert.Open(dir, clock.System())
	if err != nil || owncert.Pin(again) != owncert.Pin(first) {
		t.Errorf("another key after a restart: %v", err)
	}
	path := filepath.Join(dir, owncert.KeyFile)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	for _, text := range []string{"", "garbage", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := owncert.Open(dir, clock.System()); err == nil {
			t.Errorf("%q was taken for a key, or written over", text)
		}
	}
	if _, err := owncert.Open("/no/such/dir", clock.System()); err == nil {
		t.Error("a key without a directory")
	}
}
