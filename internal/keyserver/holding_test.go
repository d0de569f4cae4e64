// SPDX-License-Identifier: Apache-2.0

package keyserver_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/keyserver/keyservertest"
	"claviger/internal/wire"
)

// held is a rig whose key k some workloads hold, each with a mailbox.
func held(t *testing.T, names ...string) (*keyservertest.Rig, wire.KeyID, []*keyservertest.Workload) {
	t.Helper()
	r := keyservertest.New(t)
	r.CreateKey("k", authority.AES256)
	r.Allow(`permit(principal, action, resource);`)
	var all []*keyservertest.Workload
	for _, name := range names {
		w := r.Enroll(name)
		w.NewMailbox()
		r.Release(w, "k", "encrypt")
		all = append(all, w)
	}
	return r, r.KeyOf("k").ID, all
}

func acked(t *testing.T, r *keyservertest.Rig, w *keyservertest.Workload) {
	t.Helper()
	if status, body := r.Exchange(w, r.SealAck(w, r.Ack(w))); status != 200 || !bytes.Equal(body, wire.Marshal(wire.TypeAck)) {
		t.Fatalf("acknowledgement: %d %s", status, body)
	}
}

// TestRevocationIsMeasured follows a revocation until all its holders are dark.
func TestRevocationIsMeasured(t *testing.T) {
	r, id, w := held(t, "app1", "app2", "app3")
	r.Release(w[0], "k", "decrypt") // again: one holder all the same
	r.CreateKey("other", authority.AES256)
	aside := r.Enroll("aside")
	r.Release(aside, "other", "encrypt")
	r.Propose(authority.KindKeyDisable, authority.KeyRef{ID: id})
	of := "of=key:" + id.String()
	got := r.Revocation(of)
	if got.Holders != 3 || got.Dark != 0 || got.Done || len(got.Lit) != 3 || len(got.What) != 1 || got.What[0] != "key k" || got.Epoch != r.Replay().Epoch.String() {
		t.Fatalf("at first: %+v", got)
	}
	if ends := got.Lit[0].Ends; ends.Sub(got.At) > 15*time.Minute || ends.Before(got.At.Add(14*time.Minute)) {
		t.Errorf("ends by itself at %s, revoked at %s", ends, got.At)
	}
	if got.UnknownBefore != (time.Time{}) {
		t.Error("a domain's first server doesn't know who holds what")
	}
	acked(t, r, w[0])
	acked(t, r, w[1])
	if got := r.Revocation("epoch=" + got.Epoch); got.Dark != 2 || got.Acknowledged != 2 || got.Done || got.Lit[0].Client != w[2].ID || got.Last > 60 {
		t.Errorf("after two: %+v", got)
	}
	done := make(chan keyservertest.Revocation)
	go func() { done <- r.Revocation(of + "&wait=10") }()
	acked(t, r, w[2])
	if got := <-done; !got.Done || got.Dark != 3 || len(got.Lit) != 0 {
		t.Errorf("at the end: %+v", got)
	}
	r.Propose(authority.KindKeyEnable, authority.KeyRef{ID: id})
	r.Release(w[0], "k", "encrypt")
	r.Propose(authority.KindKeyDisable, authority.KeyRef{ID: id})
	if again := r.Revocation(of); again.Holders != 1 || again.Lit[0].Client != w[0].ID || again.Epoch == got.Epoch {
		t.Errorf("revoked again: %+v", again)
	}
	if first := r.Revocation("epoch=" + got.Epoch); first.Dark != 3 {
		t.Errorf("the first one is now %+v", first)
	}
}

