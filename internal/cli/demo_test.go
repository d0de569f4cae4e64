// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"claviger/client"
	"claviger/internal/demo"
)

// demoSteps is how many steps the tour has; the sabotages below go by number.
const demoSteps = 16

func TestDemoOnce(t *testing.T) {
	s := &session{}
	dir := filepath.Join(t.TempDir(), "d")
	start := time.Now()
	want(t, "exit status", s.run(t, "demo", "--once", "--json", "--dir", dir), 0)
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	want(t, "standard error", s.err.String(), "")
	var got struct {
		Schema int
		demoResult
	}
	if err := json.Unmarshal(s.out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want(t, "held", got.Held, true)
	want(t, "steps", len(got.Steps), demoSteps)
	for _, step := range got.Steps {
		if !step.Held || step.ExitCode != step.Want || !strings.HasPrefix(step.Command, "claviger ") || step.Evidence == "" && step.Output != "" {
			t.Errorf("%+v", step)
		}
	}
	for file, profile := range map[string]string{"env.sh": "app", "admin/env.sh": "admin"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		wantIn(t, file, string(text), "CLAVIGER_PROFILE="+filepath.Join(dir, profile)+"\n")
		for line := range strings.Lines(string(text)) {
			name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
			if name != "CLAVIGER_PROFILE" && name != "PATH" {
				t.Errorf("%s sets more: %s", file, line)
			}
		}
	}
	want(t, "again in the same directory", s.run(t, "demo", "--once", "--dir", dir), int(ExitUsage))
}

func TestDemoLeavesNothing(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	s := &session{}
	want(t, "exit status", s.run(t, "demo", "--once"), 0)
	wantIn(t, "tour", s.out.String(), fmt.Sprintf("%d of %d steps held", demoSteps, demoSteps))
	wantEmpty(t, temp)

	ctx, cancel := context.WithCancel(t.Context())
	ready := &readyWriter{on: "Ctrl-C", do: cancel}
	st := (&session{}).streams()
	st.Err = ready
	want(t, "exit status", Main(ctx, []string{"demo"}, st), 0)
	want(t, "it was ready", ready.done, true)
	wantEmpty(t, temp)

	dir := filepath.Join(temp, "mine")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	st.Err = &readyWriter{on: "enrolling", do: cancel} // while it starts
	if Main(ctx, []string{"demo", "--dir", dir}, st) == 0 {
		t.Error("an interrupted start is a success")
	}
	wantEmpty(t, dir)
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("%s holds %v (%v)", dir, entries, err)
	}
}

// readyWriter does something once it has heard a word.
type readyWriter struct {
	on   string
	do   func()
	done bool
}

func (w *readyWriter) Write(p []byte) (int, error) {
	if !w.done && strings.Contains(string(p), w.on) {
		w.done = true
		w.do()
	}
	return len(p), nil
}

// saboteur runs the tour's command lines, and does something before one of them,
// in its place, or after it.
type saboteur struct {
	e       *env
	dir     string
	at, now int
	before  func(*saboteur)
	instead func(*saboteur) int
	after   func(*saboteur)
}

func (s *saboteur) run(ctx context.Context, profile string, args []string, out, complaint io.Writer) int {
	if args[0] == "server" || args[0] == "client" { // before the tour
		return s.e.runAs(ctx, profile, args, out, complaint)
	}
	s.now++
	if s.now == s.at && s.before != nil {
		s.before(s)
	}
	if s.now == s.at && s.instead != nil {
		return s.instead(s)
	}
	code := s.e.runAs(ctx, profile, args, out, complaint)
	if s.now == s.at && s.after != nil {
		s.after(s)
	}
	return code
}

// admin runs an admin's command line.
func (s *saboteur) admin(args ...string) {
	s.e.runAs(context.Background(), filepath.Join(s.dir, "admin"), args, io.Discard, io.Discard)
}

func (s *saboteur) write(name, text string) int {
	if os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600) != nil {
		return 1
	}
	return 0
}

