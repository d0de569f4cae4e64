// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// verdict is how a mutant ended.
type verdict string

// The verdicts. Only the first is good; broken means that nothing was learnt.
const (
	killed   verdict = "killed"
	survived verdict = "SURVIVED"
	stale    verdict = "STALE"
	broken   verdict = "BROKEN"
)

// outcome is a verdict with the test that noticed, or what went wrong.
type outcome struct {
	mutant  *mutant
	verdict verdict
	detail  string
}

// runner builds and runs the tests of mutants of one checkout.
type runner struct {
	root    string        // of the checkout
	scratch string        // for overlays and test binaries
	timeout time.Duration // of one test binary; hanging counts as noticing

	mu       sync.Mutex
	baseline map[string]func() error // by package and pattern
	binaries map[string]func() (string, error)
}

func newRunner(root, scratch string, timeout time.Duration) *runner {
	return &runner{root: root, scratch: scratch, timeout: timeout,
		baseline: map[string]func() error{}, binaries: map[string]func() (string, error){}}
}

// run judges one mutant; n makes its files unique.
func (r *runner) run(ctx context.Context, n int, m *mutant) outcome {
	changed, err := m.apply(r.root)
	if err != nil {
		return outcome{m, stale, err.Error()}
	}
	if err := r.sound(ctx, m); err != nil {
		return outcome{m, broken, err.Error()}
	}
	dir := filepath.Join(r.scratch, fmt.Sprint(n))
	overlay, err := r.overlay(dir, changed)
	if err != nil {
		return outcome{m, broken, err.Error()}
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "mutant.test")
	if err := r.compile(ctx, m.pkg, binary, "-overlay", overlay); err != nil {
		return outcome{m, broken, err.Error()}
	}
	out, err := r.execute(ctx, m, binary)
	switch {
	case err == nil:
		return outcome{m, survived, m.why}
	case ctx.Err() != nil:
		return outcome{m, broken, ctx.Err().Error()}
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() < 1 {
		return outcome{m, broken, err.Error()}
	}
	return outcome{m, killed, noticed(out)}
}

// sound checks that the tests that should notice the mutant exist and pass
// without it: a test that fails anyway would kill every mutant.
func (r *runner) sound(ctx context.Context, m *mutant) error {
	r.mu.Lock()
	key := m.pkg + " " + m.tests
	check, ok := r.baseline[key]
	if !ok {
		binary, ok := r.binaries[m.pkg]
		if !ok {
			path := filepath.Join(r.scratch, fmt.Sprintf("base%d.test", len(r.binaries)))
			binary = sync.OnceValues(func() (string, error) { return path, r.compile(ctx, m.pkg, path) })
			r.binaries[m.pkg] = binary
		}
		check = sync.OnceValue(func() error { return r.passes(ctx, m, binary) })
		r.baseline[key] = check
	}
	r.mu.Unlock()
	return check()
}

func (r *runner) passes(ctx context.Context, m *mutant, binary func() (string, error)) error {
	path, err := binary()
	if err != nil {
		return err
	}
	out, err := r.execute(ctx, m, path)
	if err != nil {
		return fmt.Errorf("the tests fail without any mutant: %s", noticed(out))
	}
	if bytes.Contains(out, []byte("no tests to run")) {
		return fmt.Errorf("no test of %s matches %q", m.pkg, m.tests)
	}
	return nil
}

// overlay writes the changed files and the list that `go -overlay` reads.
func (r *runner) overlay(dir string, changed map[string][]byte) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	replace := map[string]string{}
	for file, text := range changed {
		path := filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return "", err
		}
		replace[filepath.Join(r.root, filepath.FromSlash(file))] = path
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, list, 0o644)
}

func (r *runner) compile(ctx context.Context, pkg, binary string, flags ...string) error {
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"test", "-c", "-o", binary}, flags...), pkg)...)
	cmd.Dir = r.root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("does not build: %w\n%s", err, bytes.TrimSpace(out))
	}
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("%s has no tests", pkg)
	}
	return nil
}

// execute runs a test binary where `go test` would.
func (r *runner) execute(ctx context.Context, m *mutant, binary string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, binary, "-test.run="+m.tests, "-test.timeout="+r.timeout.String(), "-test.failfast")
	cmd.Dir = filepath.Join(r.root, filepath.FromSlash(m.pkg))
	cmd.WaitDelay = 5 * time.Second
	return cmd.CombinedOutput()
}

var failLine = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)|^panic: (.*)$`)

// noticed names the test that failed, or the panic.
func noticed(out []byte) string {
	found := failLine.FindSubmatch(out)
	if found == nil {
		return strings.TrimSpace(string(out[max(0, len(out)-200):]))
	}
	if len(found[1]) > 0 {
		return string(found[1])
	}
	return "panic: " + string(found[2])
}