// TestWhatIsRevoked: a client, everything, and what was taken back.
func TestWhatIsRevoked(t *testing.T) {
	r, id, w := held(t, "app1", "app2")
	r.Propose(authority.KindClientRevoke, authority.Subject{Client: w[0].ID})
	if got := r.Revocation("of=client:" + w[0].ID); got.Holders != 1 || got.Lit[0].Client != w[0].ID || got.What[0] != "client "+w[0].ID {
		t.Errorf("a client: %+v", got)
	}
	r.Propose(authority.KindKeyCompromise, authority.VersionRef{ID: id, Number: 1})
	if got := r.Revocation("of=key:" + id.String() + "/1"); got.Holders != 2 || got.What[0] != "key k version 1" {
		t.Errorf("a version: %+v", got)
	}
	r.Propose(authority.KindRevokeAll, authority.Subject{})
	got := r.Revocation("of=domain")
	if got.Holders != 2 || got.What[0] != "everything" {
		t.Errorf("everything: %+v", got)
	}
	r.Propose(authority.KindEnableAll, authority.Subject{})
	if got := r.Revocation("epoch=" + got.Epoch + "&wait=10"); got.TakenBack.IsZero() || got.Done {
		t.Errorf("taken back: %+v", got)
	}
	for _, query := range []string{"epoch=1.1", "of=key:00", "of=everything"} {
		if status, body := r.AsAdmin("GET", "/v1/admin/revocation?"+query, nil); status != 404 || !strings.Contains(string(body), `"not-found"`) {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
	for _, query := range []string{"", "epoch=1", "epoch=1.2&of=domain", "of=domain&wait=x"} {
		if status, _ := r.AsAdmin("GET", "/v1/admin/revocation?"+query, nil); status != 400 {
			t.Errorf("%q: %d", query, status)
		}
	}
}

// TestToldAtOnce: what is revoked is signed although nobody asks, also by the next
// run if the one that recorded it ended before.
func TestToldAtOnce(t *testing.T) {
	r, id, _ := held(t)
	r.Propose(authority.KindKeyDisable, authority.KeyRef{ID: id})
	told := func() (got keyservertest.Revocation) {
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
			if got = r.Revocation("of=key:" + id.String() + "&wait=1"); !got.Told.IsZero() {
				break
			}
		}
		return got
	}
	if got := told(); got.Told.IsZero() || got.Told.Before(got.At) {
		t.Errorf("not told: %+v", got)
	}
	r.Restart()
	if got := told(); got.Told.IsZero() {
		t.Errorf("not told by the next run: %+v", got)
	}
	status, body := r.Do(r.Client(nil), "GET", "/v1/statement", nil, "")
	s, err := wire.ParseStatement(body, r.ServerKey())
	if status != 200 || err != nil || len(s.Revoked) != 1 || s.Revoked[0] != r.KeyOf("k").Revocation {
		t.Errorf("statement: %d %v %+v", status, err, s)
	}
}

// TestHoldersOfAnEarlierRun: a server that started again knows from its audit log
// who holds leases, and that their word can't be taken.
func TestHoldersOfAnEarlierRun(t *testing.T) {
	r, id, w := held(t, "app1", "app2")
	r.Restart()
	r.Release(w[1], "k", "encrypt")
	r.Propose(authority.KindKeyDisable, authority.KeyRef{ID: id})
	acked(t, r, w[1])
	acked(t, r, w[0]) // of an unknown mailbox: the same answer
	got := r.Revocation("of=key:" + id.String())
	if got.Holders != 3 || got.Dark != 1 || got.Done || got.UnknownBefore != (time.Time{}) || len(got.Lit) != 2 {
		t.Fatalf("%+v", got)
	}
	for _, l := range got.Lit {
		if l.Mailbox != "" || l.Ends.After(got.At.Add(time.Hour)) || l.Ends.Before(got.At.Add(59*time.Minute)) {
			t.Errorf("an earlier run's: %+v", l)
		}
	}
	r.Restart()
	again := r.Revocation("epoch=" + got.Epoch)
	if again.Holders != 2 || again.Dark != 0 {
		t.Errorf("after a restart: %+v", again)
	}
}

// TestAckForgeries goes through acknowledgements that say nothing of their holder.
func TestAckForgeries(t *testing.T) {
	r, id, w := held(t, "app1", "app2")
	app, other := w[0], w[1]
	r.Propose(authority.KindKeyDisable, authority.KeyRef{ID: id})
	before := r.Replay()
	good := r.Ack(app)
	with := func(change func(*wire.Ack)) []byte {
		a := good
		change(&a)
		return r.SealAck(app, a)
	}
	signedBy := func(key ed25519.PrivateKey) []byte {
		msg, err := wire.Sign(wire.TypeAck, wire.Marshal(good), key)
		if err != nil {
			t.Fatal(err)
		}
		return r.Seal(wire.TypeAck, msg)
	}
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	huge := r.Seal(wire.TypeAck, make([]byte, wire.MaxAck+4<<10))
	for name, sealed := range map[string][]byte{
		"another mailbox's key": signedBy(other.Mailbox),
		"another domain":        with(func(a *wire.Ack) { a.Domain[0] ^= 1 }),
		"another server":        with(func(a *wire.Ack) { a.Descriptor[0] ^= 1 }),
		"over":                  with(func(a *wire.Ack) { a.NotAfter = time.Now().Add(-time.Second).UnixMilli() }),
		"good for too long":     with(func(a *wire.Ack) { a.NotAfter = time.Now().Add(90 * time.Second).UnixMilli() }),
		"another history":       with(func(a *wire.Ack) { a.Head[0] ^= 1 }),
		"a record to come":      with(func(a *wire.Ack) { a.Epoch.Position++ }),
		"another generation":    with(func(a *wire.Ack) { a.Epoch.Generation++ }),
		"sealed as a request":   r.Seal(wire.TypeRequest, wire.Marshal(good)),
		"nothing":               r.Seal(wire.TypeAck, nil),
	} {
		if status, body := r.Exchange(app, sealed); status < 400 || status >= 500 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if status, body := r.Exchange(app, huge); status != 400 || !strings.Contains(string(body), "an acknowledgement of") {
		t.Errorf("opened, or not refused for its size: %d %s", status, body)
	}
	if status, _ := r.Do(r.Client(nil), "POST", "/v1/enroll", r.SealAck(app, good), ""); status != 400 {
		t.Errorf("taken by the enrolments' route: %d", status)
	}
	// A stranger's, whose mailbox holds nothing, gets the same answer and changes
	// nothing; so does one about an epoch before the revocation.
	unknown := good
	unknown.Mailbox = stranger.Public().(ed25519.PublicKey)
	if status, body := r.Exchange(app, r.SealAck(&keyservertest.Workload{Mailbox: stranger}, unknown)); status != 200 || !bytes.Equal(body, wire.Marshal(wire.TypeAck)) {
		t.Errorf("an unknown mailbox: %d %s", status, body)
	}
	early := with(func(a *wire.Ack) {
		a.Epoch.Position--
		a.Head, _ = before.HeadAt(a.Epoch.Position)
	})
	if status, body := r.Exchange(app, early); status != 200 {
		t.Errorf("an earlier epoch: %d %s", status, body)
	}
	if got := r.Revocation("of=key:" + id.String()); got.Dark != 0 || got.Holders != 2 {
		t.Fatalf("forgeries count: %+v", got)
	}
	// A time to come is now, and the same bytes again are no second word.
	late := with(func(a *wire.Ack) { a.At += 3600_000 })
	first, _ := r.Exchange(app, late)
	second, _ := r.Exchange(app, late)
	if got := r.Revocation("of=key:" + id.String()); first != 200 || second != 200 && second != 409 || got.Dark != 1 || got.Last > 60 {
		t.Errorf("%d, %d, %+v", first, second, got)
	}
	resp, err := http.Get("http://" + r.Metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	for _, line := range []string{
		`claviger_acknowledgements_total{outcome="taken"} 2`, `claviger_acknowledgements_total{outcome="unknown"} 1`,
		`claviger_acknowledgements_total{outcome="refused"} 9`, "claviger_time_to_dark_seconds_count 1\n", "claviger_holders 1\n",
	} {
		if !strings.Contains(string(text), line) {
			t.Errorf("metrics lack %s", line)
		}
	}
}
