// SPDX-License-Identifier: Apache-2.0

package cli

import (
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
	wantIn(t, "status", d.ok("alice", "status"), "2 of 2 (rex, rio) can replace the admins, 72h0m0s after announcing it")
	d.fails(ExitDenied, "the key of alice is not one of its keys", "alice", "admin", "recover", "--announce", "--key", rex)
	d.fails(ExitUsage, "--key is missing", "alice", "admin", "recover")
	d.ok("alice", "admin", "recovery", "--none")
	if got := into[changeResult](t, d.ok("alice", "admin", "recovery", "--none", "--json")); !got.Unchanged {
		t.Errorf("%+v", got)
	}
	wantIn(t, "status", d.ok("alice", "status"), "none: when too few authority keys are left")
}
