// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"testing"

	"claviger/internal/authority"
	"claviger/internal/wire"
)

// keyOf is an aes256 key with versions in these states, the last one current.
func keyOf(states ...string) *authority.Key {
	k := &authority.Key{Name: "a/k", ID: wire.KeyID{1}, Algorithm: authority.AES256}
	for i, s := range states {
		k.Versions = append(k.Versions, authority.Version{KeyVersion: authority.KeyVersion{Number: uint64(i + 1)}, State: s})
	}
	return k
}

func dataItem(version uint64, operations ...string) wire.Item {
	return wire.Item{Name: "a/k", Version: version, Purpose: wire.PurposeData, Operations: operations}
}

func TestUsable(t *testing.T) {
	disabled := keyOf(wire.StateActive)
	disabled.Disabled = true
	attested := keyOf(wire.StateActive)
	attested.Settings.Attestation = "tpm"
	leaving := keyOf(wire.StateActive, wire.StateActive)
	leaving.Versions[0].DestroyAt = 5
	for _, c := range []struct {
		name  string
		key   *authority.Key
		item  wire.Item
		cause Cause
		want  uint64 // version; 0: none
	}{
		{"current", keyOf(wire.StateDeactivated, wire.StateActive), dataItem(0, "encrypt"), CausePolicy, 2},
		{"an old version opens", keyOf(wire.StateDeactivated, wire.StateActive), dataItem(1, "decrypt"), CausePolicy, 1},
		{"an old version seals nothing", keyOf(wire.StateDeactivated, wire.StateActive), dataItem(1, "encrypt"), CauseState, 0},
		{"nor beside opening", keyOf(wire.StateDeactivated, wire.StateActive), dataItem(1, "decrypt", "encrypt"), CauseState, 0},
		{"disabled", disabled, dataItem(0, "decrypt"), CauseDisabled, 0},
		{"attested", attested, dataItem(0, "decrypt"), CausePolicy, 0},
		{"no such version", keyOf(wire.StateActive), dataItem(2, "decrypt"), CauseState, 0},
		{"destroyed", keyOf(wire.StateDestroyed, wire.StateActive), dataItem(1, "decrypt"), CauseState, 0},
		{"to be destroyed", leaving, dataItem(1, "decrypt"), CauseState, 0},
		{"another purpose", keyOf(wire.StateActive), wire.Item{Purpose: wire.PurposeSign, Operations: []string{"sign"}}, CauseState, 0},
	} {
		v, cause, why := Usable(c.key, c.item)
		if (v == nil) != (c.want == 0) || v != nil && v.Number != c.want || cause != c.cause || (why == "") != (v != nil) {
			t.Errorf("%s: version %v, cause %q, %q", c.name, v, cause, why)
		}
	}
}

// TestFits: what OperationsOf lists is all that fits, for every algorithm.
func TestFits(t *testing.T) {
	purposes := []string{wire.PurposeData, wire.PurposeWrap, wire.PurposeMAC, wire.PurposeSign, "", "other"}
	operations := []string{"encrypt", "decrypt", "wrap", "unwrap", "mac", "verify", "sign", "release", ""}
	for _, algorithm := range authority.Algorithms() {
		listed := map[Operation]bool{}
		for _, o := range OperationsOf(algorithm) {
			listed[o] = true
		}
		if len(listed) == 0 {
			t.Errorf("%s does nothing", algorithm)
		}
		for _, purpose := range purposes {
			for _, op := range operations {
				item := wire.Item{Purpose: purpose, Operations: []string{op}}
				if got := Fits(algorithm, item); got != listed[Operation{op, purpose}] {
					t.Errorf("%s: %q for %q fits: %v", algorithm, op, purpose, got)
				}
			}
		}
	}
}

// TestClip: a leaf takes whatever comes out.
func TestClip(t *testing.T) {
	for in, want := range map[string]string{"plain": "plain", "two\nlines\x1b[31m": "two lines [31m", "caf\u00e9": "caf  "} {
		if got := Clip(in); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
	if n := len(Clip(string(make([]byte, 1000)))); n != 200 {
		t.Errorf("%d bytes", n)
	}
}
