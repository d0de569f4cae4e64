// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"claviger/internal/relay/relaycmd"
)

// said is where a program tells, once, that it has begun.
type said struct{ line chan string }

func (s said) Write(p []byte) (int, error) {
	s.line <- string(p)
	return len(p), nil
}

// startRelay runs a relay on a directory until the test ends.
func startRelay(t *testing.T, dir, domain string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "relay.toml")
	text := fmt.Sprintf("schema = 1\nlisten = \"127.0.0.1:0\"\ndir = %q\ndomains = [%q]\n", dir, domain)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return startRelayWith(t, file)
}

// startRelayWith runs a relay with a configuration until the test ends.
func startRelayWith(t *testing.T, file string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, ended := said{make(chan string, 8)}, make(chan int, 1)
	var log bytes.Buffer
	go func() {
		ended <- relaycmd.Main(ctx, []string{"--config", file}, relaycmd.Streams{Out: out, Err: &log})
	}()
	select {
	case line := <-out.line:
		t.Cleanup(func() { cancel(); <-ended })
		return strings.TrimSpace(strings.TrimPrefix(line, "Relay at "))
	case code := <-ended:
		cancel()
		t.Fatalf("the relay ended with %d: %s", code, log.String())
	case <-time.After(time.Minute):
		cancel()
		t.Fatal("the relay doesn't start")
	}
	return ""
}

func TestRelayDump(t *testing.T) {
	dir, domain := t.TempDir(), strings.Repeat("0a", 32)
	var none session
	want(t, "without a relay", none.run(t, "relay-dump", "--dir", dir), int(ExitNotFound))
	wantIn(t, "without a relay", none.err.String(), "error: no relay runs on "+dir)
	startRelay(t, dir, domain)
	var text, asJSON session
	want(t, "exit", text.run(t, "relay-dump", "--dir", dir), 0)
	for _, part := range []string{"Domain " + domain, "Parcels: 0", "Read from 0 mailboxes; 0 streams", "Passed: the last 0"} {
		wantIn(t, "text", text.out.String(), part)
	}
	want(t, "exit", asJSON.run(t, "relay-dump", "--dir", dir, "--json", "--raw"), 0)
	var d struct {
		Schema  int
		Domains []struct{ Domain string }
		Passed  []any
	}
	if err := json.Unmarshal(asJSON.out.Bytes(), &d); err != nil || d.Schema != 1 || len(d.Domains) != 1 || d.Domains[0].Domain != domain || d.Passed == nil {
		t.Errorf("%s (%v)", asJSON.out.String(), err)
	}
	var missing session
	want(t, "without --dir", missing.run(t, "relay-dump"), int(ExitUsage))
}

// A relay's dump with everything in it.
const fullDump = `{"schema":1,"version":"v9","at":"2026-01-02T03:04:05Z","domains":[{"domain":"dd","servers":[{"server":"5e","mailbox":"b0",
"introduction":{"issued":"2026-01-02T00:00:00Z","not_after":"2026-01-03T00:00:00Z","size_bytes":3,"raw":"aW4x"},
"statement":{"issued":"2026-01-02T03:00:00Z","size_bytes":2,"raw":"c3Qx"},"tokens":{"mailbox":"b0","hashes":["aa","bb"]}}],
"parcels":[{"mailbox":"c1","number":7,"expires":"2026-01-04T00:00:00Z","type":"claviger/v1/release","size_bytes":4},
{"mailbox":"c1","number":8,"expires":"2026-01-04T00:00:00Z","type":"t","size_bytes":4}]}],
"receivers":[{"mailbox":"b0","address":"192.0.2.1","since":"2026-01-02T01:00:00Z"}],"followers":3,"under_way":2,
"passed":[{"at":"2026-01-02T02:00:00Z","address":"192.0.2.2","what":"exchange\u001b[31m","mailbox":"b0","type":"claviger/v1/request","size_bytes":99,"status":200}]}`

// fakeRelay answers on a directory's control socket.
func fakeRelay(t *testing.T, answers map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, controlSocket))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.URL.RequestURI()]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprint(w, answer)
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return dir
}

func TestRelayDumpShowsEverything(t *testing.T) {
	dir := fakeRelay(t, map[string]string{"/dump?raw=true": fullDump, "/parcel/dd/7": "seal", "/dump?raw=false": strings.NewReplacer(`,"raw":"aW4x"`, "", `,"raw":"c3Qx"`, "").Replace(fullDump)})
	var s, raw, asJSON session
	want(t, "exit", s.run(t, "relay-dump", "--dir", dir), 0)
	for _, part := range []string{
		"Relay v9, 2026-01-02T03:04:05Z", "5e      b0       2026-01-03T00:00:00Z  2026-01-02T03:00:00Z  2", "Parcels: 2", "claviger/v1/release  4      2026-01-04T00:00:00Z  c1",
		"Read from 1 mailboxes; 3 streams of statements; 2 requests wait", "192.0.2.1  b0", "192.0.2.2", "claviger/v1/request  99",
	} {
		wantIn(t, "text", s.out.String(), part)
	}
	if strings.ContainsAny(s.out.String(), "\x1b") || strings.Contains(s.out.String(), "aW4x") {
		t.Errorf("%q", s.out.String())
	}
	want(t, "exit", raw.run(t, "relay-dump", "--dir", dir, "--raw"), 0)
	for _, part := range []string{"introduction of 5e: aW4x\n", "statement of 5e: c3Qx\n", "parcel 7: c2VhbA==\n"} {
		wantIn(t, "raw", raw.out.String(), part)
	}
	want(t, "exit", asJSON.run(t, "relay-dump", "--dir", dir, "--raw", "--json"), 0)
	wantIn(t, "json", asJSON.out.String(), `"raw":"c2VhbA=="`)
}

func TestRelayDumpOfSomethingElse(t *testing.T) {
	for name, answers := range map[string]map[string]string{
		"nothing":        {},
		"no JSON":        {"/dump?raw=false": "x"},
		"another schema": {"/dump?raw=false": `{"schema":2}`},
		"other fields":   {"/dump?raw=false": `{"schema":1,"domains":7}`},
	} {
		var s session
		if code := s.run(t, "relay-dump", "--dir", fakeRelay(t, answers)); code == 0 || !strings.HasPrefix(s.err.String(), "error: ") || s.out.Len() > 0 {
			t.Errorf("%s: %d %q %q", name, code, s.out.String(), s.err.String())
		}
	}
}
