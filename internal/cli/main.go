// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Main runs one command line (without the program's name) and returns its exit
// status. SIGINT and SIGTERM cancel the command's context; a second one kills
// the process as if nobody had asked for the first.
func Main(ctx context.Context, args []string, s Streams) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	e := &env{Streams: s}
	root := newRoot(e)
	e.json = wantsJSON(args)
	if args == nil {
		args = []string{} // cobra takes nil for "the process's own arguments"
	}
	root.SetArgs(args)
	return e.report(root.ExecuteContext(ctx))
}

// newRoot builds the command tree. It reads nothing and starts nothing, so
// that help, completion and man pages cost no more than memory.
func newRoot(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "claviger",
		Short: "A key management system whose root of trust stays with you",
		Long: "Claviger keeps, releases and revokes encryption keys. Clouds may carry keys and\n" +
			"ciphertext; they can never read or forge them.",
		Example:           "  claviger version",
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return e.applyEnv(cmd) },
	}
	root.SetIn(e.In)
	root.SetOut(e.Out)
	root.SetErr(e.Err)
	flags := root.PersistentFlags()
	flags.BoolVar(&e.json, "json", false, "print results and errors as JSON, one object per line")
	flags.StringVar(&e.profile, "profile", "", "name or directory of the profile to use")
	bindEnv(flags, "profile", "CLAVIGER_PROFILE")
	root.AddCommand(commands(e)...)
	root.SetHelpCommand(newHelpCommand())
	root.InitDefaultHelpCmd() // now, so that the man pages see the same tree as a run
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return asUsage(cmd, err)
	})
	prepare(root)
	return root
}

// prepare gives every command of the tree the house's manners: wrong arguments
// are usage failures, and a group without a verb is one too instead of help
// with exit status 0, which a script would take for success.
func prepare(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		prepare(sub)
	}
	if cmd.HasSubCommands() && !cmd.Runnable() {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = runGroup
		cmd.SuggestionsMinimumDistance = 2
		return
	}
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return asUsage(c, err)
			}
			return nil
		}
	}
}

// runGroup is what a command that only holds other commands does.
func runGroup(cmd *cobra.Command, args []string) error {
	if len(args) == 0 && !cmd.HasParent() {
		return cmd.Help()
	}
	if len(args) == 0 {
		return usagef("%s needs a command", cmd.CommandPath()).withHint("%s --help lists them", cmd.CommandPath())
	}
	f := usagef("unknown command %q for %s", args[0], cmd.CommandPath())
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return f.withHint("did you mean %s %s?", cmd.CommandPath(), near[0])
	}
	return f.withHint("%s --help lists the commands", cmd.CommandPath())
}

// asUsage turns a complaint of the flag parser into a usage failure. The
// parser quotes values; no secret is ever a flag's value, so that is safe.
func asUsage(cmd *cobra.Command, err error) error {
	if err == pflag.ErrHelp {
		return err
	}
	message, _, _ := strings.Cut(err.Error(), "\n") // what follows are cobra's own suggestions
	if strings.Contains(message, " arg(s), ") {     // cobra's count doesn't say of what
		message = "wrong number of arguments; it is " + strings.TrimSuffix(cmd.UseLine(), " [flags]")
	}
	return usagef("%s", message).withHint("%s --help", cmd.CommandPath())
}
