// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"claviger/internal/clock"
)

func refuse(t *testing.T, b *Budget, caller string, times, written int) {
	t.Helper()
	got := 0
	for range times {
		switch err := b.Refuse(caller); {
		case err == nil:
			got++
		case !errors.Is(err, ErrBudget):
			t.Fatal(err)
		}
	}
	if got != written {
		t.Errorf("%s: %d of %d written, want %d", caller, got, times, written)
	}
}

func TestBudget(t *testing.T) {
	c := clock.NewManual(time.UnixMilli(1_700_000_000_000))
	b := NewBudget(c, 0, 0)
	refuse(t, b, "a", DefaultRefusals+5, DefaultRefusals)
	refuse(t, b, "b", 10, 10)
	if due := b.Due(false); len(due) != 0 {
		t.Errorf("due within the minute: %v", due)
	}
	c.SetWall(c.Now().Add(time.Hour)) // the wall clock frees nobody
	refuse(t, b, "a", 2, 0)
	c.Advance(time.Minute)
	refuse(t, b, "a", 1, 1)
	due := b.Due(false)
	if len(due) != 1 || due[0].Caller != "a" || due[0].Count != 7 || !due[0].Since.Equal(time.UnixMilli(1_700_000_000_000)) {
		t.Errorf("due: %+v", due)
	}
	leaf := due[0].Leaf()
	leaf.Shape, leaf.Time = leafShape, 1
	if _, err := leaf.encode(); err != nil || leaf.Count != 7 || leaf.Kind != Refusals || leaf.Caller != "a" {
		t.Errorf("leaf %+v: %v", leaf, err)
	}
	if due := b.Due(true); len(due) != 0 {
		t.Errorf("told twice: %v", due)
	}
	refuse(t, b, "c", DefaultRefusals+1, DefaultRefusals)
	if due := b.Due(true); len(due) != 1 || due[0].Caller != "c" {
		t.Errorf("at the end: %v", due)
	}
}

// TestBudgetBounded: identities beyond the bound share one budget, and the
// memory stays bounded even if nobody asks what is due.
func TestBudgetBounded(t *testing.T) {
	c := clock.NewManual(time.UnixMilli(1_700_000_000_000))
	b := NewBudget(c, 2, 10)
	for i := range 10 {
		refuse(t, b, fmt.Sprint(i), 2, 2)
	}
	refuse(t, b, "x", 2, 2)
	refuse(t, b, "y", 2, 0)
	if len(b.active) != 11 {
		t.Errorf("%d identities", len(b.active))
	}
	if due := b.Due(true); len(due) != 1 || due[0].Caller != Others || due[0].Count != 2 {
		t.Errorf("due: %+v", due)
	}
	for minute := range 50 {
		for i := range 10 {
			refuse(t, b, fmt.Sprint(minute, i), 3, 2)
		}
		c.Advance(2 * time.Minute)
	}
	due := b.Due(true)
	total := uint64(0)
	for _, d := range due {
		total += d.Count
	}
	if len(due) > 11 || total != 500 {
		t.Errorf("%d lines that count %d", len(due), total)
	}
	// Others is what no caller may be called.
	if (Refused{Caller: Others}).Leaf().Caller != Others {
		t.Error("others")
	}
}
