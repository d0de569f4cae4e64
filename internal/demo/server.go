// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"claviger/client"
	"claviger/internal/wire"
)

// startWithin is how long the server may take to be ready.
const startWithin = 30 * time.Second

// addresses of a server, as it tells them itself.
type addresses struct {
	Listen  string `json:"listen"`
	Metrics string `json:"metrics"`
	Doors   string `json:"doors"`
}

// Where the server listens: on the usual ports, or where there is room.
var (
	usual    = addresses{"127.0.0.1:8443", "127.0.0.1:9464", "127.0.0.1:8445"}
	anywhere = addresses{"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"}
)

// start runs the server on its usual ports, or on free ones if that fails. The
// configuration then names those, so that it could be started again there.
func (d *Demo) start(ctx context.Context, domain wire.DomainID) error {
	at, err := d.serve(ctx)
	if err != nil && ctx.Err() == nil {
		config := d.path(dirServer, configFile)
		if err := os.WriteFile(config, d.config(domain, anywhere), 0o600); err != nil {
			return err
		}
		at, err = d.serve(ctx)
		if err == nil {
			err = os.WriteFile(config, d.config(domain, at), 0o600)
		}
	}
	d.Address = at.Listen
	return err
}

// serve runs `claviger server` and waits until it says where it serves.
func (d *Demo) serve(ctx context.Context) (at addresses, err error) {
	log, err := os.OpenFile(d.path(fileLog), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return at, err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx)) // halt stops it, after its clients
	d.stop, d.ended = stop, make(chan int, 1)
	said := &firstLine{line: make(chan []byte, 1)}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		defer log.Close()
		d.ended <- d.o.Run(run, "", []string{"server", "--dir", d.path(dirServer), "--json"}, said, log)
	}()
	select {
	case line := <-said.line:
		if json.Unmarshal(line, &at) != nil || at.Listen == "" {
			return at, errors.New("the server did not say where it listens")
		}
		return at, nil
	case <-gone:
	case <-ctx.Done():
		return at, ctx.Err()
	case <-time.After(startWithin):
		return at, fmt.Errorf("the server was not ready within %v", startWithin)
	}
	d.haltServer()
	text, _ := os.ReadFile(d.path(fileLog)) // unreadable is as good as empty
	return at, commandError("the server did not start", text)
}

// CommandError means that a command of the demo's own failed. It says what the
// command said.
type CommandError struct {
	What    string // that was not done
	Message string
	Hint    string // the next step; "" if there is none
}

// Error gives both as one line.
func (e *CommandError) Error() string { return e.What + ": " + e.Message }

// commandError finds the error that a command line with --json ended with, its
// last line, in what it wrote to standard error.
func commandError(what string, log []byte) error {
	lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
	var said struct {
		Error struct {
			Message string `json:"message"`
			Hint    string `json:"hint"`
		} `json:"error"`
	}
	if json.Unmarshal(lines[len(lines)-1], &said) != nil || said.Error.Message == "" {
		return &CommandError{What: what, Message: "it ended without a word"}
	}
	return &CommandError{What: what, Message: said.Error.Message, Hint: said.Error.Hint}
}

// firstLine is a Writer that hands on the first line of what is written.
type firstLine struct {
	seen []byte
	line chan []byte // gets the line, once
	done bool
}

// Write implements io.Writer.
func (f *firstLine) Write(p []byte) (int, error) {
	if f.done {
		return len(p), nil
	}
	f.seen = append(f.seen, p...)
	if line, _, whole := bytes.Cut(f.seen, []byte("\n")); whole {
		f.done = true
		f.line <- line
	}
	return len(p), nil
}

// enrol invites a workload and makes its profile. The command line would refuse
// to enrol in a demo domain, so this is done here.
func (d *Demo) enrol(ctx context.Context, name string) error {
	invite := d.path(name + ".invite")
	var complaint bytes.Buffer
	if d.o.Run(ctx, d.path(dirAdmin), []string{"client", "invite", name, "-o", invite, "--json"}, io.Discard, &complaint) != 0 {
		return commandError("invite "+name, complaint.Bytes())
	}
	text, err := os.ReadFile(invite)
	if err != nil {
		return err
	}
	_, err = client.Enroll(ctx, d.path(name), string(text), client.EnrollOptions{AllowDemo: true, Clock: d.o.Clock})
	return errors.Join(err, os.Remove(invite))
}

// takeDetour has the third workload go through the hop from now on.
func (d *Demo) takeDetour() error {
	p, err := client.OpenProfile(d.path(dirDetour))
	if err != nil {
		return err
	}
	p.Addresses = []string{d.relay.hop.address}
	return p.Save()
}
