// SPDX-License-Identifier: Apache-2.0

package client

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"claviger/client/internal/keep"
	"claviger/client/internal/trust"
	"claviger/internal/wire"
)

// TestForkBetweenProcesses: two processes of one profile that are shown two
// histories notice, although each saw only one.
func TestForkBetweenProcesses(t *testing.T) {
	w := newWorld(t)
	w.domain.Tick()
	sealed := w.seal("4111")
	one := w.client
	w.client = w.dial()
	before, head := w.domain.At()
	w.domain.Tick()
	epoch, _ := w.domain.At()
	if _, err := one.Encrypt(t.Context(), "payments/cards", nil, EncryptOptions{Partition: []byte("p")}); err != nil {
		t.Fatal(err)
	}
	first := one.view.Mark().Witness
	w.domain.Rewind(before, head)
	w.domain.Rewind(epoch, wire.Hash{9})
	if err := w.open(sealed); !errors.Is(err, ErrFork) {
		t.Fatalf("the second process: %v", err)
	}
	if got := w.client.Epoch(); got == epoch.String() {
		t.Errorf("it believes epoch %s", got)
	}
	files, err := filepath.Glob(filepath.Join(w.profile.Dir, keep.DirProofs, "*.cbor"))
	if err != nil || len(files) != 1 {
		t.Fatalf("proofs %v, %v", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var p keep.Proof
	if err := wire.Unmarshal(data, &p, 1<<20); err != nil || p.Kind != wire.TypeGrant || string(p.First) != string(first) {
		t.Errorf("proof of %s, %v", p.Kind, err)
	}
}

// TestShorterAuditLogBetweenProcesses: the same for what statements say of the
// audit log.
func TestShorterAuditLogBetweenProcesses(t *testing.T) {
	for name, tt := range map[string]struct {
		lie  func(*wire.Statement)
		want error
	}{
		"honest":  {nil, nil},
		"shorter": {func(s *wire.Statement) { s.Checkpoint.Size = 1 }, ErrRollback},
		"changed": {func(s *wire.Statement) { s.Checkpoint.Size = 7; s.Checkpoint.Root[0]++ }, ErrIntegrity},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.seal("4111")
			one, two := w.client.view, w.dial()
			if _, err := two.Encrypt(t.Context(), "payments/cards", nil, EncryptOptions{}); err != nil {
				t.Fatal(err)
			}
			say := func(v *trust.View, lie func(*wire.Statement)) error {
				w.advance(time.Second)
				signed := w.statement(func(s *wire.Statement) {
					s.Checkpoint = wire.Checkpoint{Log: 1, Size: 7, Root: wire.Hash{7}}
					if lie != nil {
						lie(s)
					}
				})
				return v.Statement(signed)
			}
			if err := say(one, nil); err != nil {
				t.Fatal(err)
			}
			if err := say(two.view, tt.lie); !errors.Is(err, tt.want) {
				t.Errorf("Statement = %v, want %v", err, tt.want)
			}
		})
	}
}

// statement is one of the first server's, edited before it is signed.
func (w *world) statement(edit func(*wire.Statement)) []byte {
	w.t.Helper()
	signed, err := w.server.Statement(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := wire.PeekStatement(signed)
	if err != nil {
		w.t.Fatal(err)
	}
	edit(s)
	if signed, err = wire.Sign(wire.TypeStatement, wire.Marshal(*s), w.server.Key()); err != nil {
		w.t.Fatal(err)
	}
	return signed
}
