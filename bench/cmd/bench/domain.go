// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"claviger/bench/proc"

	"github.com/BurntSushi/toml"
)

// domain is a trust domain of the demo: a server with a policy and a durable audit
// log, a relay, a workload that may use a key.
type domain struct {
	cmd      *exec.Cmd
	dir      string
	profile  string // of the workload
	key      string
	address  string // of the server's own listener
	finished chan error
}

func processors() int { return runtime.NumCPU() }

// patience is how long a program may take to start.
const patience = 2 * time.Minute

// newDomain starts a demo on the given processors, as proc.Pin takes them.
func (b *bench) newDomain(ctx context.Context, pin string) (*domain, error) {
	dir, err := os.MkdirTemp(b.tmp, "domain-")
	if err != nil {
		return nil, err
	}
	d := &domain{dir: dir, profile: filepath.Join(dir, "app"), key: "payments/cards", finished: make(chan error, 1)}
	d.cmd = proc.Pin(pin, b.program("claviger"), "demo", "--dir", dir)
	out, err := d.cmd.StderrPipe() // where hints and progress go
	if err != nil {
		return nil, err
	}
	progress("founding a trust domain")
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan struct{})
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if strings.Contains(lines.Text(), "Ctrl-C ends it") {
				close(ready)
			}
		}
		d.finished <- d.cmd.Wait()
	}()
	select {
	case <-ready:
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(patience):
		err = errors.New("the demo is not ready")
	case err = <-d.finished:
		return nil, fmt.Errorf("the demo ended: %w", errors.Join(err, errors.New("before it was ready")))
	}
	if err == nil {
		d.address, err = listener(filepath.Join(dir, "server", "claviger.toml"))
	}
	if err != nil {
		d.end()
		return nil, err
	}
	return d, nil
}

// listener reads where a server listens from its configuration.
func listener(file string) (string, error) {
	var c struct{ Listen string }
	if _, err := toml.DecodeFile(file, &c); err != nil {
		return "", err
	}
	if c.Listen == "" {
		return "", fmt.Errorf("%s names no address", file)
	}
	return c.Listen, nil
}

func (d *domain) end() {
	_ = d.cmd.Process.Signal(os.Interrupt) // it may be gone
	<-d.finished
}
