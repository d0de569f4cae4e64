// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"

	"claviger/client"
	"claviger/internal/audit"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/hierarchy"
	"claviger/internal/members"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/testkit"
	"claviger/internal/testkit/faultfs"
	"claviger/internal/wire"
)

// Scenario 68: one admin of a quorum of two tries alone what takes both.
func TestScenario68_SingleAdmin(t *testing.T) {
	t.Parallel()
	w := worldWith(t, testkit.Options{Admins: 3, Threshold: 2})
	one, two := w.Admins[0], w.Admins[1]
	key := w.Key(cards)
	loose := key.Settings
	loose.Lease, loose.Exportable = 7*24*3600, true
	mole := w.Mole(false)
	m := w.State().Members
	alone := m.Keys
	alone.Threshold = 1
	tries := map[string]any{
		members.KindKeys:           alone,
		members.KindAnchors:        newCA(t, w.clock.Now(), nil, nil).anchors(false),
		members.KindJoin:           joinOf(t, mole),
		authority.KindPolicy:       authority.Policy{Source: []byte(permitAll)},
		authority.KindKeyDestroy:   authority.Destroy{ID: key.ID, Reason: "alone"},
		authority.KindKeySettings:  authority.KeySettings{ID: key.ID, Settings: loose, Reason: "alone"},
		authority.KindClientEnable: authority.Subject{Client: appOne, Reason: "alone"},
	}
	w.unchanged(func() {
		for kind, payload := range tries {
			if out := w.Offer(kind, payload, one); out.Applied {
				t.Errorf("%s was applied with one signature of two", kind)
			}
		}
	})
	// What waits is there for all to see, and ends by itself.
	var waiting [][]byte
	answer := w.Ask(two, testkit.Message{Method: "GET", Path: "/v1/admin/pending"})
	if err := wire.Unmarshal(answer.Body, &waiting, 8<<20); err != nil || len(waiting) == 0 {
		t.Fatalf("%d bodies wait, %v", len(waiting), err)
	}
	// An approval is of these bytes: it can't be carried over to others.
	state, expires := w.State(), w.clock.Now().Add(time.Hour)
	harmless, err := state.Entry(authority.KindKeyDestroy, authority.Destroy{ID: w.Key(orders).ID, Reason: "agreed"}, expires, one, two)
	if err != nil {
		t.Fatal(err)
	}
	other, want := w.Key(orders).ID, w.Key(cards).ID
	executed := bytes.ReplaceAll(harmless, other[:], want[:])
	if bytes.Equal(executed, harmless) {
		t.Fatal("the body does not name the key")
	}
	w.unchanged(func() {
		if out := w.Post(executed, one); out.Applied {
			t.Error("approvals of one order executed another")
		}
		w.clock.Advance(8 * 24 * time.Hour)
		for _, entry := range waiting {
			late, err := wire.AddSignature(entry, wire.TypeBody, wire.MaxBody, two)
			if err != nil {
				t.Fatal(err)
			}
			if out := w.Post(late, two); out.Applied {
				t.Error("a body was applied a day after it had expired")
			}
		}
	})
	var left [][]byte
	answer = w.Ask(two, testkit.Message{Method: "GET", Path: "/v1/admin/pending"})
	if err := wire.Unmarshal(answer.Body, &left, 8<<20); err != nil || len(left) != 0 {
		t.Errorf("%d bodies still wait, %v", len(left), err)
	}
	denied := 0
	for _, l := range w.Leaves() {
		if l.Kind == string(audit.Decision) && strings.HasPrefix(l.Caller, "admin") {
			denied++
		}
	}
	if denied == 0 {
		t.Error("no leaf tells of an admin's proposals")
	}
}

// sharing makes a root in shares, two of three, and returns the shares.
func sharing(t *testing.T) (root.Sealing, *[]*secret.Bytes) {
	t.Helper()
	kept := &[]*secret.Bytes{}
	s := root.Sealing{Threshold: 2, Keep: func(share *secret.Bytes) { *kept = append(*kept, share) }}
	for range 3 {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		s.Recipients = append(s.Recipients, id.Recipient().String())
	}
	return s, kept
}

