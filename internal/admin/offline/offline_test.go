// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"claviger/internal/wire"
)

// What no server of the domain signed is told apart from receipts, and what
// can't be read is an error: a receipt that is not looked for proves nothing.
func TestForeignReceipts(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b", "a"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("no grant"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	found, foreign, err := readReceipts(dir, wire.DomainID{1}, map[wire.ServerID]ed25519.PublicKey{})
	if err != nil || len(found) > 0 || !slices.Equal(foreign, []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}) {
		t.Errorf("%v, %v, %v", found, foreign, err)
	}
	if _, _, err := readReceipts(filepath.Join(dir, "none"), wire.DomainID{1}, nil); err == nil {
		t.Error("a directory that is not there")
	}
	if err := os.Symlink(filepath.Join(dir, "gone"), filepath.Join(dir, "c")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := readReceipts(dir, wire.DomainID{1}, nil); err == nil {
		t.Error("a receipt that can't be read is passed over")
	}
}
