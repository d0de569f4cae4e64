// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newGenManCommand writes docs/man; it is for this repository and for
// packagers, so help does not list it.
func newGenManCommand(*env) *cobra.Command {
	return &cobra.Command{
		Use:     "gen-man DIR",
		Short:   "Write the man pages of every command into DIR",
		Example: "  claviger gen-man docs/man",
		Args:    cobra.ExactArgs(1),
		Hidden:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("make directory: %w", err)
			}
			for name, page := range manPages(cmd.Root()) {
				if err := os.WriteFile(filepath.Join(args[0], name), page, fs.FileMode(0o644)); err != nil {
					return fmt.Errorf("write man page: %w", err)
				}
			}
			return nil
		},
	}
}

// manPages renders one page of section 1 for each visible command and topic,
// by file name. It depends on the tree alone: no date, no version, so that a
// page changes only with its command.
func manPages(root *cobra.Command) map[string][]byte {
	pages := map[string][]byte{}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Hidden {
			return
		}
		pages[pageName(cmd)+".1"] = manPage(cmd)
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
	return pages
}

func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

func manPage(cmd *cobra.Command) []byte {
	b := &bytes.Buffer{}
	name := pageName(cmd)
	if cmd.Runnable() {
		cmd.InitDefaultHelpFlag() // cobra adds it late, and only to what it runs
	}
	fmt.Fprintf(b, ".TH %q 1 \"\" claviger\n.SH NAME\n%s \\- %s\n", strings.ToUpper(name), roff(name), roff(cmd.Short))
	if runs(cmd) || cmd.HasSubCommands() {
		fmt.Fprintf(b, ".SH SYNOPSIS\n.B %s\n", roff(cmd.UseLine()))
	}
	section(b, "DESCRIPTION", description(cmd))
	flagSection(b, "OPTIONS", cmd.NonInheritedFlags())
	flagSection(b, "OPTIONS OF EVERY COMMAND", cmd.InheritedFlags())
	section(b, "EXAMPLE", cmd.Example)
	if runs(cmd) {
		fmt.Fprint(b, ".SH EXIT STATUS\nSee\n.BR claviger-exit-codes (1).\n")
	}
	seeAlso(b, cmd)
	return b.Bytes()
}

// runs says whether cmd does something itself, other than naming its verbs.
func runs(cmd *cobra.Command) bool { return cmd.Runnable() && !cmd.HasSubCommands() }

func description(cmd *cobra.Command) string {
	switch {
	case cmd.Name() == "environment" && !cmd.Runnable():
		return environmentText(cmd.Root())
	case cmd.Long != "":
		return cmd.Long
	}
	return cmd.Short + "."
}

// section writes text as it stands: line breaks are the author's.
func section(b *bytes.Buffer, title, text string) {
	if text != "" {
		fmt.Fprintf(b, ".SH %s\n.nf\n%s\n.fi\n", title, roff(text))
	}
}

func flagSection(b *bytes.Buffer, title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		head := "--" + f.Name
		if f.Shorthand != "" {
			head = "-" + f.Shorthand + ", " + head
		}
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(strings.TrimSpace(head+" "+kind)), roff(usage))
	})
}

func seeAlso(b *bytes.Buffer, cmd *cobra.Command) {
	var near []string
	if cmd.HasParent() {
		near = append(near, pageName(cmd.Parent()))
	}
	for _, sub := range cmd.Commands() {
		if !sub.Hidden {
			near = append(near, pageName(sub))
		}
	}
	if len(near) > 0 {
		fmt.Fprintf(b, ".SH SEE ALSO\n.BR %s (1)\n", strings.Join(near, " (1),\n.BR "))
	}
}

// roff escapes text for troff: backslashes, hyphens that must stay hyphens, and
// a dot or quote that would begin a request.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, `-`, `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