// Scenario 69: too few shares, one share twice, a damaged one, one of an older
// sharing.
func TestScenario69_BadShares(t *testing.T) {
	t.Parallel()
	sealing, shares := sharing(t)
	good := func() root.Unlock { return root.Unlock{Shares: (*shares)[:2]} }
	w := worldWith(t, testkit.Options{Sealing: sealing, Unlock: good})
	w.Stop()
	damaged := (*shares)[1].Clone()
	damaged.Expose()[damaged.Len()/2] ^= 1
	foreign, others := sharing(t)
	if r, err := root.Create(filepath.Join(t.TempDir(), "root"), 1, foreign); err != nil {
		t.Fatal(err)
	} else {
		r.Wipe()
	}
	for what, given := range map[string][]*secret.Bytes{
		"one of two":       (*shares)[:1],
		"none":             nil,
		"one twice":        {(*shares)[0], (*shares)[0].Clone()},
		"a damaged one":    {(*shares)[0], damaged},
		"one of elsewhere": {(*shares)[0], (*others)[1]},
	} {
		w.UnlockWith(func() root.Unlock { return root.Unlock{Shares: given} })
		err := w.TryStart()
		if err == nil {
			w.Stop()
			t.Errorf("%s: the server was unsealed", what)
			continue
		}
		_, missing := errors.AsType[*root.MissingSharesError](err)
		bad, named := errors.AsType[root.BadSharesError](err)
		if !missing && !named {
			t.Errorf("%s: %v names no share", what, err)
		}
		if strings.HasPrefix(what, "a damaged") && (!named || len(bad) != 1 || bad[0].Position != 2) {
			t.Errorf("%s: %v, want the second one named", what, err)
		}
	}
	// After a resharing an old share does not go together with a new one.
	w.UnlockWith(good)
	r := w.Root()
	next, fresh := sharing(t)
	if err := root.Reseal(filepath.Join(w.Dir, "root"), r, next); err != nil {
		t.Fatal(err)
	}
	r.Wipe()
	w.UnlockWith(func() root.Unlock { return root.Unlock{Shares: []*secret.Bytes{(*fresh)[0], (*shares)[1]}} })
	if _, named := errors.AsType[root.BadSharesError](w.TryStart()); !named {
		t.Error("a share of the older sharing was not named")
	}
	w.UnlockWith(func() root.Unlock { return root.Unlock{Shares: (*fresh)[1:]} })
	w.Start()
	w.seal(w.Dial(w.app1), cards)
}

// Scenario 70: a destroyed version, and everything that an operator has kept.
func TestScenario70_DestroyedStaysDestroyed(t *testing.T) {
	t.Parallel()
	w := worldWith(t, testkit.Options{Strict: true})
	c := w.Dial(w.app1)
	gone, stays := w.seal(c, cards), w.seal(c, orders)
	w.opens(c, gone, cards)
	backup := w.Backup()
	old := w.copied()
	w.Rotate(cards)
	w.Destroy(cards, 1)
	if v := w.Key(cards).Version(1); v.State != wire.StateDestroyed {
		t.Fatalf("version 1 is %s", v.State)
	}
	lost := func(when string) {
		t.Helper()
		_, _, err := w.Dial(w.app1).Decrypt(t.Context(), gone, forCards)
		if _, denied := errors.AsType[*client.DeniedError](err); !denied {
			t.Errorf("%s: %v, want a denial", when, err)
		}
	}
	lost("after the order")
	w.opens(w.Dial(w.app1), stays, orders)
	w.unchanged(func() {
		id := w.Key(cards).ID
		for kind, payload := range map[string]any{
			authority.KindKeyKeep: authority.VersionRef{ID: id, Number: 1}, authority.KindKeyEnable: authority.KeyRef{ID: id, Reason: "undo"},
		} {
			if out := w.Offer(kind, payload, w.Admins[0]); out.Applied {
				t.Errorf("%s took a destruction back", kind)
			}
		}
	})
	now := w.copied()
	// Each old medium by itself: the server starts on none of them, or has no key.
	for what, media := range map[string][]string{
		"the store": {"state.db"}, "the store and its head": {"state.db", "head"}, "the root's files": {"root"},
		"the store, its head and the audit log": {"state.db", "head", "audit"},
	} {
		w.put(now)
		w.put(old, media...)
		if err := w.TryStart(); err == nil {
			g := w.ask(w.Raw(w.app1.Dir), wire.Item{Name: cards, Version: 1, Purpose: wire.PurposeData, Operations: []string{"decrypt"}})
			if g.Items[0].Decision != wire.DecisionDenied {
				t.Errorf("with %s of before, version 1 was released", what)
			}
			w.Stop()
		}
	}
	w.put(now)
	w.Start()
	lost("after a restart")
	w.opens(w.Dial(w.app1), stays, orders)
	// The backup has no erasure key: what it restores waits for a server that lives.
	b, err := hierarchy.ReadBackup(bytes.NewReader(backup))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Wipe()
	secretRoot := w.Root()
	defer secretRoot.Wipe()
	if err := b.Unlock(secretRoot); err != nil {
		t.Fatal(err)
	}
	o := hierarchy.Options{Custody: secretRoot, Domain: w.Founded.Domain, Generation: 1, Server: w.Founded.Server, Dir: t.TempDir()}
	if _, err := b.Init(o); !errors.Is(err, hierarchy.ErrWaiting) {
		t.Errorf("a strict backup gave its erasure key: %v", err)
	}
}

