// SPDX-License-Identifier: Apache-2.0

// Package manpage renders the man pages of a tree of commands: [Pages] gives one
// for each command that help shows, by file name. What stands in a page is what
// --help prints, and nothing of the machine or the day.
//
// It writes no file, and knows no command in particular.
package manpage

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Pages renders one page of section 1 for each visible command and topic,
// by file name. It depends on the tree alone: no date, no version, so that a
// page changes only with its command. Texts gives the description of a command that
// makes it from the tree, "" for all others.
func Pages(root *cobra.Command, texts func(*cobra.Command) string) map[string][]byte {
	pages := map[string][]byte{}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Hidden {
			return
		}
		pages[pageName(cmd)+".1"] = page(cmd, texts(cmd))
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
	return pages
}

func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

func page(cmd *cobra.Command, text string) []byte {
	b := &bytes.Buffer{}
	name := pageName(cmd)
	if cmd.Runnable() {
		cmd.InitDefaultHelpFlag() // cobra adds it late, and only to what it runs
	}
	fmt.Fprintf(b, ".TH %q 1 \"\" claviger\n.SH NAME\n%s \\- %s\n", strings.ToUpper(name), roff(name), roff(cmd.Short))
	if runs(cmd) || cmd.HasSubCommands() {
		fmt.Fprintf(b, ".SH SYNOPSIS\n.B %s\n", roff(cmd.UseLine()))
	}
	section(b, "DESCRIPTION", cmp.Or(text, cmd.Long, cmd.Short+"."))
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
