// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"claviger/internal/cli/doors"
	"claviger/internal/clock"
	"claviger/internal/demo"
)

func newDemoCommand(e *env) *cobra.Command {
	var dir string
	var once bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a whole trust domain on this machine, and a tour of it",
		Long: "Run a whole trust domain in one process, on 127.0.0.1 only: a key server, a relay, an\n" +
			"admin and three workloads, which know the relay alone. A tour runs the commands that\n" +
			"it shows. Then it stays, so that you can try your own; Ctrl-C ends it and leaves\n" +
			"nothing.\n\n" +
			"The keys of a demo protect nothing: what opens them lies beside them. No other\n" +
			"program takes a demo for a real domain.",
		Example: "  claviger demo\n  claviger demo --once --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.runDemo(cmd.Context(), e.demoOptions(dir), once)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "directory for all of it: empty, or not there yet (default: a temporary one)")
	cmd.Flags().BoolVar(&once, "once", false, "end after the tour, with status 0 only if every step held")
	return cmd
}

// demoResult is what a demo came to.
type demoResult struct {
	Dir    string        `json:"dir"`
	Server string        `json:"server"`
	Relay  string        `json:"relay"`
	Env    string        `json:"env"`
	Held   bool          `json:"held"`
	Steps  []demo.Result `json:"steps"`
}

func (r demoResult) human(p *printer) {
	held := 0
	for _, s := range r.Steps {
		if s.Held {
			held++
		}
	}
	p.line("")
	p.line("%d of %d steps held.", held, len(r.Steps))
}

// demoOptions are those of a real demo.
func (e *env) demoOptions(dir string) demo.Options {
	program, _ := os.Executable() // unknown: env.sh leaves PATH alone
	o := demo.Options{Dir: dir, Program: program, Run: e.runAs, Config: demoConfig, Clock: clock.System()}
	if !e.json {
		o.Progress = func(text string) { e.tell("demo", "%s", text) }
	}
	return o
}

// runDemo opens a demo, takes the tour, and stays unless once.
func (e *env) runDemo(ctx context.Context, o demo.Options, once bool) error {
	d, err := demo.Open(ctx, o)
	if errors.Is(err, demo.ErrNotEmpty) {
		return notEmpty(err)
	}
	if err != nil {
		return err
	}
	r := demoResult{Dir: d.Dir, Server: d.Address, Relay: d.Relay, Env: d.EnvFile(), Steps: []demo.Result{}}
	r.Held, err = d.Tour(ctx, func(s demo.Result) {
		r.Steps = append(r.Steps, s)
		e.showStep(s)
	})
	if err == nil {
		err = e.endTour(d, r)
	}
	if err != nil {
		return errors.Join(err, d.Remove())
	}
	if once {
		return d.Close()
	}
	e.next(". %s    # then, for example: claviger encrypt --key payments/cards -o OUT IN", word(d.EnvFile()))
	e.next(". %s    # to be the admin", word(d.AdminEnvFile()))
	e.next("Ctrl-C ends it and leaves nothing")
	<-ctx.Done()
	return d.Remove()
}

// endTour shows what the tour came to, and says to shells where it is.
func (e *env) endTour(d *demo.Demo, r demoResult) error {
	if r.Held {
		if err := d.WriteEnv(); err != nil {
			return err
		}
	}
	if err := e.show(r); err != nil || r.Held {
		return err
	}
	last := r.Steps[len(r.Steps)-1]
	return &Failure{Code: ExitFailure, Message: "the tour ended early: " + last.Title + ": " + firstLine(last.Evidence)}
}

// showStep shows a step as it is done; --json shows all of them in the end.
func (e *env) showStep(s demo.Result) {
	if e.json {
		return
	}
	fmt.Fprintf(e.Out, "\n# %s\n$ %s\n", oneLine(s.Title), oneLine(s.Command))
	if s.Output != "" {
		fmt.Fprintln(e.Out, clean(s.Output))
	}
	mark := "ok"
	if !s.Held {
		mark = "NOT OK"
	}
	fmt.Fprintf(e.Out, "[%s, exit status %d] %s\n", mark, s.ExitCode, oneLine(firstLine(s.Evidence)))
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// runAs runs a command line of this program under a profile, with nobody to ask
// and nothing of this environment.
func (e *env) runAs(ctx context.Context, profile string, args []string, out, complaint io.Writer) int {
	return Main(ctx, args, Streams{
		In: strings.NewReader(""), Out: out, Err: complaint,
		Getenv: func(name string) string { return map[string]string{"CLAVIGER_PROFILE": profile}[name] },
	})
}

// demoConfig is claviger.toml of a demo's server.
func demoConfig(s demo.Server) []byte {
	return serverConfig{
		Schema: schemaVersion, Domain: s.Domain.String(), Name: s.Name, Demo: true, Listen: s.Listen, Metrics: s.Metrics,
		Relay: []string{s.Relay}, Root: rootConfig{KeyFile: s.KeyFile}, Doors: doors.Config{Listen: s.Doors},
	}.encode()
}
