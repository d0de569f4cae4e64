// SPDX-License-Identifier: Apache-2.0

// Package endpointcmd is `claviger endpoint`: the commands that make, show, switch,
// rotate and test endpoints. The program around it lends what all its commands
// share ([Host]); what an endpoint's change consists of is in the package endpoint below.
//
// A secret is printed once, or written to a file that the owner alone can read,
// before anything is signed that names it. None comes from the command line.
package endpointcmd

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"claviger/internal/admin"
	"claviger/internal/cli/outfile"
	"claviger/internal/gateway"
	"claviger/internal/secret"
)

// Connect reaches a server as an admin; the caller closes the session.
type Connect func(context.Context) (*admin.Session, error)

// Change is how a command changes the domain, by the flags that it was given.
type Change interface {
	Connect(ctx context.Context) (*admin.Session, error)
	DryRun() bool
	Reason() string
	// Run connects, builds one payload, signs it and shows what came of it.
	Run(ctx context.Context, build func(*admin.Session) (kind string, payload any, err error)) error
	// Sign signs a payload, calls done, and shows what came of it with what was made.
	Sign(ctx context.Context, s *admin.Session, a Act) error
	// Fail shows why nothing was built, or that nothing has to change.
	Fail(s *admin.Session, kind string, why error) error
}

// Act is one change that brings something to show.
type Act struct {
	Kind    string
	Payload any
	Made    Made
	Done    func() error // once it is signed, before anything is shown; nil: nothing
	Next    string       // what usually follows, once it is applied
}

// Printer writes for people.
type Printer interface {
	Line(format string, args ...any)
	Table(headers []string, rows [][]string)
	Pairs(namesAndValues ...string)
}

// Shown is a result: its exported fields are the --json object, and Print writes
// the same for people.
type Shown interface{ Print(Printer) }

// Host is the program that the commands are part of.
type Host struct {
	Kinds      gateway.Kinds
	Access     func(*pflag.FlagSet) Connect // adds flags
	Change     func(*pflag.FlagSet) Change  // adds flags
	BindEnv    func(flags *pflag.FlagSet, flag, variable string)
	Show       func(Shown) error
	Usage      func(hint, format string, args ...any) error // a failure of who called
	Failed     func(hint, format string, args ...any) error // a result that is a failure
	Confirm    func(ctx context.Context, question, word string, yes bool) error
	Create     func(path string) (*outfile.File, error)
	ReadFile   func(path string, limit int64) ([]byte, error)
	ReadSecret func(path string) (*secret.Bytes, error)
	Logger     func() *slog.Logger
	Word       func(string) string // as a command line that people copy has to hold it
}

// Command is the tree of `endpoint`.
func (h Host) Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "endpoint",
		Short: "Let foreign services use keys in their own protocols",
		Long: "An endpoint is a door for one foreign service: which protocol it speaks, whom it lets\n" +
			"in, and which keys it may touch. One admin makes one under a name that never was; any\n" +
			"change of it takes the quorum. docs/endpoints has a page for each kind.",
	}
	cmd.AddCommand(h.add(), h.list(), h.show(), h.rotate(), h.test(), h.toggle(false), h.toggle(true), h.remove())
	return cmd
}
