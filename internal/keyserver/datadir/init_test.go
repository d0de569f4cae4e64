// SPDX-License-Identifier: Apache-2.0

package datadir_test

import (
	"errors"
	"os"
	"testing"

	"claviger/internal/clock"
	"claviger/internal/keyserver/datadir"
	"claviger/internal/keyserver/keyservertest"
)

// TestInitWritesOverNothing: a second init in the same directory fails and
// leaves the first as it was.
func TestInitWritesOverNothing(t *testing.T) {
	r := keyservertest.New(t)
	r.Halt()
	again := r.Open()
	defer again.Wipe()
	_, err := datadir.Init(t.Context(), datadir.InitOptions{
		Dir: r.Dir, Name: "test", Root: again, Admin: r.Admin, Clock: clock.System(), Keys: r.State.Keys,
	})
	if !errors.Is(err, os.ErrExist) {
		t.Errorf("a second init: %v", err)
	}
	r.Start(r.Open())
}
