// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/client"
	"claviger/internal/admin"
)

// holder creates a key that app1 has used, in a process that then lost its way to the
// server: it ended without a goodbye.
func (d *domain) holder(t *testing.T, key string, settings ...string) {
	t.Helper()
	d.ok("alice", append([]string{"key", "create", key, "--allow", "app1"}, settings...)...)
	if _, err := os.Stat(d.profile("app1")); err != nil {
		d.ok("alice", "client", "invite", "app1", "-o", d.home.path("app1.invite"))
		d.ok("app1", "client", "enroll", d.home.path("app1.invite"))
	}
	p, err := client.OpenProfile(d.profile("app1"))
	if err != nil {
		t.Fatal(err)
	}
	var cut func()
	p.Addresses[0], cut = forward(t, p.Addresses[0])
	defer cut()
	c, err := client.Dial(t.Context(), p, client.Options{AllowDemo: p.Demo})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Encrypt(t.Context(), key, []byte("hello"), client.EncryptOptions{}); err != nil {
		t.Fatal(err)
	}
	cut()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// forward leads connections to an address until it is cut.
func forward(t *testing.T, to string) (address string, cut func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			context.AfterFunc(ctx, func() { in.Close(); out.Close() })
			all.Go(func() { _, _ = io.Copy(in, out) })
			all.Go(func() { _, _ = io.Copy(out, in) })
		}
	})
	return l.Addr().String(), func() {
		stop()
		l.Close()
		all.Wait()
	}
}

func TestRevokeMeasures(t *testing.T) {
	d := runningDomain(t)
	d.holder(t, "cards")
	out := d.ok("alice", "revoke", "cards")
	wantIn(t, "revoke", out, "Done: disable key cards")
	wantIn(t, "revoke", out, "Dark: 0 holders of 1")
	wantIn(t, "revoke", out, "1 holder may still use it, the slowest until")
	wantIn(t, "revoke", out, "spiffe://example.org/workload/app1")
	d.fails(ExitFailure, "the time is up: 1 holder may still use it", "alice", "revoke", "cards", "--measure", "--timeout", "1s")

	var got map[string]json.RawMessage
	if err := json.Unmarshal([]byte(d.ok("alice", "revoke", "cards", "--json")), &got); err != nil || string(got["unchanged"]) != "true" {
		t.Fatalf("%v %s", err, got)
	}
	var shape map[string]json.RawMessage
	if err := json.Unmarshal(got["revocation"], &shape); err != nil {
		t.Fatal(err)
	}
	// The shape is a promise of docs/json-output.md; told comes as soon as a
	// statement is signed.
	delete(shape, "told")
	if keys := slices.Sorted(maps.Keys(shape)); strings.Join(keys, " ") != "acknowledged at at_least dark done ends epoch holders last_seconds latest lit now p50_seconds p99_seconds server what" {
		t.Errorf("revocation has %s", keys)
	}

	d.ok("alice", "enable", "cards")
	d.ok("alice", "key", "create", "idle")
	wantIn(t, "nobody held it", d.ok("alice", "revoke", "idle", "--measure"), "Nobody who follows the rules can use it any more.")
	wantIn(t, "dry run", d.ok("alice", "revoke", "cards", "--dry-run"), "This would disable key cards")
	everything := into[revokeResult](t, d.ok("alice", "revoke", "--all", "--yes", "--json"))
	if everything.Revocation == nil || everything.Revocation.Holders != 1 || everything.Revocation.What[0] != "everything" {
		t.Errorf("%+v", everything.Revocation)
	}
	d.ok("alice", "enable", "--all")
	for _, args := range [][]string{{"revoke"}, {"revoke", "cards", "--all"}, {"revoke", "--drill", "--all"}, {"revoke", "cards", "--drill", "--dry-run"}, {"revoke", "cards", "--timeout", "1ms"}} {
		if code, _, _ := d.run("alice", args...); code != int(ExitUsage) {
			t.Errorf("%s: exit %d", args, code)
		}
	}
}

