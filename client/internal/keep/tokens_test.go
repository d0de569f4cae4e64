// SPDX-License-Identifier: Apache-2.0

package keep

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"claviger/internal/wire"
)

func fill(b byte) []byte { return bytes.Repeat([]byte{b}, wire.SendTokenSize) }

// TestTokensOfTwoProcesses: what each learns is kept, and a spoilt file is as good
// as none.
func TestTokensOfTwoProcesses(t *testing.T) {
	dir := t.TempDir()
	a, b := New(dir, wire.DomainID{1}), New(dir, wire.DomainID{1})
	if len(a.Tokens())+len(b.Tokens()) != 0 {
		t.Fatal("tokens from nowhere")
	}
	a.SaveToken(fill(1))
	a.SaveToken([]byte("short"))
	b.Opened(fill(2))
	got := New(dir, wire.DomainID{1}).Tokens()
	if len(got) != 2 || !bytes.Equal(got[0], fill(1)) || !bytes.Equal(got[1], fill(2)) {
		t.Errorf("kept: %x", got)
	}
	a.Opened(fill(1))
	if got := a.Tokens(); len(got) != 1 {
		t.Errorf("the same token is shown %d times", len(got))
	}
	name := filepath.Join(dir, FileTokens)
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(name, []byte("spoilt"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := New(dir, wire.DomainID{1})
	if len(c.Tokens()) != 0 {
		t.Error("a spoilt file has tokens")
	}
	c.SaveToken(fill(3))
	if got := New(dir, wire.DomainID{1}).Tokens(); len(got) != 1 || !bytes.Equal(got[0], fill(3)) {
		t.Errorf("after a spoilt file: %x", got)
	}
}

func FuzzTokens(f *testing.F) {
	f.Add(wire.Marshal(tokens{Type: TypeTokens, Newest: fill(1), Opened: fill(2)}))
	f.Add(wire.Marshal(tokens{Type: TypeTokens}))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseTokens(data)
		if err == nil && !bytes.Equal(wire.Marshal(got), data) {
			t.Error("two encodings")
		}
	})
}
