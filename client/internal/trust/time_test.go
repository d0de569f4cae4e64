// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/wire"
)

// TestAgeOfWords: of which state a statement or an answer must be to vouch for a
// release of record 5 of history A.
func TestAgeOfWords(t *testing.T) {
	clk := clock.NewManual(time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC))
	a, b := wire.Hash{'A'}, wire.Hash{'B'}
	word := func(position uint64, head wire.Hash, age time.Duration) heard {
		return heard{epoch: wire.Epoch{Generation: 1, Position: position}, head: head, at: moment{clk.Boot(), clk.Now()}, age: age}
	}
	none := heard{}
	for name, test := range map[string]struct {
		told, answered heard
		want           time.Duration // 0: nobody vouches
	}{
		"nothing":                                 {told: none, answered: none},
		"a statement of it":                       {told: word(5, a, 2), answered: none, want: 2},
		"a later statement":                       {told: word(6, a, 2), answered: none, want: 2},
		"a later statement, heads differ anyway":  {told: word(6, b, 2), answered: none, want: 2},
		"an earlier statement":                    {told: word(4, a, 2), answered: none},
		"a statement of another history":          {told: word(5, b, 2), answered: none},
		"an answer of it":                         {told: none, answered: word(5, a, 3), want: 3},
		"an answer of another history":            {told: none, answered: word(5, b, 3)},
		"an earlier answer":                       {told: none, answered: word(4, a, 3)},
		"a later answer, nothing told":            {told: none, answered: word(6, a, 3)},
		"a later answer, told before":             {told: word(5, a, 9), answered: word(6, a, 3), want: 9},
		"a later answer, told of its state":       {told: word(6, a, 9), answered: word(6, a, 3), want: 3},
		"a later answer, told of another history": {told: word(6, b, 9), answered: word(6, a, 3), want: 9},
		"an answer of it, told later":             {told: word(6, a, 9), answered: word(5, a, 3), want: 3},
		"an answer older than what was told":      {told: word(5, a, 2), answered: word(5, a, 3), want: 2},
		"an answer told of another history":       {told: word(5, b, 9), answered: word(5, b, 3)},
	} {
		t.Run(name, func(t *testing.T) {
			v := &View{clock: clk, told: test.told, answered: test.answered}
			age, ok := v.Age(wire.Epoch{Generation: 1, Position: 5}, a)
			if age != test.want || ok != (test.want != 0) {
				t.Errorf("age %d, %t; want %d", age, ok, test.want)
			}
		})
	}
}
