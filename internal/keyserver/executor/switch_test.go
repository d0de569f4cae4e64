// SPDX-License-Identifier: Apache-2.0

package executor_test

import (
	"slices"
	"testing"

	"claviger/internal/authority"
	"claviger/internal/hierarchy"
	"claviger/internal/keyserver/executor"
	"claviger/internal/keyserver/keyservertest"
	"claviger/internal/wire"
)

// TestForgedSwitch: a switch that the orders in the log don't carry is not
// followed, since following it erases keys for good.
func TestForgedSwitch(t *testing.T) {
	r := keyservertest.New(t)
	r.CreateKey("stays", authority.AES256)
	r.CreateKey("goes", authority.AES256)
	r.Propose(authority.KindKeyDestroy, authority.Destroy{ID: r.KeyOf("goes").ID})
	if sw, err := executor.LoggedSwitch(r.Replay()); err != nil || sw.To.Number != 1 {
		t.Fatalf("the genuine switch: %v", err)
	}
	stays := r.KeyOf("stays")
	for name, forge := range map[string]func(*hierarchy.Switch){
		"destroys more": func(s *hierarchy.Switch) {
			s.Destroyed = append(s.Destroyed, hierarchy.VersionRef{KeyID: stays.ID, Number: 1})
		},
		"gives up a segment": func(s *hierarchy.Switch) {
			s.Segments = slices.DeleteFunc(s.Segments, func(g hierarchy.SegmentSwitch) bool { return g.New == stays.Versions[0].Segment })
		},
		"names no server": func(s *hierarchy.Switch) { s.Grants = nil },
		"another epoch":   func(s *hierarchy.Switch) { s.To.Number = 7 },
	} {
		state := r.Replay()
		var sw hierarchy.Switch
		if err := wire.Unmarshal(state.Switch, &sw, wire.MaxBody); err != nil {
			t.Fatal(err)
		}
		stays = state.KeyNamed("stays")
		forge(&sw)
		state.Switch = wire.Marshal(sw)
		if _, err := executor.LoggedSwitch(state); err == nil {
			t.Errorf("a switch that %s is followed", name)
		}
	}
}
