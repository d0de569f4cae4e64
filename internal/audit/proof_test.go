// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"errors"
	"testing"

	"claviger/internal/wire"
)

// TestProofs proves leaves and extensions of a log whose older tiles are in
// files and whose last ones are not, running and closed.
func TestProofs(t *testing.T) {
	o := testOptions(newMem(51))
	o.MaxBytes = 300 << 10
	l := mustOpen(t, o)
	var last Ticket
	var marks []wire.Checkpoint
	for i := 0; ; i++ {
		at, ticket, err := l.Enter(testLeaf(i))
		if err != nil {
			t.Fatal(err)
		}
		if last = ticket; at.Log > 1 {
			break
		}
		if i == 3 || i == 255 || i == 600 {
			if err := ticket.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			c, err := l.Checkpoint()
			if err != nil {
				t.Fatal(err)
			}
			marks = append(marks, c.Checkpoint)
			checkProofs(t, l, marks)
		}
	}
	if err := last.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkProofs(t, l, marks) // of a closed log now
	mustClose(t, l)
	l = mustOpen(t, o)
	checkProofs(t, l, marks)
	mustClose(t, l)
}

func checkProofs(t *testing.T, l *Log, marks []wire.Checkpoint) {
	t.Helper()
	for _, c := range marks {
		entries := all(t, l, c.Log)
		for _, index := range []uint64{0, 1, c.Size / 2, c.Size - 1} {
			proof, err := l.ProveLeaf(Position{Log: c.Log, Index: index}, c.Size)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := entries[index].Leaf.encode()
			if err := CheckLeaf(proof, c, index, body); err != nil {
				t.Errorf("leaf %d of %d: %v", index, c.Size, err)
			}
			if err := CheckLeaf(proof, c, index, append(body, 0)); err == nil {
				t.Errorf("leaf %d of %d: another body is proved", index, c.Size)
			}
			if err := CheckLeaf(proof, c, index+1, body); err == nil {
				t.Errorf("leaf %d of %d is proved at the next index", index, c.Size)
			}
		}
		if _, err := l.ProveLeaf(Position{Log: c.Log, Index: c.Size}, c.Size); !errors.Is(err, ErrProof) {
			t.Errorf("leaf beyond %d: %v", c.Size, err)
		}
		for _, old := range marks {
			proof, err := l.ProveExtension(c.Log, old.Size, c.Size)
			if old.Size > c.Size {
				if !errors.Is(err, ErrProof) {
					t.Errorf("backwards: %v", err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := CheckExtension(proof, old, c); err != nil {
				t.Errorf("from %d to %d: %v", old.Size, c.Size, err)
			}
			fork := old
			fork.Root[0] ^= 1
			if err := CheckExtension(proof, fork, c); err == nil {
				t.Errorf("from a fork of %d to %d", old.Size, c.Size)
			}
		}
	}
	if _, err := l.ProveExtension(1, 1, 1<<40); !errors.Is(err, ErrProof) {
		t.Errorf("beyond the log: %v", err)
	}
	if err := CheckExtension(nil, wire.Checkpoint{Log: 1, Size: 1}, wire.Checkpoint{Log: 2, Size: 1}); !errors.Is(err, ErrProof) {
		t.Errorf("from one log to another: %v", err)
	}
	if err := CheckLeaf(nil, wire.Checkpoint{Log: 1, Size: 1}, 1, nil); !errors.Is(err, ErrProof) {
		t.Errorf("leaf beyond the checkpoint: %v", err)
	}
}
