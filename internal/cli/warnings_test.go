// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"testing"
)

// TestWarnings: what a library logs comes as a warning of the command line.
func TestWarnings(t *testing.T) {
	for want, json := range map[string]bool{
		"warning: Something is odd (way https://relay; server 7)\n":                                  false,
		`{"schema":1,"warning":{"message":"Something is odd (way https://relay; server 7)"}}` + "\n": true,
	} {
		var err bytes.Buffer
		e := &env{Streams: Streams{Err: &err}, json: json}
		log := e.warnings().With("way", "https://relay")
		log.Info("Nothing is odd")
		log.WithGroup("g").Warn("Something is odd", "server", 7)
		if got := err.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
