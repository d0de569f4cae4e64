// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"os/user"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"claviger/client"
	"claviger/internal/cli/endpointcmd/endpoint"
	"claviger/internal/gateway"
	"claviger/internal/gateway/leased"
	"claviger/internal/gateway/localrpc"
)

// checkTimeout bounds --check.
const checkTimeout = 30 * time.Second

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
	id := f.group
	if g, err := user.LookupGroup(f.group); err == nil {
		id = g.Gid
	}
	if s.Group, err = strconv.Atoi(id); err != nil || s.Group < 0 {
		return s, usagef("there is no group %q", f.group)
	}
	return s, nil
}

// serveSocket serves what build makes, with the client's profile, until ctx ends. It shows keys
// first.
func (e *env) serveSocket(ctx context.Context, f socketFlags, keys []string, build func(leased.Keys) leased.Service) error {
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
	err = leased.Serve(ctx, leased.Options{
		Profile: p, Reason: f.reason, Socket: at, Log: e.logger(), Make: build,
		Ready: func() error { return e.show(socketResult{Socket: f.socket, Client: p.Client, Keys: keys}) },
	})
	if errors.Is(err, localrpc.ErrSocket) {
		return usagef("%v", err)
	}
	return err
}

// checksResult is how the steps of a foreign program went.
type checksResult struct {
	Socket string          `json:"socket"`
	Passed bool            `json:"passed"`
	Checks []endpoint.Step `json:"checks"`
}

func (r checksResult) human(p *printer) {
	rows := make([][]string, len(r.Checks))
	for i, c := range r.Checks {
		rows[i] = []string{c.Name, "ok", strconv.FormatFloat(c.Latency*1000, 'f', 1, 64) + " ms", c.Note}
		if !c.OK {
			rows[i][1], rows[i][3] = "FAILED", c.Error
		}
	}
	p.table([]string{"CHECK", "RESULT", "LATENCY", "NOTE"}, rows)
}

// probe shows each step of a foreign program, and fails if one failed.
func (e *env) probe(ctx context.Context, f socketFlags, steps func(context.Context) []leased.Check) error {
	if _, err := f.at(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var checks []gateway.Check
	var failed error
	for _, c := range steps(ctx) {
		checks = append(checks, gateway.Check(c))
		if c.Err != nil {
			failed = asCheckFailure(c)
		}
	}
	r := checksResult{Socket: f.socket}
	r.Checks, r.Passed = endpoint.Steps(checks)
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
