// SPDX-License-Identifier: Apache-2.0

package root

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"claviger/internal/secret"
)

// TestOldFiles opens files that were written once and are kept: a change that
// can't read them would lock people out of their roots. All seal one made-up
// secret, 00 01 … 1f, so its fingerprint is the one of TestDerivation.
func TestOldFiles(t *testing.T) {
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	share := func(index int) *secret.Bytes { return secret.Take(read(fmt.Sprintf("share-%d.txt", index))) }
	for name, with := range map[string]Unlock{
		"keyfile.json":    {Key: testKey(1)},
		"passphrase.json": {Passphrase: take(goodPassphrase)},
		"shares.json":     {Shares: []*secret.Bytes{share(3), share(1)}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newDir(t)
			if err := Import(dir, read(name)); err != nil {
				t.Fatal(err)
			}
			fingerprint, err := Drill(dir, with)
			if err != nil {
				t.Fatal(err)
			}
			const want = "3fdcf66e4eee24720c13d12172e875091cb3a78c243afc315e4f7faeff974cd1"
			if got := fmt.Sprintf("%x", fingerprint); got != want {
				t.Errorf("recovered the root %s, want %s", got, want)
			}
		})
	}
}
