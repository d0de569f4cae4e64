// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"claviger/internal/admin"
	"claviger/internal/cli/doors"
	"claviger/internal/cli/endpointcmd"
	"claviger/internal/cli/outfile"
)

// newEndpointCommand lends package endpointcmd what all commands share.
func newEndpointCommand(e *env) *cobra.Command {
	return endpointcmd.Host{
		Kinds: doors.Kinds(),
		Access: func(flags *pflag.FlagSet) endpointcmd.Connect {
			a := new(access)
			accessFlags(flags, a)
			return func(ctx context.Context) (*admin.Session, error) { return e.connect(ctx, *a) }
		},
		Change: func(flags *pflag.FlagSet) endpointcmd.Change {
			c := &lentChange{e: e}
			addChangeFlags(flags, &c.flags)
			return c
		},
		BindEnv: bindEnv,
		Show:    func(s endpointcmd.Shown) error { return e.show(lent{s}) },
		Usage: func(hint, format string, args ...any) error {
			f := usagef(format, args...)
			f.Hint = hint
			return f
		},
		Failed: func(hint, format string, args ...any) error {
			return &Failure{Code: ExitFailure, Message: fmt.Sprintf(format, args...), Hint: hint}
		},
		Confirm:    e.confirm,
		Create:     func(path string) (*outfile.File, error) { return e.create(outputOptions{Path: path}) },
		ReadFile:   readBoundedFile,
		ReadSecret: e.readSecretFile,
		Logger:     func() *slog.Logger { return e.logger() },
		Word:       word,
	}.Command()
}

// lent shows what another package made.
type lent struct{ shown endpointcmd.Shown }

// MarshalJSON gives what is shown, and nothing of the wrapping.
func (l lent) MarshalJSON() ([]byte, error) { return json.Marshal(l.shown) }

func (l lent) human(p *printer) { l.shown.Print(lentPrinter{p}) }

type lentPrinter struct{ p *printer }

func (l lentPrinter) Line(format string, args ...any)         { l.p.line(format, args...) }
func (l lentPrinter) Table(headers []string, rows [][]string) { l.p.table(headers, rows) }
func (l lentPrinter) Pairs(namesAndValues ...string)          { l.p.pairs(namesAndValues...) }

// lentChange changes the domain as a command's flags say.
type lentChange struct {
	e     *env
	flags changeFlags
}

func (c *lentChange) DryRun() bool   { return c.flags.dryRun }
func (c *lentChange) Reason() string { return c.flags.reason }

func (c *lentChange) Connect(ctx context.Context) (*admin.Session, error) {
	return c.e.connect(ctx, c.flags.access)
}

func (c *lentChange) Run(ctx context.Context, build func(*admin.Session) (string, any, error)) error {
	return c.e.runChange(ctx, c.flags, build)
}

func (c *lentChange) Fail(s *admin.Session, kind string, why error) error {
	if errors.Is(why, admin.ErrNoChange) {
		return c.e.show(unchanged(s, kind, why))
	}
	return asBuildFailure(why)
}

// endpointResult is a change of an endpoint and what the other side is told.
type endpointResult struct {
	changeResult
	endpointcmd.Made
}

func (r endpointResult) human(p *printer) {
	if r.changeResult.human(p); !r.DryRun {
		r.Made.Print(lentPrinter{p})
	}
}

func (c *lentChange) Sign(ctx context.Context, s *admin.Session, a endpointcmd.Act) error {
	r := endpointResult{Made: a.Made}
	var err error
	if r.changeResult, err = c.e.change(ctx, s, c.flags.dryRun, a.Kind, a.Payload); err != nil {
		return err
	}
	if a.Done != nil {
		if err := a.Done(); err != nil {
			return err
		}
	}
	if err := c.e.show(r); err != nil {
		return err
	}
	if r.Applied {
		c.e.next("%s", a.Next)
	}
	return r.failure()
}
