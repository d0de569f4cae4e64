// SPDX-License-Identifier: Apache-2.0

package relaycmd

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/internal/pki/tlscert"
	"claviger/internal/relay/owncert"
	"claviger/internal/wire"
)

const generous = time.Minute

const someDomain = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"

// output collects what a program says, line by line.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// running is a relay that was started as people start it.
type running struct {
	t        *testing.T
	out, err output
	stop     context.CancelFunc
	ended    chan int
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// configuration writes one for a directory, with more lines.
func configuration(t *testing.T, dir, more string) string {
	t.Helper()
	text := fmt.Sprintf("schema = 1\nlisten = \"127.0.0.1:0\"\ndir = %q\ndomains = [%q]\n%s", dir, someDomain, more)
	return write(t, filepath.Join(t.TempDir(), "relay.toml"), text)
}

func begin(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, stop: cancel, ended: make(chan int, 1)}
	go func() { r.ended <- Main(ctx, args, Streams{Out: &r.out, Err: &r.err}) }()
	t.Cleanup(cancel)
	return r
}

// address waits for the line with the address and the pin.
func (r *running) address() (origin string, pin wire.Hash) {
	r.t.Helper()
	deadline := time.After(generous)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if line, _, ok := strings.Cut(r.out.text(), "\n"); ok {
			var text string
			origin, text, _ = strings.Cut(strings.TrimPrefix(line, "Relay at "), "#")
			raw, err := hex.DecodeString(text)
			if err != nil || len(raw) != len(pin) {
				r.t.Fatalf("no pin in %q", line)
			}
			return origin, wire.Hash(raw)
		}
		select {
		case code := <-r.ended:
			r.t.Fatalf("it ended with %d: %s", code, r.err.text())
		case <-deadline:
			r.t.Fatalf("it doesn't start: %s", r.err.text())
		case <-tick.C:
		}
	}
}

// end stops it and wants a good end.
func (r *running) end() {
	r.t.Helper()
	r.stop()
	select {
	case code := <-r.ended:
		if code != 0 {
			r.t.Errorf("it ended with %d: %s", code, r.err.text())
		}
	case <-time.After(generous):
		r.t.Fatal("it doesn't stop")
	}
}

// healthy asks for the health over TLS with the pin.
func healthy(origin string, pin wire.Hash) error {
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: tlscert.ClientConfig(pin, nil), DisableKeepAlives: true}}
	resp, err := c.Get(origin + "/v1/health")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

func TestRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "relay")
	file := configuration(t, dir, "")
	r := begin(t, "--config", file)
	origin, pin := r.address()
	if err := healthy(origin, pin); err != nil {
		t.Error(err)
	}
	for name, mode := range map[string]os.FileMode{"": 0o700, ControlSocket: 0o600, owncert.KeyFile: 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%q: %v, want mode %v", name, info, mode)
		}
	}
	var d struct {
		Schema  int
		Domains []struct{ Domain string }
	}
	socket := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, ControlSocket))
	}}}
	resp, err := socket.Get("http://relay/dump")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&d); err != nil || d.Schema != 1 || len(d.Domains) != 1 || d.Domains[0].Domain != someDomain {
		t.Errorf("dump %+v: %v", d, err)
	}
	second := begin(t, "--config", file)
	if code := <-second.ended; code != failure || !strings.Contains(second.err.text(), "runs on "+dir+" already") {
		t.Errorf("a second one ended with %d: %s", code, second.err.text())
	}
	r.end()
	for line := range strings.Lines(r.err.text()) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) != nil {
			t.Errorf("no JSON in the log: %s", line)
		}
	}
	again := begin(t, "--config", file)
	if _, now := again.address(); now != pin {
		t.Error("the pin has changed with a restart")
	}
	again.end()
}

func TestKilledRelayLeavesASocket(t *testing.T) {
	dir := t.TempDir()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, ControlSocket)})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	r := begin(t, "--config", configuration(t, dir, ""))
	r.address()
	r.end()
}

func TestMetrics(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	file := configuration(t, t.TempDir(), fmt.Sprintf("metrics = %q\n", address))
	taken := begin(t, "--config", file)
	if code := <-taken.ended; code != failure || !strings.Contains(taken.err.text(), "another program listens on "+address+" (setting metrics)") {
		t.Errorf("ended with %d: %s", code, taken.err.text())
	}
	free.Close()
	r := begin(t, "--config", file)
	r.address()
	for path, want := range map[string]string{"/metrics": "claviger_relay_connections", "/healthz": `"status":"ok"`} {
		resp, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !strings.Contains(string(body), want) {
			t.Errorf("%s: %.200s", path, body)
		}
	}
	r.end()
}

func TestCommandLine(t *testing.T) {
	good := configuration(t, t.TempDir(), "")
	for _, test := range []struct {
		args     []string
		code     int
		out, err string
	}{
		{[]string{"--help"}, 0, "--config FILE", ""},
		{[]string{"help"}, 0, "--config FILE", ""},
		{[]string{"version"}, 0, "claviger-relay ", ""},
		{nil, 2, "", "error: --config is missing\nhint: claviger-relay --help\n"},
		{[]string{"--nothing"}, 2, "", "error: flag provided but not defined: -nothing\n"},
		{[]string{"serve"}, 2, "", "error: unexpected argument \"serve\"\n"},
		{[]string{"--config", good, "version"}, 2, "", "error: unexpected argument"},
		{[]string{"--config", "/no/such/file"}, 2, "", "error: read configuration: "},
		{[]string{"--config", t.TempDir()}, 2, "", "is no file of at most"},
		{[]string{"--config", good, "--check"}, 0, "The configuration is good: listen on 127.0.0.1:0 for 1 domains, NATS inside", ""},
		{[]string{"--check", "--config", configuration(t, "/no/such/dir", "")}, 2, "", "/no/such"},
		{[]string{"--check", "--config", configuration(t, filepath.Join(t.TempDir(), "new"), "")}, 0, "The configuration is good", ""},
		{[]string{"--check", "--config", configuration(t, t.TempDir(), "[tls]\ncertificate = \"/no/cert\"\nkey = \"/no/key\"\n")}, 2, "", "read TLS certificate: "},
		{[]string{"--check", "--config", configuration(t, t.TempDir(), "[nats]\nurl = \"nats://u:secret@nats.example:4222\"\n")}, 0, "NATS at nats://u:xxxxx@nats.example:4222, 3 replicas", ""},
		{[]string{"--config", configuration(t, t.TempDir(), "[nats]\nurl = \"nats://127.0.0.1:1\"\nreplicas = 1\n")}, 1, "", "error: connect to NATS: "},
		{[]string{"--config", write(t, filepath.Join(t.TempDir(), "f"), "schema = 1\nlisen = \"x\"\n")}, 2, "", "line 2: unknown key \"lisen\"\nhint: docs/relay.md"},
	} {
		var out, err output
		code := Main(t.Context(), test.args, Streams{Out: &out, Err: &err})
		if code != test.code || !strings.Contains(out.text(), test.out) || !strings.Contains(err.text(), test.err) || test.err == "" && err.text() != "" {
			t.Errorf("%q: %d\n%s%s", test.args, code, out.text(), err.text())
		}
	}
}
