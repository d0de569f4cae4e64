// SPDX-License-Identifier: Apache-2.0

// Package clients holds Claviger's doors against the programs and libraries that people
// use with them. It is a module of its own: nothing of those is part of the product.
package clients

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"claviger/internal/authority"
	"claviger/internal/cli"
	"claviger/internal/testkit"
)

// rig is a trust domain with one key, which one workload may use.
type rig struct {
	*testkit.Domain
	t    *testing.T
	key  string
	vars map[string]string // of claviger: the workload's profile
}

func newRig(t *testing.T, key string) *rig {
	t.Helper()
	r := &rig{Domain: testkit.New(t, testkit.Options{}), t: t, key: key}
	r.CreateKey(key, authority.AES256)
	profile := r.Enroll("app")
	r.Allow(testkit.ID("app"), key)
	r.vars = map[string]string{"CLAVIGER_PROFILE": profile.Dir}
	return r
}

// disable switches the key off.
func (r *rig) disable() {
	r.t.Helper()
	r.Propose(authority.KindKeyDisable, authority.KeyRef{ID: r.Key(r.key).ID, Reason: "test"})
}

// serve runs a claviger command that serves on a socket, until stop or the end of the
// test, and returns when it listens.
func (r *rig) serve(args ...string) (socket string, stop func()) {
	r.t.Helper()
	socket = filepath.Join(r.t.TempDir(), "s")
	in, out := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	var logs logged
	ended := make(chan int, 1)
	go func() {
		s := cli.Streams{In: strings.NewReader(""), Out: out, Err: &logs, Getenv: func(n string) string { return r.vars[n] }}
		ended <- cli.Main(ctx, append(args, "--json", "--socket", socket), s)
		out.Close()
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if code := <-ended; code != 0 {
			r.t.Errorf("%s: exit status %d", args[0], code)
		}
		if r.t.Failed() {
			r.t.Logf("%s:\n%s", args[0], logs.String())
		}
	})
	r.t.Cleanup(stop)
	line, err := bufio.NewReader(in).ReadBytes('\n')
	if err != nil || !json.Valid(line) {
		r.t.Fatalf("%s says %q (%v)\n%s", args[0], line, err, logs.String())
	}
	go io.Copy(io.Discard, in)
	return socket, stop
}

// logged is a log that several write to.
type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
