// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"claviger/internal/admin"
)

// A domain that was just founded has no server yet: what needs none works, and
// what needs one says how to start it.
func TestRightAfterInit(t *testing.T) {
	d := &domain{t: t, home: ground(t)}
	d.keygen("alice")
	rex := d.keygen("rex")
	code := d.home.run(t, d.home.initArgs("--recovery", rex, "--recovery-wait", "48h", "--json")...)
	want(t, "init", code, 0)
	got := into[initResult](t, d.home.out.String())
	if !got.Recovery || !slices.Equal(got.Holders, []string{"rex"}) || got.Needed != 1 || got.Wait != 48*3600 {
		t.Errorf("%+v", got)
	}
	if strings.Contains(d.home.err.String(), "recovery") {
		t.Errorf("a warning about the recovery quorum: %s", d.home.err.String())
	}

	invite := strings.TrimSpace(d.ok("alice", "admin", "invite"))
	d.ok("rex", "admin", "join", invite)
	show := into[adminShowResult](t, d.ok("alice", "admin", "show", "--json"))
	if show.Role != "admin" || show.Quorum != 1 || show.Needed != 1 || show.Wait != 48*3600 {
		t.Errorf("%+v", show)
	}
	_, out, complaint := d.run("alice", "admin", "show")
	want(t, "lines on standard output", strings.Count(out, "\n"), 1)
	wantIn(t, "standard error", complaint, "1 of 1 (rex) can replace the admins, 48h0m0s after announcing it")
	_, out, complaint = d.run("rex", "admin", "show") // has not seen the domain
	want(t, "rex", strings.TrimSpace(out), rex)
	want(t, "standard error", complaint, "")

	d.forget("alice")
	for _, line := range []string{"status", "key list", "approve list", "admin confirm"} {
		d.fails(ExitFailure, "hint: start the server (claviger server --dir DIR)", "alice", strings.Fields(line)...)
	}
}

// forget makes a profile look for its server where nobody listens.
func (d *domain) forget(name string) {
	d.t.Helper()
	p, err := admin.OpenProfile(d.profile(name))
	if err != nil {
		d.t.Fatal(err)
	}
	if err := p.Join(p.Domain, []string{"127.0.0.1:1"}, nil); err != nil {
		d.t.Fatal(err)
	}
}

func TestShortRecoveryIsWarnedOf(t *testing.T) {
	d := &domain{t: t, home: ground(t)}
	rex := d.keygen("rex")
	want(t, "init", d.home.run(t, d.home.initArgs("--recovery", rex, "--recovery-wait", "5m")...), 0)
	wantIn(t, "standard error", d.home.err.String(), "a recovery takes effect 5m0s after it is announced")
}

// The quorum may give itself another recovery quorum, and none.
func TestRecoveryIsSet(t *testing.T) {
	d := runningDomain(t)
	rex, rio := d.keygen("rex"), d.keygen("rio")
	d.fails(ExitUsage, "either --key or --none", "alice", "admin", "recovery")
	d.fails(ExitUsage, "such as 2of2", "alice", "admin", "recovery", "--key", rex, "--key", rio)
	d.fails(ExitDenied, "this domain has none", "alice", "admin", "recover", "--announce", "--key", rex)
	d.ok("alice", "admin", "recovery", "--key", rex, "--key", rio, "--quorum", "2of2")
	status := into[statusResult](t, d.ok("alice", "status", "--json"))
	if status.Recovery != 2 || status.Wait != uint64((72*time.Hour).Seconds()) || !slices.Equal(status.Holders, []string{"rex", "rio"}) {
		t.Errorf("%+v", status)
	}
	want(t, "what opens the root", status.Root, "one key file, beside a server's epoch file")
	wantIn(t, "status", d.ok("alice", "status"), "2 of 2 (rex, rio) can replace the admins, 72h0m0s after announcing it")
	d.fails(ExitDenied, "the key of alice is not one of its keys", "alice", "admin", "recover", "--announce", "--key", rex)
	d.fails(ExitUsage, "--key is missing", "alice", "admin", "recover")
	d.ok("alice", "admin", "recovery", "--none")
	if got := into[changeResult](t, d.ok("alice", "admin", "recovery", "--none", "--json")); !got.Unchanged {
		t.Errorf("%+v", got)
	}
	wantIn(t, "status", d.ok("alice", "status"), "none: when too few authority keys are left")
}

