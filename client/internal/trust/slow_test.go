// SPDX-License-Identifier: Apache-2.0

package trust_test

import (
	"testing"
	"time"

	"claviger/client/internal/trust"
	"claviger/internal/clock"
	"claviger/internal/testkit/fakeserver"
)

// slow is a disk that takes its time.
type slow struct {
	nothing
	clock *clock.Manual
	takes time.Duration
}

func (s slow) SaveMark(m trust.Mark) (trust.Mark, error) { s.clock.Advance(s.takes); return m, nil }

// TestSlowDisk: a word doesn't grow younger while it is written down.
func TestSlowDisk(t *testing.T) {
	clk := clock.NewManual(time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC))
	d := fakeserver.New(t, fakeserver.Options{Clock: clk})
	s := d.Server("one")
	introduction, err := s.Introduction(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const takes = 20 * time.Second
	v, err := trust.New(trust.Options{Domain: d.ID(), Members: d.Members().Chain, Keeper: slow{clock: clk, takes: takes}, Clock: clk})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Introduce(introduction); err != nil {
		t.Fatal(err)
	}
	v.Answered(s.ID())
	statement, err := s.Statement(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Statement(statement); err != nil {
		t.Fatal(err)
	}
	if age, ok := v.Told(); !ok || age < takes {
		t.Errorf("a statement of %v ago counts as one of %v ago", takes, age)
	}
}
