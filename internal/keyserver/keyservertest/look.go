// SPDX-License-Identifier: Apache-2.0

package keyservertest

import (
	"encoding/json"

	"claviger/internal/authority"
	"claviger/internal/keyserver/api"
	"claviger/internal/wire"
)

// KeyOf reads a key's state from the log.
func (r *Rig) KeyOf(name string) *authority.Key {
	r.T.Helper()
	return r.Replay().KeyNamed(name)
}

// Want asks for version 0 (the current one) or another and compares the reason;
// "" means that the release is allowed.
func (r *Rig) Want(w *Workload, key string, version uint64, op, reason string) *wire.GrantItem {
	r.T.Helper()
	item := DataKey(key, op)
	item.Version = version
	g, rel := r.ReleaseItem(w, item)
	got := g.Items[0]
	if allowed := got.Decision == wire.DecisionAllowed; allowed != (reason == "") || allowed != (len(rel.Keys[0]) == 32) || !allowed && got.Reason != reason {
		r.T.Errorf("%s version %d %s: %s (%s), want %q", key, version, op, got.Decision, got.Reason, reason)
	}
	return &got
}

// Leaves counts the audit leaves of an action.
func (r *Rig) Leaves(action string) int {
	r.T.Helper()
	status, body := r.AsAdmin("GET", "/v1/admin/audit?n=1000", nil)
	var out struct{ Leaves []api.LeafInfo }
	if err := json.Unmarshal(body, &out); err != nil || status != 200 {
		r.T.Fatalf("audit: %d %s", status, body)
	}
	n := 0
	for _, l := range out.Leaves {
		if l.Action == action {
			n++
		}
	}
	return n
}
