// SPDX-License-Identifier: Apache-2.0

package leased

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"claviger/client"
	"claviger/internal/gateway/localrpc"
)

// callTimeout bounds a call, if its caller grants more.
const callTimeout = 20 * time.Second

// Service is what answers on a socket.
type Service struct {
	Methods    map[string]localrpc.Method
	MaxMessage int
	Keep       func(context.Context) // runs beside it until the context ends; nil: nothing does
}

// Options of Serve.
type Options struct {
	Profile *client.Profile
	Reason  string // for policies and the server's audit log
	Socket  localrpc.Socket
	Log     *slog.Logger
	Make    func(Keys) Service
	Ready   func() error // the socket is open
}

// Serve makes a service with a profile's keys and serves it until ctx ends. Errors:
// those of client.Dial and localrpc.Listen.
func Serve(ctx context.Context, o Options) error {
	c, err := client.Dial(ctx, o.Profile, client.Options{AllowDemo: o.Profile.Demo, Reason: o.Reason, Log: o.Log})
	if err != nil {
		return err
	}
	defer c.Close()
	l, err := localrpc.Listen(o.Socket)
	if err != nil {
		return err
	}
	if err := o.Ready(); err != nil {
		l.Close()
		return err
	}
	s := o.Make(c)
	ctx, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer stop()
	if s.Keep != nil {
		beside.Go(func() { s.Keep(ctx) })
	}
	server := localrpc.Server{Methods: s.Methods, MaxMessage: s.MaxMessage, Timeout: callTimeout, Log: o.Log}
	return server.Serve(ctx, l)
}
