// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"claviger/client"
)

// How long the server may take to be ready, and how often it is looked at.
const (
	startWithin = 20 * time.Second
	startPoll   = 20 * time.Millisecond
)

// errNoStart means that the server ended before it served.
var errNoStart = errors.New("the server did not start")

// serve runs `claviger server` and waits until it says that it serves.
func (d *Demo) serve(ctx context.Context) error {
	log, err := os.OpenFile(d.path(fileLog), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx)) // Close stops it, after its clients
	d.stop, d.ended = stop, make(chan int, 1)
	said := newWatch()
	go func() {
		defer log.Close()
		d.ended <- d.o.Run(run, "", []string{"server", "--dir", d.path(dirServer), "--json"}, said, log)
		said.end()
	}()
	select {
	case <-said.line:
		return nil
	case <-said.ended:
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(startWithin):
		return fmt.Errorf("the server was not ready within %v", startWithin)
	}
	text, _ := os.ReadFile(d.path(fileLog)) // unreadable is as good as empty
	return fmt.Errorf("%w: %s", errNoStart, strings.TrimSpace(string(text)))
}

// watch hears a program's first line and its end.
type watch struct {
	line, ended chan struct{}
	first, last sync.Once
}

func newWatch() *watch { return &watch{line: make(chan struct{}), ended: make(chan struct{})} }

// Write implements io.Writer.
func (w *watch) Write(p []byte) (int, error) {
	if bytes.IndexByte(p, '\n') >= 0 {
		w.first.Do(func() { close(w.line) })
	}
	return len(p), nil
}

func (w *watch) end() { w.last.Do(func() { close(w.ended) }) }

// enrol invites a workload and makes its profile. The command line would refuse
// to enrol in a demo domain, so this is done here.
func (d *Demo) enrol(ctx context.Context, name string) error {
	invite := d.path(name + ".invite")
	var complaint bytes.Buffer
	if d.o.Run(ctx, d.path(dirAdmin), []string{"client", "invite", name, "-o", invite}, &complaint, &complaint) != 0 {
		return fmt.Errorf("invite %s: %s", name, strings.TrimSpace(complaint.String()))
	}
	text, err := os.ReadFile(invite)
	if err != nil {
		return err
	}
	_, err = client.Enroll(ctx, d.path(name), string(text), client.EnrollOptions{AllowDemo: true, Clock: d.o.Clock})
	return errors.Join(err, os.Remove(invite))
}
