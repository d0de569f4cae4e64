// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newHelpCommand replaces cobra's, which answers a topic that does not exist
// with help and exit status 0.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Explain a command or a topic",
		Example: "  claviger help version\n  claviger help exit-codes",
		RunE: func(cmd *cobra.Command, args []string) error {
			target, rest, err := cmd.Root().Find(args)
			if err != nil || target == nil || len(rest) > 0 {
				return usagef("there is no help on %q", strings.Join(args, " ")).withHint("claviger --help lists the commands")
			}
			target.InitDefaultHelpFlag()
			return target.Help()
		},
	}
}

// topics are commands that only explain: cobra lists what can't run as help.
func topics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "exit-codes", Short: "What the exit status says", Long: exitCodesText()},
		newEnvironmentTopic(),
	}
}

func exitCodesText() string {
	var b strings.Builder
	b.WriteString("Every command ends with one of these:\n\n")
	for _, row := range exitCodes {
		fmt.Fprintf(&b, "  %d  %-10s %s\n", int(row.code), row.name, row.meaning)
	}
	b.WriteString("\nWith --json the error on standard error carries the same number and name.")
	return b.String()
}

// standardVariables are those that no flag stands for.
var standardVariables = [...][2]string{
	{"NO_COLOR", "when set, nothing is coloured"},
	{"CLICOLOR_FORCE", "when set and not 0, messages are coloured even if they don't go to a terminal"},
	{"CREDENTIALS_DIRECTORY", "set by systemd: where the credentials of a service lie"},
}

// newEnvironmentTopic lists the variables when it is asked for, since only
// then is the tree whole.
func newEnvironmentTopic() *cobra.Command {
	cmd := &cobra.Command{Use: "environment", Short: "Which variables claviger reads"}
	cmd.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		fmt.Fprintln(cmd.OutOrStdout(), environmentText(cmd.Root()))
	})
	return cmd
}

// environmentText lists every variable of the tree under root.
func environmentText(root *cobra.Command) string {
	lines := []string{}
	for name, flag := range variables(root) {
		lines = append(lines, fmt.Sprintf("  %-24s sets --%s", name, flag))
	}
	slices.Sort(lines)
	for _, v := range standardVariables {
		lines = append(lines, fmt.Sprintf("  %-24s %s", v[0], v[1]))
	}
	return "A flag goes before its variable, the variable before the profile. No secret is\n" +
		"ever read from a variable.\n\n" + strings.Join(lines, "\n")
}

// variables maps every variable that sets a flag of the tree to the flag.
func variables(root *cobra.Command) map[string]string {
	out := map[string]string{}
	collect := func(f *pflag.Flag) {
		if name := envOf(f); name != "" {
			out[name] = f.Name
		}
	}
	root.PersistentFlags().VisitAll(collect)
	root.LocalFlags().VisitAll(collect)
	for _, sub := range root.Commands() {
		for name, flag := range variables(sub) {
			out[name] = flag
		}
	}
	return out
}
