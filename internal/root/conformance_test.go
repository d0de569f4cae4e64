// SPDX-License-Identifier: Apache-2.0

package root_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"claviger/internal/root"
	"claviger/internal/root/roottest"
	"claviger/internal/secret"
)

func TestConformance(t *testing.T) {
	key := secret.Take(bytes.Repeat([]byte{5}, root.MinKey))
	dir := filepath.Join(t.TempDir(), "root")
	created, err := root.Create(dir, 1, root.Sealing{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	created.Wipe()
	open := func(t *testing.T) roottest.Custody {
		s, err := root.Open(dir, root.Unlock{Key: key})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	roottest.Run(t, open, func(t *testing.T) roottest.Custody { return roottest.New(t) })
}
