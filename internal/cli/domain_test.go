// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"claviger/internal/admin"
)

// domain is a founded domain with its server running in this process.
type domain struct {
	t       *testing.T
	home    *session
	address string
	doors   string // of foreign services; "" unless init got --doors
	stop    func()
}

// runningDomain founds a domain and starts its server. alice is its first admin.
func runningDomain(t *testing.T, more ...string) *domain {
	t.Helper()
	d := &domain{t: t, home: ground(t)}
	d.keygen("alice")
	if code := d.home.run(t, d.home.initArgs(more...)...); code != 0 {
		t.Fatalf("init: %d %s", code, d.home.err.String())
	}
	d.start()
	d.moved("alice")
	return d
}

// keygen makes a profile whose key opens without a passphrase, which would cost
// more than all the rest of a test.
func (d *domain) keygen(name string) string {
	d.t.Helper()
	return strings.TrimSpace(d.ok(name, "admin", "keygen", name, "--key-file", d.home.path("root.key")))
}

// start runs the server until the test ends and learns its address.
func (d *domain) start() {
	d.t.Helper()
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	var logs lockedBuffer
	ended := make(chan int, 1)
	go func() {
		s := Streams{In: strings.NewReader(""), Out: w, Err: &logs, Getenv: func(n string) string { return d.home.vars[n] }}
		ended <- Main(ctx, []string{"server", "--json", "--dir", d.home.path("server")}, s)
		w.Close()
	}()
	d.stop = sync.OnceFunc(func() {
		cancel()
		if code := <-ended; code != 0 {
			d.t.Errorf("server: %d %s", code, logs.String())
		}
	})
	d.t.Cleanup(d.stop)
	line, err := bufio.NewReader(r).ReadBytes('\n')
	var got serverResult
	if err != nil || json.Unmarshal(line, &got) != nil {
		d.t.Fatalf("server says %q (%v) %s", line, err, logs.String())
	}
	go io.Copy(io.Discard, r)
	d.address, d.doors = got.Listen, got.Doors
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// profile is the directory of a profile by name.
func (d *domain) profile(name string) string {
	return filepath.Join(d.home.vars["HOME"], ".config", "claviger", name)
}

// moved tells a profile where the server listens: init was told port 0.
func (d *domain) moved(name string) {
	d.t.Helper()
	p, err := admin.OpenProfile(d.profile(name))
	if err != nil {
		d.t.Fatal(err)
	}
	if err := p.Join(p.Domain, []string{d.address}, nil); err != nil {
		d.t.Fatal(err)
	}
}

// run runs a command line as an admin, with the passphrase where that is asked.
func (d *domain) run(who string, args ...string) (code int, out, err string) {
	d.t.Helper()
	s := &session{vars: map[string]string{"HOME": d.home.vars["HOME"], "CLAVIGER_PROFILE": who, "CREDENTIALS_DIRECTORY": d.credentials()}}
	code = s.run(d.t, args...)
	return code, s.out.String(), s.err.String()
}

// credentials holds the passphrase as systemd would hand it out.
func (d *domain) credentials() string {
	dir := d.home.path("credentials")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "claviger-admin"), []byte("six words are better than one\n"), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return dir
}

// ok runs a command line that must succeed and returns its standard output.
func (d *domain) ok(who string, args ...string) string {
	d.t.Helper()
	code, out, complaint := d.run(who, args...)
	if code != 0 {
		d.t.Fatalf("claviger %s: exit %d\n%s%s", strings.Join(args, " "), code, out, complaint)
	}
	return out
}

// fails runs a command line that must end with a code and say something.
func (d *domain) fails(code ExitCode, says string, who string, args ...string) string {
	d.t.Helper()
	got, out, complaint := d.run(who, args...)
	if got != int(code) || !strings.Contains(complaint, says) {
		d.t.Errorf("claviger %s: exit %d, want %d and %q\n%s%s", strings.Join(args, " "), got, code, says, out, complaint)
	}
	return out
}

// into decodes one JSON object.
func into[T any](t *testing.T, text string) T {
	t.Helper()
	var out T
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return out
}
