// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeysPoliciesAndClients(t *testing.T) {
	d := runningDomain(t)
	d.ok("alice", "key", "create", "payments/cards", "--allow", "app1", "--tag", "env=prod", "--lease", "10m")
	keys := into[keyListResult](t, d.ok("alice", "key", "list", "--json"))
	if len(keys.Keys) != 1 || keys.Keys[0].Name != "payments/cards" || keys.Keys[0].Version != 1 || keys.Keys[0].Lease != 600 || keys.Keys[0].Tags["env"] != "prod" {
		t.Errorf("%+v", keys)
	}
	d.fails(ExitUsage, "exists", "alice", "key", "create", "payments/cards")
	d.fails(ExitUsage, "neither a SPIFFE id", "alice", "key", "create", "x", "--allow", "App 1")
	d.fails(ExitNotFound, "no key named", "alice", "key", "show", "none")

	for name, file := range map[string]string{"app1": "app1.invite", "app2": "app2.invite"} {
		d.ok("alice", "client", "invite", name, "-o", d.home.path(file))
		d.ok(name, "client", "enroll", d.home.path(file))
	}
	plain, sealed := d.home.path("plain"), d.home.path("sealed")
	if err := os.WriteFile(plain, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.ok("app1", "encrypt", "--key", "payments/cards", "-o", sealed, plain)
	d.fails(ExitDenied, "app2 may not encrypt with payments/cards (no policy allows it)", "app2", "encrypt", "--key", "payments/cards", "-o", sealed+"2", plain)

	// `key list` under a client's profile shows what that client may use.
	if got := into[usableResult](t, d.ok("app1", "key", "list", "--json")); len(got.Keys) != 1 || got.Keys[0].Name != "payments/cards" {
		t.Errorf("%+v", got)
	}
	if got := into[usableResult](t, d.ok("app2", "key", "list", "--json")); len(got.Keys) != 0 {
		t.Errorf("%+v", got)
	}

	// So does `key show`, and `status`: how fresh what it may use is.
	shown := into[leasedResult](t, d.ok("app1", "key", "show", "payments/cards", "--json"))
	if shown.Name != "payments/cards" || shown.Version != 1 || shown.Operation != "encrypt" || shown.Lease < 60 || shown.Staleness < 60 || shown.Staleness > 900 {
		t.Errorf("%+v", shown)
	}
	if shown.Epoch == "0.0" || shown.Statement == nil || *shown.Statement > 60 || shown.Server == "" || shown.ServerName == "" || shown.Way == "" {
		t.Errorf("%+v", shown.freshness)
	}
	wantIn(t, "key show", d.ok("app1", "key", "show", "payments/cards"), "staleness left")
	d.fails(ExitDenied, "app2 may not decrypt with payments/cards", "app2", "key", "show", "payments/cards")
	d.fails(ExitUsage, "", "app1", "key", "show", "no//name")
	if got := into[clientStatus](t, d.ok("app1", "status", "--json")); !strings.HasSuffix(got.Client, "/workload/app1") || len(got.Keys) != 1 || got.Keys[0] != shown.leasedRow && got.Keys[0].ID != shown.ID || got.Way != shown.Way {
		t.Errorf("%+v", got)
	}
	wantIn(t, "status", d.ok("app2", "status"), "none")

	d.ok("alice", "key", "rotate", "payments/cards")
	if k := into[keyRow](t, d.ok("alice", "key", "show", "payments/cards", "--json")); k.Version != 2 || len(k.Versions) != 2 {
		t.Errorf("after rotation: %+v", k)
	}
	wantIn(t, "explain", d.ok("alice", "policy", "explain", "app2", "decrypt", "payments/cards"), "app2 may not decrypt with payments/cards")
	d.fails(ExitUsage, "there is no endpoint xks", "alice", "policy", "explain", "xks:alice", "decrypt", "payments/cards")
	d.fails(ExitUsage, "is not NAME=VALUE", "alice", "policy", "explain", "app1", "decrypt", "payments/cards", "--asked", "kmsOperation")
	wantIn(t, "explain", d.ok("alice", "policy", "explain", "app1", "decrypt", "payments/cards", "--proved", "account=1"), "no attribute is called")
	wantIn(t, "who-can", d.ok("alice", "policy", "who-can", "decrypt", "payments/cards"), "app1")
	wantIn(t, "who-can of a secret", d.ok("alice", "policy", "who-can", "secret:read", "payments/cards/db", "--json"), `"key":"payments/cards/db"`)
	wantIn(t, "explain of a secret", d.ok("alice", "policy", "explain", "app1", "secret:read", "payments/cards/db"), "app1 may not secret:read with payments/cards/db")
	d.fails(ExitNotFound, "no key backs a secret", "alice", "policy", "explain", "app1", "secret:read", "nowhere/db")
	wantIn(t, "show", d.ok("alice", "policy", "show"), `@id("allow-app1:payments/cards")`)

	d.lockOut(t)
	d.switches(t, sealed)
}

