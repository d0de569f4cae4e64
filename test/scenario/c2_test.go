// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"claviger/client"
	"claviger/internal/authority"
	"claviger/internal/members"
	"claviger/internal/testkit"
	"claviger/internal/wire"
)

// answers is the status that a domain's server has for a workload's request.
func answers(d *testkit.Domain, raw *testkit.Raw) int {
	req, _ := raw.Request(testkit.DataItem(cards, "encrypt"))
	return raw.Exchange(d.Seal(wire.TypeRequest, raw.Sign(req))).Status
}

// stops waits until a domain's server answers nothing any more.
func stops(t *testing.T, d *testkit.Domain, raw *testkit.Raw) {
	t.Helper()
	eventually(t, "the server stops", func() bool { return answers(d, raw) == http.StatusServiceUnavailable })
}

// revoked ends app1 and disables a key, which is what must not come back.
func (w *world) revoked() {
	w.t.Helper()
	w.Propose(authority.KindClientRevoke, authority.Subject{Client: appOne, Reason: "stolen"})
	w.Propose(authority.KindKeyDisable, authority.KeyRef{ID: w.Key(orders).ID, Reason: "leaked"})
}

// stated waits until the relay shows the present epoch.
func (w *world) stated() {
	w.t.Helper()
	want := w.State().Epoch
	eventually(w.t, "the relay shows the present", func() bool {
		for _, p := range w.relay.Seen("statement") {
			if s, err := wire.PeekStatement(p.Question); err == nil && s.Epoch == want && !strings.HasPrefix(string(p.Answer), "{") {
				return true
			}
		}
		return false
	})
}

// Scenario 43: a server's machine is put back from a snapshot, head file and all.
// The relay's board has a later word of its own: it stops and says so. Put up beside
// the machine that goes on, both stop.
func TestScenario43_ServerPutBack(t *testing.T) {
	t.Parallel()
	w := worldBy(t, relayed, testkit.Options{StatementEvery: often})
	w.seal(w.Dial(w.app2WithCards()), cards)
	old := w.copied()
	w.revoked()
	w.denied(w.Dial(w.app2), orders, "")
	w.stated()
	now := w.copied()
	// The store alone: the server doesn't start.
	w.put(old, "state.db")
	if err := w.TryStart(); err == nil {
		t.Error("a server started on a log that doesn't extend its head file")
	}
	// All of it: it starts, hears itself, and stops.
	w.put(old)
	w.Start()
	// Who has seen more notices at once, unless the server has stopped by then.
	if err := w.failure(w.Dial(w.app2)); !errors.Is(err, client.ErrRollback) && !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("a client that has seen more: %v", err)
	}
	raw := w.As(w.Raw(w.app2.Dir).Identity, appTwo)
	stops(t, w.Domain, raw)
	thief := w.Raw(w.app1.Dir)
	if s := answers(w.Domain, thief); s != http.StatusServiceUnavailable {
		t.Errorf("what was revoked is answered with %d", s)
	}
	eventually(t, "an alarm", func() bool { return alarms(w.Domain, "behind") > 0 })
	// The present put back in its place, it goes on.
	w.put(now)
	w.Start()
	w.seal(w.Dial(w.app2), cards)
	w.refuses(w.Dial(w.app1), cards, client.ErrRevoked)
}

// app2WithCards permits app2 the first key too, and returns its profile.
func (w *world) app2WithCards() *client.Profile {
	w.t.Helper()
	w.Allow("app2", cards)
	w.Allow("app2", orders)
	return w.app2
}

// Scenario 45: what was revoked, in a replica that was cut off meanwhile, with a log
// of its own, and in a backup.
func TestScenario45_RevokedComesBack(t *testing.T) {
	t.Parallel()
	w := worldBy(t, relayed, testkit.Options{StatementEvery: often})
	w.seal(w.Dial(w.app2WithCards()), cards)
	old := w.copied()
	w.revoked()
	w.denied(w.Dial(w.app2), orders, "")
	w.stated()
	// The replica of before, which people go on to use: its log goes another way.
	dir := filepath.Join(t.TempDir(), "twin")
	if err := os.CopyFS(dir, os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	twin := w.Twin(dir)
	for _, name := range []string{"a", "b", "c", "d"} {
		if out := twin.Offer(authority.KindKeyCreate, keyNamed("twin/"+name), twin.Admins[0]); !out.Applied {
			t.Fatalf("the twin: %d %s", out.Status, out.Body)
		}
	}
	// Each hears the other at the relay, says so and stops.
	for name, d := range map[string]*testkit.Domain{"the server": w.Domain, "its twin": twin} {
		eventually(t, name+" stops", func() bool {
			return d.Send(nil, testkit.Message{Method: "GET", Path: "/v1/statement"}).Status == http.StatusServiceUnavailable
		})
		eventually(t, "an alarm of "+name, func() bool { return alarms(d, "fork")+alarms(d, "behind") > 0 })
	}
	// The one that is further on has seen the other's head of an epoch that it knows.
	if proofs, err := os.ReadDir(filepath.Join(twin.Dir, "proofs")); err != nil || len(proofs) == 0 || alarms(twin, "fork") != 1 {
		t.Errorf("the twin keeps %d proofs: %v", len(proofs), err)
	}
	if s := answers(w.Domain, w.Raw(w.app1.Dir)); s == http.StatusOK {
		t.Error("what was revoked is released to")
	}
	// Bodies of one history mean nothing in the other: a merge brings nothing back.
	enable, err := twin.State().Entry(authority.KindKeyEnable, authority.KeyRef{ID: twin.Key(orders).ID, Reason: "merge"}, w.Clock().Now().Add(time.Hour), w.Admins[0])
	if err != nil {
		t.Fatal(err)
	}
	w.unchanged(func() {
		if out := w.Post(enable, w.Admins[0]); out.Applied {
			t.Error("a body of the other history was applied")
		}
	})
	// People settle it: the twin ends, a quorum says which history goes on.
	twin.Stop()
	w.Restart() // the board shows who introduced himself last
	at := w.State()
	w.Propose(members.KindRestore, members.Restore{Generation: at.Epoch.Generation + 1, Epoch: at.Epoch, Head: at.Head, Reason: "two machines ran"})
	w.seal(w.Dial(w.app2), cards)
	w.refuses(w.Dial(w.app1), cards, client.ErrRevoked)
	w.denied(w.Dial(w.app2), orders, "the key is disabled")
}
