// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"claviger/internal/cli/endpointcmd/endpoint"
)

// TestEndpoints goes through the life of an endpoint of one admin.
func TestEndpoints(t *testing.T) {
	d := runningDomain(t)
	wantIn(t, "dry run", d.ok("alice", "endpoint", "add", "xks", "aws", "--key", "aws/", "--dry-run"), "+ key: aws/")
	d.fails(ExitUsage, "kinds: ", "alice", "endpoint", "add", "gopher", "aws")
	d.fails(ExitUsage, "name is not usable", "alice", "endpoint", "add", "xks", "AWS")
	d.fails(ExitUsage, "an issuer is URL", "alice", "endpoint", "add", "xks", "aws", "--issuer", "https://a,b")
	d.fails(ExitNotFound, "no endpoint named aws", "alice", "endpoint", "show", "aws")

	out := d.ok("alice", "endpoint", "add", "xks", "aws", "--key", "aws/", "--public", "https://kms.example.com")
	made := into[struct {
		Endpoints []endpoint.Row
	}](t, d.ok("alice", "endpoint", "list", "--json"))
	if len(made.Endpoints) != 1 || made.Endpoints[0].State != "enabled" || len(made.Endpoints[0].Credentials) != 1 {
		t.Fatalf("%+v", made)
	}
	wantIn(t, "add", out, "make endpoint aws (xks)")
	wantIn(t, "add", out, made.Endpoints[0].Credentials[0].ID)
	wantIn(t, "show", d.ok("alice", "endpoint", "show", "aws"), "aws/")

	wantIn(t, "no change", d.ok("alice", "endpoint", "add", "xks", "aws", "--key", "aws/", "--json"), `"unchanged":true`)
	wantIn(t, "a change", d.ok("alice", "endpoint", "add", "xks", "aws", "--rate", "9", "--json"), `"applied":true`)
	d.fails(ExitUsage, "stays with its kind", "alice", "endpoint", "add", "kes", "aws", "--host", "kes.example.com")

	file := d.home.path("new.json")
	out = d.ok("alice", "endpoint", "rotate", "aws", "--credential-out", file)
	secrets, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f := into[endpoint.File](t, string(secrets))
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if len(f.Credentials) != 1 || f.Credentials[0].Secret == "" || strings.Contains(out, f.Credentials[0].Secret) || !strings.Contains(out, "in "+file) {
		t.Errorf("the secret is printed too, or in no file: %s", out)
	}
	d.fails(ExitUsage, "--finish", "alice", "endpoint", "rotate", "aws")
	d.ok("alice", "endpoint", "rotate", "aws", "--finish")
	if r := into[endpoint.Row](t, d.ok("alice", "endpoint", "show", "aws", "--json")); len(r.Credentials) != 1 || r.Credentials[0].ID != f.Credentials[0].ID || r.Rate != 9 {
		t.Errorf("%+v", r)
	}
	wantIn(t, "nothing to finish", d.ok("alice", "endpoint", "rotate", "aws", "--finish", "--json"), `"unchanged":true`)

	d.ok("alice", "revoke", "aws", "--measure")
	wantIn(t, "revoked", d.ok("alice", "endpoint", "list"), "revoked")
	wantIn(t, "twice", d.ok("alice", "revoke", "aws", "--json"), `"unchanged":true`)
	d.ok("alice", "enable", "aws")
	d.ok("alice", "endpoint", "disable", "aws")
	d.ok("alice", "revoke", "aws") // sharper
	d.ok("alice", "endpoint", "enable", "aws")

	subject := "aws:arn:aws:iam::111122223333:user/ann"
	wantIn(t, "a subject", d.ok("alice", "revoke", subject), "revoke "+subject)
	wantIn(t, "a subject", d.ok("alice", "endpoint", "show", "aws"), "arn:aws:iam::111122223333:user/ann")
	if out := d.ok("alice", "client", "list"); strings.Contains(out, subject) {
		t.Errorf("a subject is listed as a client: %s", out)
	}
	wantIn(t, "a subject", d.ok("alice", "enable", subject), "take back the revocation of "+subject)
	d.fails(ExitNotFound, "no endpoint named gcp", "alice", "revoke", "gcp:ann")

	d.ok("alice", "endpoint", "remove", "aws", "--yes")
	wantIn(t, "removed", d.ok("alice", "endpoint", "list"), "removed")
	d.fails(ExitNotFound, "no endpoint named aws", "alice", "endpoint", "disable", "aws")
	wantIn(t, "back", d.ok("alice", "endpoint", "add", "xks", "aws"), "bring back endpoint aws (xks), which was removed")
}

