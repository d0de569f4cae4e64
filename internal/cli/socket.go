// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"os/user"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"claviger/client"
	"claviger/internal/gateway/leased"
	"claviger/internal/gateway/localrpc"
)

const (
	// socketTimeout bounds a call over a local socket, if its caller grants more.
	socketTimeout = 20 * time.Second
	// checkTimeout bounds --check.
	checkTimeout = 30 * time.Second
)

// socketFlags are those of the services of a local socket.
type socketFlags struct {
	socket, group, reason string
	check                 bool
}

func (f *socketFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.socket, "socket", "", "where to listen: a path, or @name of the abstract kind")
	flags.StringVar(&f.group, "socket-group", "", "group, by name or number, that may connect too")
	flags.StringVar(&f.reason, "reason", "", "why, for policies and the audit log")
	flags.BoolVar(&f.check, "check", false, "ask the service that listens there, show each step, and end")
}

// at is the socket that the flags name.
func (f *socketFlags) at() (s localrpc.Socket, err error) {
	s = localrpc.Socket{Address: f.socket, Group: -1}
	if f.socket == "" {
		return s, usagef("--socket is missing").withHint("it names a path, such as /run/claviger/kms.sock")
	}
	if f.group == "" {
		return s, nil
	}
	if s.Group, err = strconv.Atoi(f.group); err == nil && s.Group >= 0 {
		return s, nil
	}
	g, err := user.LookupGroup(f.group)
	if err == nil {
		s.Group, err = strconv.Atoi(g.Gid)
	}
	if err != nil {
		return s, usagef("there is no group %q", f.group)
	}
	return s, nil
}

// socketService is what serves on a socket.
type socketService struct {
	methods    map[string]localrpc.Method
	maxMessage int
	keep       func(context.Context) // beside it, until the context ends
}

// serveSocket makes a service with the client's profile, says so, and serves until ctx
// ends.
func (e *env) serveSocket(ctx context.Context, f socketFlags, build func(c *client.Client, who string) (socketService, result)) error {
	at, err := f.at()
	if err != nil {
		return err
	}
	if err := forbidDumps(); err != nil {
		e.warn("core dumps of this process could not be forbidden: %v", err)
	}
	dir, err := e.profileDir(kindClient)
	if err != nil {
		return err
	}
	p, err := client.OpenProfile(dir)
	if err != nil {
		return err
	}
	log := e.logger()
	c, err := client.Dial(ctx, p, client.Options{AllowDemo: p.Demo, Reason: f.reason, Log: log})
	if err != nil {
		return err
	}
	defer c.Close()
	l, err := localrpc.Listen(at)
	if err != nil {
		return asSocketFailure(err)
	}
	service, shown := build(c, p.Client)
	server := localrpc.Server{Methods: service.methods, MaxMessage: service.maxMessage, Timeout: socketTimeout, Log: log}
	if err := e.show(shown); err != nil {
		l.Close()
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer stop()
	if service.keep != nil {
		beside.Go(func() { service.keep(ctx) })
	}
	return server.Serve(ctx, l)
}

// asSocketFailure gives what is wrong with a socket its exit code.
func asSocketFailure(err error) error {
	switch {
	case errors.Is(err, localrpc.ErrSocket):
		return usagef("%v", err)
	case errors.Is(err, localrpc.ErrTaken):
		return &Failure{Code: ExitFailure, Message: err.Error(), Err: err}
	}
	return err
}

// checksResult is how the steps of a foreign program went.
type checksResult struct {
	Socket string     `json:"socket"`
	Checks []checkRow `json:"checks"`
}

type checkRow struct {
	Name    string  `json:"name"`
	OK      bool    `json:"ok"`
	Note    string  `json:"note,omitempty"`
	Error   string  `json:"error,omitempty"`
	Latency float64 `json:"latency_seconds"`
}

func (r checksResult) human(p *printer) {
	var rows [][]string
	for _, c := range r.Checks {
		what := "ok: " + c.Note
		if !c.OK {
			what = "failed: " + c.Error
		}
		rows = append(rows, []string{c.Name, strconv.FormatFloat(c.Latency*1000, 'f', 2, 64) + " ms", what})
	}
	p.table([]string{"STEP", "TIME", "RESULT"}, rows)
}

// showChecks shows each step, and fails if one failed.
func (e *env) showChecks(socket string, checks []leased.Check) error {
	r := checksResult{Socket: socket, Checks: []checkRow{}}
	var failed error
	for _, c := range checks {
		row := checkRow{Name: c.Name, OK: c.Err == nil, Latency: c.Latency.Seconds()}
		if c.Err == nil {
			row.Note = c.Note
		} else {
			row.Error = c.Err.Error()
			failed = asCheckFailure(c)
		}
		r.Checks = append(r.Checks, row)
	}
	if err := e.show(r); err != nil {
		return err
	}
	return failed
}

// asCheckFailure is the exit status of a step that failed.
func asCheckFailure(c leased.Check) error {
	code := ExitFailure
	if said, ok := errors.AsType[*localrpc.Error](c.Err); ok && said.Code == localrpc.PermissionDenied {
		code = ExitDenied
	}
	return &Failure{Code: code, Message: c.Name + ": " + c.Err.Error(), Err: c.Err}
}