// What waits to be destroyed can be kept, one version at a time.
func TestKeyKeep(t *testing.T) {
	d := runningDomain(t)
	d.ok("alice", "key", "create", "old")
	d.fails(ExitNotFound, "nothing of that key waits to be destroyed", "alice", "key", "keep", "old")
	d.ok("alice", "key", "rotate", "old")
	got := into[changeResult](t, d.ok("alice", "key", "destroy", "old", "--yes", "--wait", "24h", "--json"))
	want(t, "summary", got.Summary, "destroy every version of key old in 24h0m0s: what it encrypted is lost for ever then")
	d.fails(ExitUsage, "versions [1 2] wait to be destroyed: choose one with --version", "alice", "key", "keep", "old")
	d.ok("alice", "key", "keep", "old", "--version", "1")
	d.ok("alice", "key", "keep", "old")
	for _, v := range into[keyRow](t, d.ok("alice", "key", "show", "old", "--json")).Versions {
		want(t, "destroyed at", v.DestroyAt, "")
	}
	d.fails(ExitUsage, "of 0 admins 1 can't be a quorum", "alice", "admin", "remove", "alice")
	d.fails(ExitUsage, "holds no change", "alice", "approve", "show", d.home.path("root.key"))
	d.fails(ExitUsage, `"Bad Name" is no name of a key`, "alice", "key", "create", "Bad Name")
	d.fails(ExitUsage, "wrong number of arguments; it is claviger key create NAME", "alice", "key", "create")
}

// TestRecovery: alice's key is lost, and rex brings dan in.
func TestRecovery(t *testing.T) {
	d := &domain{t: t, home: ground(t)}
	d.keygen("alice")
	rex, dan, eve := d.keygen("rex"), d.keygen("dan"), d.keygen("eve")
	want(t, "init", d.home.run(t, d.home.initArgs("--recovery", rex, "--recovery-wait", "1h")...), 0)
	d.start()
	d.moved("alice")
	invite := strings.TrimSpace(d.ok("alice", "admin", "invite"))
	for _, name := range []string{"rex", "dan"} {
		d.ok(name, "admin", "join", invite)
	}
	wantIn(t, "what waits", d.ok("rex", "approve", "list"), "Nothing waits")
	d.fails(ExitFailure, "--announce begins the waiting time", "rex", "admin", "recover", "--key", dan)
	d.fails(ExitDenied, "", "rex", "status")
	d.fails(ExitDenied, "no authority key", "dan", "approve", "list")

	got := into[changeResult](t, d.ok("rex", "admin", "recover", "--announce", "--key", dan, "--json"))
	want(t, "applied", got.Applied, true)
	wantIn(t, "status", d.ok("alice", "status"), "A recovery was announced: other admins can take the place of these from ")
	d.fails(ExitFailure, "has not been announced", "rex", "admin", "recover", "--key", eve)

	file, signed := d.home.path("recovery.txt"), d.home.path("signed.txt")
	d.fails(ExitPending, "it waits for the new keys of dan to sign", "rex", "admin", "recover", "--key", dan, "-o", file)
	list := into[approveListResult](t, d.ok("rex", "approve", "list", "--json"))
	if len(list.Pending) != 1 || list.Pending[0].Due == "" || !slices.Equal(list.Pending[0].Owners, []string{"dan"}) {
		t.Errorf("%+v", list)
	}
	id := list.Pending[0].ID
	d.ok("dan", "approve", "sign", file, "-o", signed, "--yes")
	d.fails(ExitPending, "it is signed and waits for its time", "rex", "approve", "submit", signed)
	d.fails(ExitPending, "hint: when that has come: claviger approve sign "+id, "rex", "approve", "sign", id, "--yes")
	wantIn(t, "show", d.ok("rex", "approve", "show", id), "1 of 1 holders of recovery keys, and each new key itself")
	d.fails(ExitDenied, "no authority key", "dan", "key", "list")

	// Alice was only away: she answers.
	d.ok("alice", "admin", "recovery", "--none")
	if strings.Contains(d.ok("alice", "status"), "A recovery was announced") {
		t.Error("it is still announced")
	}
	d.fails(ExitDenied, "no authority key", "rex", "approve", "list")
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}