// lockOut: a set that takes away what a client did lately is not proposed.
func (d *domain) lockOut(t *testing.T) {
	t.Helper()
	narrow := d.home.path("narrow.cedar")
	if err := os.WriteFile(narrow, []byte("// nobody\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	plan := into[planResult](t, d.ok("alice", "policy", "plan", narrow, "--json"))
	if len(plan.Changes) == 0 || plan.Changes[0].Client != "app1" || !plan.Changes[0].Before || plan.Changes[0].After {
		t.Errorf("%+v", plan)
	}
	d.fails(ExitDenied, "app1 could", "alice", "policy", "set", narrow)
	d.fails(ExitDenied, "app1 could", "alice", "policy", "set", narrow, "--override")
	wantIn(t, "dry run", d.ok("alice", "policy", "set", narrow, "--override", "--reason", "test", "--dry-run"), "removed  permit allow-app1:payments/cards")
	wantIn(t, "still there", d.ok("alice", "policy", "show"), "allow-app1")
	broken := d.home.path("broken.cedar")
	if err := os.WriteFile(broken, []byte("permit("), 0o600); err != nil {
		t.Fatal(err)
	}
	d.fails(ExitUsage, "policy", "alice", "policy", "set", broken)
}

// switches: disable, enable, revoke, and what they do to a client.
func (d *domain) switches(t *testing.T, sealed string) {
	t.Helper()
	decrypt := []string{"decrypt", "--key", "payments/cards", "-o", sealed + ".out", sealed}
	d.ok("app1", decrypt...)
	d.ok("alice", "key", "disable", "payments/cards", "--reason", "test")
	d.fails(ExitDenied, "the key is disabled", "app1", decrypt...)
	d.ok("alice", "enable", "payments/cards")
	d.ok("app1", decrypt...)
	d.ok("alice", "revoke", "app1")
	d.fails(ExitDenied, "revoked", "app1", decrypt...)
	for _, again := range [][]string{{"client", "revoke", "app1"}, {"key", "enable", "payments/cards"}, {"policy", "allow", "app1", "payments/cards"}, {"enable", "--all"}} {
		if r := into[changeResult](t, d.ok("alice", append(again, "--json")...)); !r.Unchanged || !r.Applied {
			t.Errorf("%v again: %+v", again, r)
		}
	}
	if got := into[clientListResult](t, d.ok("alice", "client", "list", "--json")); len(got.Clients) != 2 || got.Clients[0].State != "revoked" || got.Clients[1].State != "enrolled" {
		t.Errorf("%+v", got)
	}
	d.ok("alice", "enable", "app1")
	d.ok("app1", decrypt...)
	d.fails(ExitUsage, "needs a confirmation", "alice", "revoke", "--all")
	d.ok("alice", "revoke", "--all", "--yes")
	d.fails(ExitDenied, "everything is revoked", "app1", decrypt...)
	d.ok("alice", "enable", "--all")
	d.fails(ExitNotFound, "no key, client or endpoint", "alice", "revoke", "none")
	d.fails(ExitUsage, "name a key", "alice", "revoke")
	d.fails(ExitUsage, "needs a confirmation", "alice", "key", "destroy", "payments/cards")
	d.ok("alice", "key", "destroy", "payments/cards", "--yes", "--wait", "24h")
	d.fails(ExitDenied, "waiting to be destroyed", "app1", decrypt...)
	if k := into[keyRow](t, d.ok("alice", "key", "show", "payments/cards", "--json")); k.Versions[0].DestroyAt == "" {
		t.Errorf("%+v", k)
	}
}

func TestAuditVerbs(t *testing.T) {
	d := runningDomain(t)
	d.ok("alice", "key", "create", "k", "--allow", "app1")
	d.ok("alice", "client", "invite", "app1", "-o", d.home.path("invite"))
	d.ok("app1", "client", "enroll", d.home.path("invite"))
	plain := d.home.path("plain")
	if err := os.WriteFile(plain, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.ok("app1", "encrypt", "--key", "k", "-o", plain+".enc", plain)
	wantIn(t, "tail", d.ok("alice", "audit", "tail"), "spiffe://example.org/workload/app1")
	if out := d.ok("alice", "audit", "tail", "-n", "100"); strings.Contains(out, "state:read") {
		t.Errorf("what admins read is shown:\n%s", out)
	}
	wantIn(t, "all", d.ok("alice", "audit", "tail", "-n", "3", "--all"), "state:read")
	want(t, "one line", strings.Count(d.ok("alice", "audit", "tail", "-n", "1", "--json"), "\n"), 1)
	archive := d.home.path("audit.tar")
	d.ok("alice", "audit", "export", "-o", archive)
	receipts := filepath.Join(d.profile("app1"), "receipts")
	d.stop() // offline from here on
	r := into[verifyResult](t, d.ok("alice", "audit", "verify", archive, "--receipts", receipts, "--json"))
	if !r.OK || len(r.Logs) != 1 || r.Receipts == 0 {
		t.Errorf("%+v", r)
	}
	d.ok("app1", "audit", "verify", archive)
	data, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	i := strings.Index(string(data), "workload/app1")
	data[i] ^= 1
	if err := os.WriteFile(archive, data, 0o600); err != nil {
		t.Fatal(err)
	}
	d.fails(ExitIntegrity, "is not what was signed", "alice", "audit", "verify", archive)
	if err := os.WriteFile(filepath.Join(receipts, "forged"), []byte("no grant"), 0o600); err != nil {
		t.Fatal(err)
	}
	data[i] ^= 1
	if err := os.WriteFile(archive, data, 0o600); err != nil {
		t.Fatal(err)
	}
	d.fails(ExitIntegrity, "is not what was signed", "alice", "audit", "verify", archive, "--receipts", receipts)
	d.fails(ExitFailure, "claviger server", "alice", "status")
}

func TestQuorumOfTwo(t *testing.T) {
	d := &domain{t: t, home: ground(t)}
	bob := strings.TrimSpace(d.ok("bob", "admin", "keygen", "bob", "--passphrase-file", d.home.path("pass")))
	d.keygen("alice")
	if code := d.home.run(t, d.home.initArgs("--quorum", "2of2", "--admin", bob)...); code != 0 {
		t.Fatal(d.home.err.String())
	}
	d.start()
	d.moved("alice")
	d.ok("alice", "key", "create", "k") // one admin may
	invite := strings.TrimSpace(d.ok("alice", "admin", "invite"))
	d.ok("bob", "admin", "join", invite)
	d.ok("bob", "admin", "confirm")

	made := into[keyCreateResult](t, d.fails(ExitPending, "app2 may not use it yet", "alice", "key", "create", "k2", "--allow", "app1", "--allow", "app2", "--json"))
	if !made.Applied || len(made.Allows) != 1 || made.Allows[0].Pending == nil {
		t.Errorf("%+v", made)
	}
	out := d.fails(ExitPending, "can sign: bob", "alice", "policy", "allow", "app1", "k", "--json")
	id := into[changeResult](t, out).Pending.ID
	wantIn(t, "list", d.ok("bob", "approve", "list"), id[:8])
	wantIn(t, "show", d.ok("bob", "approve", "show", id), "+ permit (")
	d.fails(ExitUsage, "needs a confirmation", "bob", "approve", "sign", id)
	d.fails(ExitFailure, "signed already", "alice", "approve", "sign", id[:8], "--yes")
	wantIn(t, "signed", d.ok("bob", "approve", "sign", id[:8], "--yes"), "Done")
	d.fails(ExitNotFound, "nothing with this id", "bob", "approve", "show", id)

	// A third admin signs a file before any server knows the key.
	carol := strings.TrimSpace(d.ok("carol", "admin", "keygen", "carol", "--key-file", d.home.path("root.key"), "--invite", invite))
	d.fails(ExitDenied, "no authority key", "carol", "status")
	out = d.fails(ExitPending, "", "alice", "admin", "add", carol, "--json")
	id = into[changeResult](t, out).Pending.ID
	change, signed := d.home.path("change"), d.home.path("signed")
	d.ok("alice", "approve", "show", id, "-o", change)
	d.fails(ExitUsage, "-o FILE", "carol", "approve", "sign", change, "--yes")
	d.ok("carol", "approve", "sign", change, "-o", signed, "--yes")
	d.fails(ExitPending, "can sign: bob", "alice", "approve", "submit", signed)
	d.ok("bob", "approve", "sign", id, "--yes")
	d.ok("carol", "admin", "confirm")
	st := into[statusResult](t, d.ok("carol", "status", "--json", "--dir", d.home.path("server")))
	if len(st.Admins) != 3 || st.Quorum != 2 || !strings.Contains(st.Root, "key file") {
		t.Errorf("%+v", st)
	}
	out = d.fails(ExitPending, "", "alice", "admin", "remove", "carol", "--json")
	d.ok("bob", "approve", "sign", into[changeResult](t, out).Pending.ID, "--yes")
	d.fails(ExitDenied, "no authority key", "carol", "status")
}

func TestDoctor(t *testing.T) {
	d := runningDomain(t)
	r := into[doctorResult](t, d.ok("alice", "doctor", "--json", "--dir", d.home.path("server")))
	if !r.OK || len(r.Findings) < 6 {
		t.Errorf("%+v", r)
	}
	// An authority key in the server's directory, whatever it is called.
	key, err := os.ReadFile(filepath.Join(d.profile("alice"), "authority.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.home.path("server"), "pki", "notes.txt"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	d.fails(ExitFailure, "failed checks: 1", "alice", "doctor", "--dir", d.home.path("server"))
	d.ok("alice", "backup", "create", "-o", d.home.path("backup"))
	if info, err := os.Stat(d.home.path("backup")); err != nil || info.Size() == 0 || info.Mode().Perm() != 0o600 {
		t.Errorf("backup: %v, %v", info, err)
	}
	if st := into[statusResult](t, d.ok("alice", "status", "--json")); st.Backups != 1 {
		t.Errorf("%+v", st)
	}
}

// TestTailFollows: following prints what comes and ends with an interrupt.
func TestTailFollows(t *testing.T) {
	d := runningDomain(t)
	d.ok("alice", "key", "create", "first")
	ctx, cancel := context.WithCancel(t.Context())
	out := &lineWatch{do: func(n int) {
		if n == 1 {
			d.ok("alice", "key", "create", "second") // while following
			return
		}
		cancel()
	}}
	s := &session{vars: map[string]string{"HOME": d.home.vars["HOME"], "CLAVIGER_PROFILE": "alice"}}
	streams := s.streams()
	streams.Out = out
	want(t, "exit status", Main(ctx, []string{"audit", "tail", "--follow", "--every", "1s", "-n", "1"}, streams), 0)
	if out.n < 2 || strings.Contains(out.text, ":read") {
		t.Errorf("%d lines:\n%s", out.n, out.text)
	}
}

// lineWatch calls do after each write with how many there were.
type lineWatch struct {
	n    int
	text string
	do   func(n int)
}

func (w *lineWatch) Write(p []byte) (int, error) {
	w.n++
	w.text += string(p)
	w.do(w.n)
	return len(p), nil
}