// TestEndpointsTakeTheQuorum: a new name takes one admin, its change the quorum.
func TestEndpointsTakeTheQuorum(t *testing.T) {
	d := &domain{t: t, home: ground(t)}
	bob := d.keygen("bob")
	d.keygen("alice")
	if code := d.home.run(t, d.home.initArgs("--quorum", "2of2", "--admin", bob)...); code != 0 {
		t.Fatal(d.home.err.String())
	}
	d.start()
	d.moved("alice")
	d.ok("bob", "admin", "join", strings.TrimSpace(d.ok("alice", "admin", "invite")))
	d.ok("alice", "endpoint", "add", "xks", "aws")
	var r struct {
		Pending     *pendingRow
		Credentials []endpoint.CredentialRow
	}
	out := d.fails(ExitPending, "waits for more signatures", "alice", "endpoint", "rotate", "aws", "--json")
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Pending == nil || len(r.Credentials) != 1 || r.Credentials[0].Secret == "" {
		t.Fatalf("%v %s", err, out)
	}
	wantIn(t, "shown to bob", d.ok("bob", "approve", "show", r.Pending.ID), "+ credential: "+r.Credentials[0].ID)
	d.ok("bob", "approve", "sign", r.Pending.ID, "--yes")
	if row := into[endpoint.Row](t, d.ok("alice", "endpoint", "show", "aws", "--json")); len(row.Credentials) != 2 {
		t.Errorf("%+v", row)
	}
	d.ok("alice", "revoke", "aws")
	d.fails(ExitPending, "waits for more signatures", "alice", "enable", "aws")
}

// TestEndpointTestFails: a door that isn't there is told, check by check.
func TestEndpointTestFails(t *testing.T) {
	d := runningDomain(t)
	file := d.home.path("aws.json")
	d.ok("alice", "endpoint", "add", "xks", "aws", "--credential-out", file)
	out := d.fails(ExitFailure, "does not work as xks needs it", "alice", "endpoint", "test", "xks", "aws", "--credential", file, "--key", "k", "--address", "127.0.0.1:1", "--json")
	r := into[struct {
		Passed bool
		Checks []endpoint.Step
	}](t, out)
	if r.Passed || len(r.Checks) == 0 || r.Checks[0].Error == "" {
		t.Errorf("%s", out)
	}
	d.fails(ExitUsage, "is of kind xks", "alice", "endpoint", "test", "kes", "aws")
	d.fails(ExitFailure, "has none of that file's credentials", "alice", "endpoint", "test", "xks", "aws", "--credential", d.stale(file))
}

// stale is a credential file whose credential no endpoint has.
func (d *domain) stale(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		d.t.Fatal(err)
	}
	f := into[endpoint.File](d.t, string(data))
	f.Credentials[0].ID = "AKOTHER"
	if data, err = f.Encode(); err != nil {
		d.t.Fatal(err)
	}
	path := d.home.path("stale.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		d.t.Fatal(err)
	}
	return path
}

// TestEndpointWorks: AWS's part is played against the running door, with what
// `endpoint add` gave; and it goes dark with the endpoint, and with the key.
func TestEndpointWorks(t *testing.T) {
	d := runningDomain(t, "--doors", "127.0.0.1:0")
	d.ok("alice", "key", "create", "aws/orders")
	file, origin := d.home.path("aws.json"), "https://"+d.doors
	d.ok("alice", "endpoint", "add", "xks", "aws", "--key", "aws/", "--set", "folder=aws/", "--credential-out", file, "--public", origin)
	policy := d.home.path("policy.cedar")
	if err := os.WriteFile(policy, []byte(`permit (principal in Endpoint::"aws", action in [Action::"encrypt", Action::"decrypt"], resource in Folder::"aws");`), 0o600); err != nil {
		t.Fatal(err)
	}
	d.ok("alice", "policy", "set", policy)
	test := []string{"endpoint", "test", "xks", "aws", "--credential", file, "--key", "orders", "--public", origin, "--ca", d.home.path("server/pki/doors-ca.pem")}
	d.ok("alice", test...)
	r := into[struct {
		Passed bool
		Checks []endpoint.Step
	}](t, d.ok("alice", append(test, "--json")...))
	if !r.Passed || len(r.Checks) < 3 {
		t.Errorf("%+v", r)
	}
	for _, c := range r.Checks {
		if c.Latency <= 0 {
			t.Errorf("%s took no time", c.Name)
		}
	}
	for _, what := range []string{"aws/orders", "aws"} {
		d.ok("alice", "revoke", what)
		d.fails(ExitFailure, "does not work as xks needs it", "alice", test...)
		d.ok("alice", "enable", what)
		d.ok("alice", test...)
	}
	// Two live credentials: what was given first works until the rotation is finished.
	next := d.home.path("next.json")
	d.ok("alice", "endpoint", "rotate", "aws", "--credential-out", next)
	d.ok("alice", test...)
	d.ok("alice", "endpoint", "rotate", "aws", "--finish")
	d.fails(ExitFailure, "has none of that file's credentials", "alice", test...)
	test[5] = next
	d.ok("alice", test...)
}

// TestDryRunBringsNothing: what would be signed is shown, and no credential is
// made, kept or written.
func TestDryRunBringsNothing(t *testing.T) {
	d := runningDomain(t)
	file := d.home.path("aws.json")
	out := d.ok("alice", "endpoint", "add", "xks", "aws", "--credential-out", file, "--dry-run", "--json")
	if strings.Contains(out, "secret") || strings.Contains(out, "guide") {
		t.Errorf("a dry run gives a secret away: %s", out)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("a dry run writes a file: %v", err)
	}
	for _, leaf := range strings.Split(d.ok("alice", "audit", "tail", "--json"), "\n") {
		if strings.Contains(leaf, "material:put") {
			t.Errorf("a dry run brings a credential: %s", leaf)
		}
	}
	if rows := d.ok("alice", "endpoint", "list", "--json"); strings.Contains(rows, "aws") {
		t.Errorf("a dry run makes an endpoint: %s", rows)
	}
}
