// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"claviger/bench/proc"
)

// domain is a trust domain made with the commands that people use: a server with a
// policy and a durable audit log, and a workload that may use a key.
type domain struct {
	b       *bench
	server  *exec.Cmd
	home    string
	profile string // of the workload
	key     string
	address string
	doors   string
	ended   chan error
}

func processors() int { return runtime.NumCPU() }

// patience is how long a program may take to start.
const patience = 2 * time.Minute

// newDomain founds a domain and starts its server on the given processors, as
// proc.Pin takes them.
func (b *bench) newDomain(ctx context.Context, pin string) (*domain, error) {
	progress("founding a trust domain")
	home, err := os.MkdirTemp(b.tmp, "home-")
	if err != nil {
		return nil, err
	}
	d := &domain{b: b, home: home, key: "payments/cards", ended: make(chan error, 1)}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	d.address, d.doors = ports[0], ports[2]
	if err := os.WriteFile(filepath.Join(home, "pass"), []byte("a passphrase that protects nothing\n"), 0o600); err != nil {
		return nil, err
	}
	if err := d.do(ctx, "init", "--dir", "server", "--as", "alice", "--root-passphrase-file", "pass", "--passphrase-file", "pass", "--listen", ports[0], "--metrics", ports[1], "--doors", ports[2]); err != nil {
		return nil, err
	}
	if err := d.start(ctx, pin); err != nil {
		return nil, err
	}
	if err := d.enroll(ctx); err != nil {
		d.end()
		return nil, err
	}
	return d, nil
}

// freePorts are addresses where nobody listens.
func freePorts(n int) (out []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // together, so that they differ
		out = append(out, l.Addr().String())
	}
	return out, nil
}

func (d *domain) command(pin string, args ...string) *exec.Cmd {
	cmd := proc.Pin(pin, append([]string{d.b.program("claviger")}, args...)...)
	cmd.Dir, cmd.Env = d.home, append(os.Environ(), "HOME="+d.home, "XDG_CONFIG_HOME=", "NO_COLOR=1")
	return cmd
}

func (d *domain) do(ctx context.Context, args ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if out, err := d.command("", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("claviger %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// start starts the server and waits until it listens.
func (d *domain) start(ctx context.Context, pin string) error {
	d.server = d.command(pin, "server", "--dir", "server")
	out, w := io.Pipe()
	d.server.Stdout, d.server.Stderr = w, w
	if err := d.server.Start(); err != nil {
		return err
	}
	go func() {
		d.ended <- d.server.Wait()
		w.Close()
	}()
	listens := make(chan bool, 1)
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.Contains(lines.Text(), "Serving ") {
				listens <- true
			}
		}
		_, _ = io.Copy(io.Discard, out) // of a line that is too long
	}()
	select {
	case <-listens:
		return nil
	case err := <-d.ended:
		return fmt.Errorf("the server ended before it listened: %w", err)
	case <-ctx.Done():
		d.end()
		return ctx.Err()
	case <-time.After(patience):
		d.end()
		return errors.New("the server does not listen")
	}
}

// enroll opens the server, makes a key, and a workload that may use it.
func (d *domain) enroll(ctx context.Context) error {
	for _, args := range [][]string{
		{"unseal", "--dir", "server", "--passphrase-file", "pass"},
		{"key", "create", d.key, "--allow", "app", "--passphrase-file", "pass"},
		{"client", "invite", "app", "-o", "app.invite", "--passphrase-file", "pass"},
		{"client", "enroll", "app.invite"},
	} {
		if err := d.do(ctx, args...); err != nil {
			return err
		}
	}
	found, err := filepath.Glob(filepath.Join(d.home, ".config", "claviger", "*", "cert.pem"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("%d profiles have a certificate: %w", len(found), errors.Join(err, errors.New("want one")))
	}
	d.profile = filepath.Dir(found[0])
	return nil
}

func (d *domain) end() {
	_ = d.server.Process.Signal(os.Interrupt) // it may be gone
	<-d.ended
}