// straighten has a workload go where app goes.
func (s *saboteur) straighten(name string) {
	app, err := client.OpenProfile(filepath.Join(s.dir, "app"))
	if err != nil {
		return
	}
	if p, err := client.OpenProfile(filepath.Join(s.dir, name)); err == nil {
		p.Addresses = app.Addresses
		_ = p.Save()
	}
}

// flip changes one byte in the middle of a file.
func (s *saboteur) flip(name string) {
	path := filepath.Join(s.dir, name)
	if data, err := os.ReadFile(path); err == nil {
		data[len(data)/2] ^= 1
		s.write(name, string(data))
	}
}

// Each step of the tour is broken in turn; the tour has to say so, and nothing
// may be left.
func TestDemoFindsWhatIsBroken(t *testing.T) {
	const key = "payments/cards"
	cases := []struct {
		name    string
		at      int
		before  func(*saboteur)
		instead func(*saboteur) int
		after   func(*saboteur)
	}{
		{"the key is there already", 1, func(s *saboteur) { s.admin("key", "create", key) }, nil, nil},
		{"the file is gone", 2, func(s *saboteur) { os.Remove(filepath.Join(s.dir, "cards.txt")) }, nil, nil},
		{"nothing is encrypted", 2, nil, func(*saboteur) int { return 0 }, nil},
		{"the plaintext stays", 2, nil, func(s *saboteur) int { return s.write("cards.clv", "4929 4212") }, nil},
		{"no ciphertext", 3, func(s *saboteur) { s.write("cards.clv", "hello") }, nil, nil},
		{"no header", 3, nil, func(*saboteur) int { return 0 }, nil},
		{"a changed ciphertext", 4, func(s *saboteur) { s.flip("cards.clv") }, nil, nil},
		{"another plaintext", 4, nil, func(s *saboteur) int { return s.write("cards.opened", "hello") }, nil},
		{"app2 may", 5, func(s *saboteur) { s.admin("policy", "allow", "app2", key) }, nil, nil},
		{"refused without a word", 5, nil, func(*saboteur) int { return 4 }, nil},
		{"nothing is changed on the way", 6, func(s *saboteur) { s.straighten("detour") }, nil, nil},
		{"refused before anything was changed", 6, nil, func(*saboteur) int { return 6 }, nil},
		{"the authority key is gone", 7, func(s *saboteur) { os.Remove(filepath.Join(s.dir, "admin", "authority.key")) }, nil, nil},
		{"not disabled", 8, func(s *saboteur) { s.admin("key", "enable", key) }, nil, nil},
		{"what opens the authority key is gone", 9, func(s *saboteur) { os.Remove(filepath.Join(s.dir, "admin", "unlock.key")) }, nil, nil},
		{"disabled again", 10, func(s *saboteur) { s.admin("key", "disable", key) }, nil, nil},
		{"the other key is there already", 11, func(s *saboteur) { s.admin("key", "create", "payments/tokens") }, nil, nil},
		{"nothing is revoked", 12, nil, func(*saboteur) int { return 0 }, nil},
		{"it is taken back before the program asks again", 12, nil, nil, func(s *saboteur) { s.admin("enable", "payments/tokens") }},
		{"nothing can be taken back", 13, func(s *saboteur) { os.Remove(filepath.Join(s.dir, "admin", "unlock.key")) }, nil, nil},
		{"the relay is silent", 14, func(s *saboteur) { os.Remove(filepath.Join(s.dir, "relay", "control.sock")) }, nil, nil},
		{"the relay has seen nothing", 14, nil, func(*saboteur) int { return 0 }, nil},
		{"no room for the archive", 15, func(s *saboteur) { os.Mkdir(filepath.Join(s.dir, "audit.archive"), 0o700) }, nil, nil},
		{"a changed archive", 16, func(s *saboteur) { s.flip("audit.archive") }, nil, nil},
		{"an archive from before", 16, func(s *saboteur) { s.write("audit.archive", "") }, nil, nil},
	}
	seen := map[int]bool{}
	for _, c := range cases {
		seen[c.at] = true
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := &session{}
			e := s.env()
			e.json = true
			o := e.demoOptions(filepath.Join(t.TempDir(), "d"))
			bad := &saboteur{e: e, dir: o.Dir, at: c.at, before: c.before, instead: c.instead, after: c.after}
			o.Run = bad.run
			want(t, "exit status", e.report(e.runDemo(t.Context(), o, true)), int(ExitFailure))
			var got demoResult
			if err := json.Unmarshal(s.out.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			want(t, "held", got.Held, false)
			want(t, "steps", len(got.Steps), c.at)
			if _, err := os.Lstat(o.Dir); err == nil {
				t.Error("its directory is left")
			}
		})
	}
	want(t, "steps that were broken", len(seen), demoSteps)
}