// copied copies the data directory of a server that stands still meanwhile, and
// starts it again.
func (w *world) copied() string {
	w.t.Helper()
	w.Stop()
	dir := filepath.Join(w.t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(w.Dir)); err != nil {
		w.t.Fatal(err)
	}
	w.Start()
	return dir
}

// put makes parts of the data directory, or all of it, what a copy holds. The
// server is stopped if it runs.
func (w *world) put(from string, parts ...string) {
	w.t.Helper()
	if w.Server != nil {
		w.Stop()
	}
	if len(parts) == 0 {
		parts = []string{"state.db", "head", "root", "audit", "pki"}
	}
	for _, part := range parts {
		target := filepath.Join(w.Dir, part)
		info, err := os.Stat(filepath.Join(from, part))
		if err == nil {
			err = os.RemoveAll(target)
		}
		if err == nil && info.IsDir() {
			err = os.CopyFS(target, os.DirFS(filepath.Join(from, part)))
		} else if err == nil {
			var data []byte
			if data, err = os.ReadFile(filepath.Join(from, part)); err == nil {
				err = os.WriteFile(target, data, 0o600)
			}
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// disk is a faultfs as the audit log takes it.
type disk struct{ *faultfs.FS }

func (d disk) Open(name string, create bool) (audit.File, error) {
	f, err := d.FS.Open(name, create)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Scenario 71: the audit log can't be written, or only slowly.
func TestScenario71_AuditUnwritable(t *testing.T) {
	t.Parallel()
	d := disk{faultfs.New(1)}
	w := worldWith(t, testkit.Options{AuditFS: d})
	c := w.Dial(w.app1)
	w.seal(c, cards)
	// Slow: the answer waits for its leaf, and comes.
	var held atomic.Bool
	gate := make(chan struct{})
	d.SetFault(func(op faultfs.Op) error {
		if op.Kind == faultfs.Sync {
			held.Store(true)
			<-gate
		}
		return nil
	})
	done := make(chan error, 1)
	go func() {
		_, err := c.Encrypt(t.Context(), orders, plaintext, client.EncryptOptions{})
		done <- err
	}()
	select {
	case err := <-done:
		t.Errorf("an answer came before its leaf was durable: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	close(gate)
	if err := <-done; err != nil || !held.Load() {
		t.Errorf("after the disk went on: %v", err)
	}
	// Full: nothing is answered, in bounded time, and nothing is deadlocked.
	for _, kind := range []faultfs.Kind{faultfs.Write, faultfs.Sync} {
		d.SetFault(func(op faultfs.Op) error {
			if op.Kind == kind {
				return errors.New("no space left on device")
			}
			return nil
		})
		within(t, 30*time.Second, func() {
			fresh := w.Dial(w.app1)
			w.refuses(fresh, cards, client.ErrUnavailable)
			raw := w.Raw(w.app1.Dir)
			body := []byte(`{"items":[{"op":"encrypt","key":"payments/cards","plaintext":"aGVsbG8="}]}`)
			if a := w.Send(raw.Identity, testkit.Message{Method: "POST", Path: "/v1/use", Body: body}); a.Status != http.StatusServiceUnavailable {
				t.Errorf("%s fails: server-side use answers %d", kind, a.Status)
			}
			if a := w.Send(nil, testkit.Message{Method: "GET", Path: "/v1/health"}); a.Status != http.StatusServiceUnavailable || !bytes.Contains(a.Body, []byte("failing")) {
				t.Errorf("%s fails: health says %d %s", kind, a.Status, a.Body)
			}
		})
		d.SetFault(nil)
		w.Abandon()
		w.Start()
		w.seal(w.Dial(w.app1), cards)
	}
}

// Scenario 75: secrets that are easy to recognise, and every place that they could
// have leaked to.
func TestScenario75_Canaries(t *testing.T) {
	t.Parallel()
	var log locked
	const passphrase = "canary passphrase 7f3a9c of the root"
	unlock := func() root.Unlock { return root.Unlock{Passphrase: secret.Take([]byte(passphrase))} }
	logger := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w := worldWith(t, testkit.Options{
		Sealing: root.Sealing{Passphrase: secret.Take([]byte(passphrase)), Cost: root.Cost{MemoryKiB: 19456, Passes: 2, Lanes: 1}}, Unlock: unlock,
		Logger: logger, Clock: clock.System(),
	})
	line := w.Invite("app9")
	invite, err := wire.ParseInvite(line)
	if err != nil {
		t.Fatal(err)
	}
	canaries := map[string][]byte{
		"passphrase": []byte(passphrase), "plaintext": plaintext, "context": []byte("canary-context-55d1"), "invite": []byte(line), "invite's seed": invite.Seed,
	}
	c := w.Dial(w.app1)
	var said []string
	note := func(err error) {
		if err != nil {
			said = append(said, err.Error())
		}
	}
	// Everything that handles them, in the good way and the bad.
	object, err := c.Encrypt(t.Context(), cards, plaintext, client.EncryptOptions{Context: canaries["context"]})
	note(err)
	_, _, err = c.Decrypt(t.Context(), object, client.DecryptOptions{Keys: []string{cards}, Context: canaries["context"]})
	note(err)
	_, _, err = c.Decrypt(t.Context(), edit(object, len(object)-1, object[len(object)-1]^1), client.DecryptOptions{Keys: []string{cards}, Context: canaries["context"]})
	note(err)
	used, err := c.Use(t.Context(), []client.UseItem{
		{Operation: "encrypt", Key: cards, Plaintext: plaintext, Context: canaries["context"]}, {Operation: "encrypt", Key: "no/such", Plaintext: plaintext},
		{Operation: "decrypt", Key: cards, Ciphertext: plaintext},
	})
	note(err)
	for _, u := range used {
		note(u.Err)
	}
	opts := client.EnrollOptions{Clock: clock.System()}
	for range 2 { // the second time it was used
		_, err = client.Enroll(t.Context(), filepath.Join(t.TempDir(), "app9"), line, opts)
		note(err)
	}
	_, err = client.Enroll(t.Context(), filepath.Join(t.TempDir(), "x"), line+"x", opts)
	note(err)
	w.UnlockWith(func() root.Unlock { return root.Unlock{Passphrase: secret.Take([]byte(passphrase + "!"))} })
	w.Stop()
	note(w.TryStart())
	w.UnlockWith(unlock)
	w.Start()
	g, release := w.release(w.Raw(w.app1.Dir), testkit.DataItem(cards, "encrypt"))
	canaries["leaf key"] = bytes.Clone(release.Keys[0])
	if g.Items[0].Decision != wire.DecisionAllowed {
		t.Fatal(g.Items[0].Reason)
	}
	for _, m := range []testkit.Message{
		{Method: "POST", Path: "/v1/enroll", Body: []byte(line)}, {Method: "POST", Path: "/v1/exchange", Body: plaintext}, {Method: "POST", Path: "/v1/use", Body: plaintext},
		{Method: "GET", Path: "/v1/keys"},
	} {
		said = append(said, string(w.Send(w.Raw(w.app1.Dir).Identity, m).Body))
	}
	said = append(said, string(w.Ask(w.Admins[0], testkit.Message{Method: "GET", Path: "/v1/admin/status"}).Body))
	resp, err := http.Get("http://" + w.Metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var metrics bytes.Buffer
	if _, err := metrics.ReadFrom(resp.Body); err != nil || !strings.Contains(metrics.String(), "claviger_") {
		t.Fatalf("metrics: %v", err)
	}
	sinks := map[string][]byte{
		"errors and answers": []byte(strings.Join(said, "\n")), "log": log.bytes(), "metrics": metrics.Bytes(), "audit export": w.Export(), "backup": w.Backup(),
	}
	if len(sinks["log"]) == 0 || len(said) < 8 {
		t.Fatal("nothing was logged, or nothing failed")
	}
	w.Stop()
	for _, dir := range []string{w.Dir, w.app1.Dir} {
		err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			sinks[name], err = os.ReadFile(name)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	scan(t, sinks, canaries)
	sinks = map[string][]byte{"a control": append([]byte("x"), base64.StdEncoding.EncodeToString(plaintext)...)}
	if len(found(sinks, canaries)) != 1 {
		t.Error("the scan finds nothing even where something is")
	}
}

// found searches each sink for each canary, as it is, in hexadecimal and in base64
// at any of its three offsets.
func found(sinks, canaries map[string][]byte) []string {
	var out []string
	for what, canary := range canaries {
		forms := [][]byte{canary, []byte(hex.EncodeToString(canary)), []byte(strings.ToUpper(hex.EncodeToString(canary)))}
		for skip := range 3 {
			part := canary[skip:]
			part = part[:len(part)/3*3]
			forms = append(forms, []byte(base64.StdEncoding.EncodeToString(part)), []byte(base64.URLEncoding.EncodeToString(part)))
		}
		for where, data := range sinks {
			for _, f := range forms {
				if bytes.Contains(data, f) {
					out = append(out, what+" in "+where)
					break
				}
			}
		}
	}
	return out
}

func scan(t *testing.T, sinks, canaries map[string][]byte) {
	t.Helper()
	for _, f := range found(sinks, canaries) {
		t.Errorf("the %s", f)
	}
}

// locked is a buffer for a log.
type locked struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *locked) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.buf.Bytes())
}
