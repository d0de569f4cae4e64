// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"claviger/internal/cli/doors"
	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/api"
	"claviger/internal/wire"
)

// maxAccept bounds a signed order to accept a rollback.
const maxAccept = 64 << 10

func newServerCommand(e *env) *cobra.Command {
	var dir, accept string
	cmd := &cobra.Command{
		Use:   "server --dir DIR",
		Short: "Run the key server",
		Long: "Run the key server of a data directory. It unseals itself with the key file or the\n" +
			"systemd credential that claviger.toml names, else asks for the passphrase on the\n" +
			"terminal, else starts sealed: then claviger unseal, on the same machine, opens it.\n" +
			"It ends with SIGTERM or SIGINT, after the requests that run.",
		Example: "  claviger server --dir /var/lib/claviger",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.runServer(cmd.Context(), dir, accept)
		},
	}
	dirFlag(cmd, &dir)
	cmd.Flags().StringVar(&accept, "accept-rollback", "", "file with a head that a quorum signed: start on that history, once")
	return cmd
}

// serverResult is shown once the server listens.
type serverResult struct {
	Domain  string   `json:"domain"`
	Name    string   `json:"name"`
	Listen  string   `json:"listen,omitempty"`
	Relays  []string `json:"relays,omitempty"`
	Metrics string   `json:"metrics,omitempty"`
	Doors   string   `json:"doors,omitempty"`
	Sealed  bool     `json:"sealed"`
}

func (r serverResult) human(p *printer) {
	state := "unsealed"
	if r.Sealed {
		state = "sealed"
	}
	at := r.Relays
	if r.Listen != "" {
		at = append([]string{r.Listen}, at...)
	}
	p.line("Serving %s on %s, %s", r.Name, strings.Join(at, ", "), state)
}

// runServer opens everything, says so, and serves until ctx ends.
func (e *env) runServer(ctx context.Context, dir, accept string) error {
	if err := needDir(dir); err != nil {
		return err
	}
	if err := forbidDumps(); err != nil {
		e.warn("core dumps of this process could not be forbidden: %v", err)
	}
	config, err := readServerConfig(dir)
	if err != nil {
		return err
	}
	o := keyserver.Options{Dir: dir, Domain: config.domain(), Demo: config.Demo, Padding: wire.Padding(config.Pad), Clock: clock.System(), Logger: e.logger()}
	if accept != "" {
		if o.Accept, err = readBoundedFile(accept, maxAccept); err != nil {
			return err
		}
	}
	if err := checkWritable(dir); err != nil {
		return err
	}
	relays, err := carriers(config, &o)
	if err != nil {
		return err
	}
	defer hangUp(relays)
	listeners, err := listen(dir, config)
	if err != nil {
		return err
	}
	defer closeListeners(listeners)
	server, err := api.New(o, nil, relays...)
	if err != nil {
		return err
	}
	port, err := doors.Open(config.Doors, server, server.Metrics(), o)
	if err != nil {
		return asPortTaken(err, config.Doors.Listen, "listen of [doors]")
	}
	defer port.Close()
	if err := e.unsealAtStart(ctx, server, dir, config.Root); err != nil {
		return err
	}
	result := serverResult{Domain: config.Domain, Name: config.Name, Relays: o.Reach, Sealed: server.Sealed()}
	if listeners.API != nil {
		result.Listen = listeners.API.Addr().String()
	}
	if listeners.Metrics != nil {
		result.Metrics = listeners.Metrics.Addr().String()
	}
	result.Doors = port.Address()
	if err := e.show(result); err != nil {
		return err
	}
	if server.Sealed() {
		e.waysOut(dir)
	} else {
		e.next("claviger key create payments/cards --allow app1")
	}
	return port.Beside(ctx, func(ctx context.Context) error { return server.Serve(ctx, listeners) })
}

// waysOut tells how a sealed server is opened.
func (e *env) waysOut(dir string) {
	e.warn("the server is sealed and answers nothing but its health")
	e.next("unseal it from another terminal: claviger unseal --dir %s", word(dir))
	e.next("or name a key file in %s: [root] key_file", configFile)
	e.next("or, under systemd, name a credential there: [root] credential")
}

// logger writes to standard error: text on a terminal, else JSON.
func (e *env) logger() *slog.Logger {
	if e.ErrTTY {
		return slog.New(slog.NewTextHandler(e.Err, nil))
	}
	return slog.New(slog.NewJSONHandler(e.Err, nil))
}

// checkWritable finds a full or read-only file system before anything relies on
// the directory.
func checkWritable(dir string) error {
	f, err := os.CreateTemp(dir, ".claviger-*.part")
	if err != nil {
		return (&Failure{Code: ExitFailure, Message: "the data directory can't be written: " + dir, Err: err}).
			withHint("the server runs as the owner of the directory; is the file system full or read-only?")
	}
	f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return fmt.Errorf("tidy the data directory: %w", err)
	}
	return nil
}