// Ports that are taken are no reason to fail. Workloads know the relay alone, and
// claviger-relay goes on where the demo's relay ended.
func TestDemoFindsFreePorts(t *testing.T) {
	for _, address := range []string{"127.0.0.1:8443", "127.0.0.1:8444", "127.0.0.1:9464"} {
		if l, err := net.Listen("tcp", address); err == nil { // else another program does the same for this test
			defer l.Close()
		}
	}
	s := &session{}
	dir := filepath.Join(t.TempDir(), "d")
	want(t, "exit status", s.run(t, "demo", "--once", "--dir", dir), 0)
	c, err := readServerConfig(filepath.Join(dir, "server"))
	if err != nil {
		t.Fatal(err)
	}
	relays, err := c.relays()
	if err != nil || len(relays) != 1 {
		t.Fatalf("%v, %v", relays, err)
	}
	for _, address := range []string{c.Listen, c.Metrics, relays[0].Host} {
		host, port, err := net.SplitHostPort(address)
		if err != nil || host != "127.0.0.1" || port == "0" || port == "8443" || port == "8444" || port == "9464" {
			t.Errorf("address %s, %v", address, err)
		}
	}
	wantIn(t, "progress", s.err.String(), "listens on "+c.Listen)
	for _, name := range []string{"app", "app2", "detour"} {
		p, err := client.OpenProfile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		want(t, name+" knows one address", len(p.Addresses), 1)
		want(t, name+" knows the relay", p.Addresses[0] == relays[0].String(), name != "detour")
	}

	again := &session{vars: map[string]string{"HOME": dir, "CLAVIGER_PROFILE": filepath.Join(dir, "app")}}
	again.serve(t)
	want(t, "the relay's address", startRelayWith(t, filepath.Join(dir, "relay.toml")), relays[0].String())
	text := filepath.Join(dir, "cards.txt")
	for late := time.Now().Add(time.Minute); again.run(t, "encrypt", "--key", "payments/cards", "-o", text+".clv", text) != 0; { // until the server has found the relay
		if time.Now().After(late) {
			t.Fatal(again.err.String())
		}
	}
}

// A server that does not start says why.
func TestDemoSaysWhyTheServerDidNotStart(t *testing.T) {
	for json, says := range map[bool]string{
		false: "error: the server did not start: the moon is in the wrong phase\nhint: wait\n",
		true:  `{"schema":1,"error":{"code":1,"name":"failure","message":"the server did not start: the moon is in the wrong phase","hint":"wait"}}` + "\n",
	} {
		s := &session{}
		e := s.env()
		e.json = json
		o := e.demoOptions(filepath.Join(t.TempDir(), "d"))
		o.Progress = nil
		o.Run = func(_ context.Context, _ string, _ []string, _, complaint io.Writer) int {
			e := &env{Streams: Streams{Err: complaint}, json: true}
			return e.report((&Failure{Code: ExitDenied, Message: "the moon is in the wrong phase"}).withHint("wait"))
		}
		want(t, "exit status", e.report(e.runDemo(t.Context(), o, true)), int(ExitFailure))
		want(t, "standard error", s.err.String(), says)
		if _, err := os.Lstat(o.Dir); err == nil {
			t.Error("its directory is left")
		}
	}
}

var _ demo.Command = (*env)(nil).runAs
