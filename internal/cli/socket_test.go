// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// serves runs a command that serves on a socket until stop, and returns what it says
// first.
func (w *ward) serves(args ...string) (got socketResult, stop func()) {
	w.t.Helper()
	r, out := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	var logs lockedBuffer
	ended := make(chan int, 1)
	vars := w.as("app").vars
	go func() {
		s := Streams{In: strings.NewReader(""), Out: out, Err: &logs, Getenv: func(n string) string { return vars[n] }}
		ended <- Main(ctx, append(args, "--json"), s)
		out.Close()
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if code := <-ended; code != 0 {
			w.t.Errorf("%s: exit status %d\n%s", args[0], code, logs.String())
		}
	})
	w.t.Cleanup(stop)
	line, err := bufio.NewReader(r).ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &got) != nil {
		w.t.Fatalf("%s says %q (%v)\n%s", args[0], line, err, logs.String())
	}
	go io.Copy(io.Discard, r)
	return got, stop
}

// TestK8sKMS: the plugin serves a profile's key, and says what is wrong.
func TestK8sKMS(t *testing.T) {
	w := newWard(t)
	socket := w.path("kms.sock")
	w.fails(ExitFailure, "status: call", w.as("app"), "k8s-kms", "--check", "--socket", socket)
	got, stop := w.serves("k8s-kms", "--key", "a/b", "--socket", socket)
	if got.Socket != socket || len(got.Keys) != 1 || got.Keys[0] != "a/b" || !strings.HasSuffix(got.Client, "/app") {
		t.Errorf("it says %+v", got)
	}
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode is %v, %v", info.Mode(), err)
	}
	s := w.must("app", "k8s-kms", "--check", "--socket", socket, "--json")
	var checks checksResult
	if err := json.Unmarshal(s.out.Bytes(), &checks); err != nil || len(checks.Checks) != 3 || !checks.Checks[2].OK || !checks.Passed || checks.Checks[0].Latency <= 0 {
		t.Errorf("--check says %s", s.out.String())
	}
	wantIn(t, "text", w.must("app", "k8s-kms", "--check", "--socket", socket).out.String(), "claviger/")
	w.fails(ExitFailure, "another process answers on this socket", w.as("app"), "k8s-kms", "--key", "a/b", "--socket", socket)
	w.must("admin", "key", "disable", "a/b", "--reason", "test")
	for { // until the news is there
		s := w.as("app")
		if code := s.run(t, "k8s-kms", "--check", "--socket", socket); code != 0 {
			wantIn(t, "a disabled key", s.out.String(), "the key is disabled")
			break
		}
	}
	stop()
	if _, err := os.Stat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// TestSopsKeyservice: the key service serves a profile's keys, within bounds.
func TestSopsKeyservice(t *testing.T) {
	w := newWard(t)
	socket := w.path("sops.sock")
	if got, _ := w.serves("sops-keyservice", "--key", "a/", "--socket", socket, "--socket-group", strconv.Itoa(os.Getgid())); len(got.Keys) != 1 {
		t.Errorf("it says %+v", got)
	}
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket's mode is %v, %v", info.Mode(), err)
	}
	wantIn(t, "text", w.must("app", "sops-keyservice", "--check", "--key", "a/b", "--socket", socket).out.String(), "the same data key")
	s := w.as("app")
	want(t, "of another key", s.run(t, "sops-keyservice", "--check", "--key", "c/d", "--socket", socket), int(ExitDenied))
	wantIn(t, "of another key", s.out.String(), "was not started for c/d")
}

func TestSocketUsage(t *testing.T) {
	w := newWard(t)
	for _, c := range []struct {
		says string
		args []string
	}{
		{"--key is missing", []string{"k8s-kms", "--socket", "/x"}},
		{"--socket is missing", []string{"k8s-kms", "--key", "a/b"}},
		{"is no name of a key", []string{"k8s-kms", "--key", "A", "--socket", "/x"}},
		{"a socket is /path", []string{"k8s-kms", "--key", "a/b", "--socket", "tcp://127.0.0.1:1"}},
		{"there is no group", []string{"k8s-kms", "--key", "a/b", "--socket", w.path("s"), "--socket-group", "no such group"}},
		{"--socket is missing", []string{"k8s-kms", "--check"}},
		{"--socket is missing", []string{"sops-keyservice"}},
		{"is no name of a key", []string{"sops-keyservice", "--key", "A/", "--socket", "/x"}},
		{"wants one --key", []string{"sops-keyservice", "--check", "--socket", "/x"}},
	} {
		w.fails(ExitUsage, c.says, w.as("app"), c.args...)
	}
}
