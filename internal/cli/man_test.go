// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"path/filepath"
	"testing"
)

func TestManPagesAreThoseOfTheTree(t *testing.T) {
	dir := filepath.Join("..", "..", "docs", "man")
	pages := manPages(newRoot((&session{}).env()))
	for name, page := range pages {
		have, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(have) != string(page) {
			t.Errorf("%s is not up to date; run make generate (%v)", name, err)
		}
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if pages[f.Name()] == nil {
			t.Errorf("%s belongs to no command; remove it", f.Name())
		}
	}
}

func TestGenManWritesThePages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man")
	want(t, "exit status", (&session{}).run(t, "gen-man", dir), 0)
	for name, page := range manPages(newRoot((&session{}).env())) {
		want(t, name, read(t, filepath.Join(dir, name)), string(page))
	}
	file := filepath.Join(dir, "claviger.1")
	want(t, "a file is no directory", (&session{}).run(t, "gen-man", file), int(ExitFailure))
}
