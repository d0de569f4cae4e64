// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"
)

// TestRoundTrip: what is measured is encryption that can be undone.
func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	plain := make([]byte, 3<<20+17)
	rand.Read(plain)
	if err := os.WriteFile(path("plain"), plain, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range All {
		if err := run(All, []string{p.Name, "encrypt", path("plain"), path("object")}); err != nil {
			t.Errorf("%s: %v", p.Name, err)
			continue
		}
		object, err := os.ReadFile(path("object"))
		if err != nil {
			t.Fatal(err)
		}
		if len(object) <= len(plain) || bytes.Contains(object, plain[:64]) {
			t.Errorf("%s: %d bytes became %d that aren't sealed", p.Name, len(plain), len(object))
		}
		if err := run(All, []string{p.Name, "decrypt", path("object"), path("back")}); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		if back, err := os.ReadFile(path("back")); err != nil || !bytes.Equal(back, plain) {
			t.Errorf("%s: %d bytes came back, %v", p.Name, len(back), err)
		}
		object[len(object)/2] ^= 1
		if err := os.WriteFile(path("object"), object, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := run(All, []string{p.Name, "decrypt", path("object"), path("back")}); err == nil {
			t.Errorf("%s decrypts what was changed: no peer", p.Name)
		}
	}
	for _, args := range [][]string{nil, {"age", "both", "a", "b"}, {"nobody", "encrypt", "a", "b"}} {
		if run(All, args) == nil {
			t.Errorf("%q ran", args)
		}
	}
}
