// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"claviger/internal/admin"
)

func newAuditCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Read, export and check the servers' record of their decisions",
		Long:  "Each server keeps a log of every decision, which can't be changed unseen. What it\nshows can be checked on this machine, without a server, from an export.",
	}
	cmd.AddCommand(newAuditTailCommand(e), newAuditExportCommand(e), newAuditVerifyCommand(e))
	return cmd
}

// leafLine is one leaf of `audit tail`.
type leafLine struct{ admin.Leaf }

func (l leafLine) human(p *printer) {
	what := strings.Join(l.Operations, ",")
	if what == "" {
		what = l.Action
	}
	p.line("%s %d/%d %s %s %s %s %s", l.Time, l.Log, l.Index, orDash(l.Decision), orDash(l.Caller), what, orDash(l.Resource), orDash(l.Reason))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func newAuditTailCommand(e *env) *cobra.Command {
	var a access
	var t tailing
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Print the newest decisions of a server",
		Long: "Print the newest decisions of a server, oldest first, one per line; with --json one\n" +
			"object per line. What admins read is recorded too, and shown with --all.",
		Example: "  claviger audit tail -n 20\n  claviger audit tail --follow --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if t.n < 0 || t.every < time.Second {
				return usagef("-n is a number of lines, --every at least 1s")
			}
			s, err := e.connect(cmd.Context(), a)
			if err != nil {
				return err
			}
			defer s.Close()
			return e.tail(cmd.Context(), s, t)
		},
	}
	accessFlags(cmd.Flags(), &a)
	cmd.Flags().IntVarP(&t.n, "lines", "n", 10, "how many decisions")
	cmd.Flags().BoolVarP(&t.follow, "follow", "f", false, "go on printing as they come, until interrupted")
	cmd.Flags().BoolVar(&t.all, "all", false, "what admins read, too")
	cmd.Flags().DurationVar(&t.every, "every", 2*time.Second, "how often to ask with --follow")
	return cmd
}

// tailing is what `audit tail` is told.
type tailing struct {
	n      int
	follow bool
	all    bool
	every  time.Duration
}

// wants leaves out what admins read: this command alone adds several such leaves
// each time it asks.
func (t tailing) wants(l admin.Leaf) bool {
	return t.all || !strings.HasSuffix(l.Action, ":read")
}

// tailWindow is how far back the newest decisions are looked for.
const tailWindow = 5000

// tail prints the newest leaves, and with follow those that come. A server that
// opens another log is followed there.
func (e *env) tail(ctx context.Context, s *admin.Session, t tailing) error {
	status, err := s.Status(ctx)
	if err != nil {
		return err
	}
	log, next := status.Audit.Log, status.Audit.Leaves
	found, err := s.Recent(ctx, max(tailWindow, t.n))
	if err != nil {
		return err
	}
	var leaves []admin.Leaf
	for _, l := range found {
		if next = max(next, l.Index+1); t.wants(l) {
			leaves = append(leaves, l)
		}
	}
	leaves = leaves[max(0, len(leaves)-t.n):]
	for {
		for _, l := range leaves {
			if err := e.show(leafLine{l}); err != nil {
				return err
			}
		}
		if !t.follow || pause(ctx, t.every) != nil {
			return nil // an interrupt is how following ends
		}
		if leaves, err = s.Leaves(ctx, log, next, pageLeaves); err != nil {
			return err
		}
		if len(leaves) > 0 {
			next = leaves[len(leaves)-1].Index + 1
		} else if status, err = s.Status(ctx); err != nil {
			return err
		} else if status.Audit.Log > log {
			log, next = status.Audit.Log, 0
		}
		leaves = slices.DeleteFunc(leaves, func(l admin.Leaf) bool { return !t.wants(l) })
	}
}

// pageLeaves is how many leaves one answer holds at most.
const pageLeaves = 1000

// pause waits, or ends with ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// fileResult is a file that a command has written.
type fileResult struct {
	File  string `json:"file"`
	Bytes int64  `json:"size_bytes"`
}

func (r fileResult) human(p *printer) { p.line("Wrote %s (%d bytes)", r.File, r.Bytes) }

func newAuditExportCommand(e *env) *cobra.Command {
	var a access
	var out string
	cmd := &cobra.Command{
		Use:     "export -o FILE",
		Short:   "Copy a server's whole audit log into an archive",
		Example: "  claviger audit export -o audit.tar",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := e.fetch(cmd.Context(), a, out, func(ctx context.Context, s *admin.Session, w io.Writer) (int64, error) { return s.Export(ctx, w) })
			if err == nil {
				e.next("claviger audit verify %s", word(out))
			}
			return err
		},
	}
	accessFlags(cmd.Flags(), &a)
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write")
	return cmd
}

// fetch writes what a server streams into a file, whole or not at all.
func (e *env) fetch(ctx context.Context, a access, path string, get func(context.Context, *admin.Session, io.Writer) (int64, error)) error {
	if path == "" || path == "-" {
		return usagef("name a file with -o")
	}
	s, err := e.connect(ctx, a)
	if err != nil {
		return err
	}
	defer s.Close()
	out, err := e.create(outputOptions{Path: path, Binary: true})
	if err != nil {
		return err
	}
	defer out.Abort()
	n, err := get(ctx, s, out)
	if err != nil {
		return err
	}
	if err := out.Commit(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return e.show(fileResult{path, n})
}
