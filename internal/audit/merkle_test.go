// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"claviger/internal/wire"
)

// TestTreeAgainstTlog compares every root and every full tile with another
// implementation of RFC 6962 and of tiles.
func TestTreeAgainstTlog(t *testing.T) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(index []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(index))
		for i, x := range index {
			out[i] = stored[x]
		}
		return out, nil
	})
	var tr tree
	const leaves = 2*tileWidth*3 + 7
	for i := range int64(leaves) {
		want, err := tlog.TreeHash(i, reader)
		if i > 0 && err != nil {
			t.Fatal(err)
		}
		if i > 0 && wire.Hash(want) != tr.root() {
			t.Fatalf("root at %d leaves differs", i)
		}
		body := fmt.Appendf(nil, "leaf %d", i)
		hashes, err := tlog.StoredHashes(i, body, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
		if wire.Hash(tlog.RecordHash(body)) != leafHash(body) {
			t.Fatal("leaf hash differs")
		}
		tr.append(leafHash(body))
	}
	full := tr.takeFull()
	if len(full) != leaves/tileWidth {
		t.Fatalf("%d full tiles", len(full))
	}
	for _, f := range full {
		data, err := tlog.ReadTileData(tlog.Tile{H: tileHeight, L: f.level, N: int64(f.number), W: tileWidth}, reader)
		if err != nil {
			t.Fatal(err)
		}
		if string(data) != string(tileBytes(f.hashes)) {
			t.Fatalf("tile %d/%d differs", f.level, f.number)
		}
	}
	if len(tr.takeFull()) != 0 {
		t.Error("tiles handed out twice")
	}
}

// TestTreeLevelOne fills a tile of the second tile level: 65,536 leaves.
func TestTreeLevelOne(t *testing.T) {
	var tr tree
	for i := range tileWidth * tileWidth {
		tr.append(wire.Hash{byte(i), byte(i >> 8)})
	}
	full := tr.takeFull()
	last := full[len(full)-1]
	if last.level != 1 || last.number != 0 || len(full) != tileWidth+1 {
		t.Fatalf("last full tile is %d/%d of %d", last.level, last.number, len(full))
	}
	if len(tr.edge) != 1 || len(tr.partial[2]) != 1 || tr.partial[2][0] != tr.root() {
		t.Error("the root is not the one hash of level 2")
	}
}

func TestEmptyTree(t *testing.T) {
	var tr tree
	if got := tr.root().String(); got != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Errorf("root of nothing: %s", got)
	}
}