// TestDrill: a drill stops a canary key, sees it end, and switches it on again,
// whatever comes of it. Other keys it leaves alone.
func TestDrill(t *testing.T) {
	d := runningDomain(t)
	d.ok("alice", "key", "create", "cards")
	d.fails(ExitDenied, "cards is not tagged canary", "alice", "revoke", "--drill", "cards")
	d.fails(ExitNotFound, "no key named none", "alice", "revoke", "--drill", "none")
	enabled := func(key string) {
		t.Helper()
		if k := into[keyRow](t, d.ok("alice", "key", "show", key, "--json")); k.State != "enabled" {
			t.Errorf("%s is %s", key, k.State)
		}
	}
	enabled("cards")
	d.ok("alice", "key", "create", "canary/idle", "--tag", "canary=yes")
	d.fails(ExitFailure, "nobody held the key", "alice", "revoke", "--drill", "canary/idle")
	enabled("canary/idle")
	d.ok("alice", "key", "disable", "canary/idle")
	d.fails(ExitFailure, "is disabled; a drill would enable it", "alice", "revoke", "--drill", "canary/idle")

	d.holder(t, "canary/slow", "--tag", "canary=yes")
	d.fails(ExitFailure, "the time is up", "alice", "revoke", "--drill", "canary/slow", "--timeout", "1s")
	enabled("canary/slow")

	// A command that ends in order says so, and nobody waits for it.
	d.ok("alice", "key", "create", "canary/polite", "--tag", "canary=yes", "--allow", "app1")
	plain := d.home.path("plain")
	if err := os.WriteFile(plain, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.ok("app1", "encrypt", "--key", "canary/polite", "-o", d.home.path("polite"), plain)
	d.fails(ExitFailure, "nobody held the key", "alice", "revoke", "--drill", "canary/polite")

	// A lease that ends by itself soon; on a slow machine the first ones may have
	// ended before the drill began.
	for _, lease := range []string{"3s", "15s", "60s"} {
		key := "canary/" + lease
		d.holder(t, key, "--tag", "canary=yes", "--lease", lease)
		code, out, _ := d.run("alice", "revoke", "--drill", key, "--json")
		got := into[drillResult](t, out)
		enabled(key)
		if got.Revocation != nil && got.Revocation.Holders == 0 {
			continue
		}
		if code != 0 || !got.Passed || !got.Enabled || got.Key != key || !got.Revocation.Done || got.Revocation.Dark != 1 {
			t.Errorf("exit %d, %+v", code, got)
		}
		return
	}
	t.Error("no lease lasted until its drill")
}

// TestRevocationInWords shows what people read, for what a test can't bring about
// in a hurry.
func TestRevocationInWords(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 11, 21, 12, minute, 0, 0, time.UTC) }
	base := admin.Revocation{At: at(0), Now: at(1), Ends: at(15), Latest: at(60), Holders: 1000, Dark: 812, Acknowledged: 800, P50: 0.4, P99: 1.25, Last: 12.3456}
	with := func(change func(*admin.Revocation)) admin.Revocation {
		r := base
		change(&r)
		return r
	}
	for _, c := range []struct {
		name string
		r    admin.Revocation
		says []string
	}{
		{"some", base, []string{"Dark: 812 holders of 1000, 800 by their own word", "half after 400ms, 99 in 100 after 1.25s, the last after 12.346s",
			"188 holders may still use it, the slowest until 2026-11-21T12:15:00Z."}},
		{"more than are shown", with(func(r *admin.Revocation) { r.Lit = make([]admin.LitHolder, 100) }), []string{"and 88 more, which end sooner"}},
		{"done", with(func(r *admin.Revocation) { r.Dark, r.Done = 1000, true }), []string{"Nobody who follows the rules"}},
		{"taken back", with(func(r *admin.Revocation) { r.TakenBack = at(2) }), []string{"It was taken back at 2026-11-21T12:02:00Z."}},
		{"too many", with(func(r *admin.Revocation) { r.AtLeast, r.UnknownUntil = true, at(40) }), []string{"of 1000 or more", "more holders than the server has room for; the last ends at 2026-11-21T12:40:00Z"}},
		{"an earlier run", with(func(r *admin.Revocation) { r.Dark, r.UnknownBefore, r.UnknownUntil = 1000, at(0), at(50) }),
			[]string{"leases from before 2026-11-21T12:00:00Z are unknown; the last ends at 2026-11-21T12:50:00Z."}},
		{"other servers", with(func(r *admin.Revocation) { r.OtherServers = []string{"east", "west"} }),
			[]string{"what other servers gave out (east, west) ends at 2026-11-21T13:00:00Z at the latest"}},
	} {
		p := &printer{}
		printRevocation(p, &c.r)
		for _, says := range c.says {
			wantIn(t, c.name, p.buf.String(), says)
		}
	}
	if got := latestOf(&base); got != at(15) {
		t.Error(got)
	}
	late := with(func(r *admin.Revocation) { r.UnknownUntil = at(50) })
	other := with(func(r *admin.Revocation) { r.OtherServers = []string{"east"} })
	if latestOf(&late) != at(50) || latestOf(&other) != at(60) {
		t.Error("the slowest is not the slowest")
	}
	s := &session{tty: true}
	line := &statusLine{e: s.env()}
	line.draw("dark %d/%d", 1, 2)
	line.draw("dark %d/%d", 1, 2)
	line.clear()
	want(t, "on a terminal", s.err.String(), "\r\x1b[Kdark 1/2\r\x1b[K")
	s = &session{}
	line = &statusLine{e: s.env()}
	for _, n := range []int{1, 1, 2} {
		line.draw("dark %s", fmt.Sprint(n))
	}
	line.clear()
	want(t, "elsewhere", s.err.String(), "dark 1\ndark 2\n")
}
