// SPDX-License-Identifier: Apache-2.0

package members

import (
	"testing"
	"time"
)

func TestAnnounced(t *testing.T) {
	a, r := Announced{}, Recovery{Wait: 60}
	if _, ok := a.First(r); ok {
		t.Error("a first of none")
	}
	a.Note([]byte("x"), 5000)
	a.Note([]byte("y"), 3000)
	if at, ok := a.Due([]byte("x"), r); !ok || !at.Equal(time.UnixMilli(65_000)) {
		t.Errorf("x: %v, %t", at, ok)
	}
	if _, ok := a.Due([]byte("z"), r); ok {
		t.Error("z was not announced")
	}
	if at, ok := a.First(r); !ok || !at.Equal(time.UnixMilli(63_000)) {
		t.Errorf("first: %v, %t", at, ok)
	}
	a.Note([]byte("y"), 9000) // announced again: the time begins anew
	if at, _ := a.First(r); !at.Equal(time.UnixMilli(65_000)) {
		t.Errorf("after y was announced again: %v", at)
	}
}
