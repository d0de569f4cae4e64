// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"claviger/internal/admin"
	"claviger/internal/admin/change"
	"claviger/internal/clock"
	"claviger/internal/wire"
)

func newApproveShowCommand(e *env) *cobra.Command {
	var a access
	var out string
	cmd := &cobra.Command{
		Use:   "show ID|FILE",
		Short: "Show what a change does",
		Long: "Show what a change does, rendered from its signed bytes. With -o the change is\n" +
			"written to a file, for somebody who has to sign it and can't reach a server.",
		Example: "  claviger approve show 3f2a9c11\n  claviger approve show 3f2a9c11 -o change.txt",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, body, fromFile, err := readEntry(args[0])
			if err != nil {
				return err
			}
			if fromFile {
				r, err := e.showAlone(body)
				if err != nil {
					return err
				}
				return e.show(r)
			}
			s, err := e.connect(cmd.Context(), a)
			if err != nil {
				return err
			}
			defer s.Close()
			w, err := s.Find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			c, err := change.Describe(s.State(), w.Body)
			if err != nil {
				return err
			}
			if out != "" {
				if err := e.writeText(out, admin.FormatEntry(w.Entry)); err != nil {
					return err
				}
			}
			return e.show(showChange(waitingRow(s, w), w.Body, c))
		},
	}
	accessFlags(cmd.Flags(), &a)
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write the change to")
	return cmd
}

func newApproveSignCommand(e *env) *cobra.Command {
	var a access
	var out string
	var yes bool
	cmd := &cobra.Command{
		Use:   "sign ID|FILE",
		Short: "Sign a change",
		Long: "Show what a change does and sign it. A change that came as a file is signed on this\n" +
			"machine alone and written to -o, for somebody who can submit it.",
		Example: "  claviger approve sign 3f2a9c11\n  claviger approve sign change.txt -o signed.txt",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			entry, body, fromFile, err := readEntry(args[0])
			if err != nil {
				return err
			}
			if fromFile {
				return e.signFile(cmd.Context(), signing{entry: entry, body: body, out: out, yes: yes, access: a})
			}
			return e.signWaiting(cmd.Context(), a, args[0], yes)
		},
	}
	accessFlags(cmd.Flags(), &a)
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write a change to that came as a file")
	cmd.Flags().BoolVar(&yes, "yes", false, "sign without asking")
	return cmd
}

// signWaiting shows a change that waits on the server, asks, signs.
func (e *env) signWaiting(ctx context.Context, a access, id string, yes bool) error {
	s, err := e.connect(ctx, a)
	if err != nil {
		return err
	}
	defer s.Close()
	w, err := s.Find(ctx, id)
	if err != nil {
		return err
	}
	c, err := change.Describe(s.State(), w.Body)
	if err != nil {
		return err
	}
	e.explain(showChange(waitingRow(s, w), w.Body, c))
	if err := e.confirm(ctx, "Signing this", "sign", yes); err != nil {
		return err
	}
	out, err := s.Sign(ctx, w)
	if err != nil {
		return err
	}
	return e.finish(outcomeOf(s, changeResult{Kind: w.Body.Kind, Summary: c.Summary}, out))
}

// signing is a change that came as a file.
type signing struct {
	access
	entry []byte
	body  *wire.Body
	out   string
	yes   bool
}

func (e *env) signFile(ctx context.Context, g signing) error {
	if g.out == "" {
		return usagef("a change from a file needs a file for the result").withHint("add -o FILE")
	}
	shown, err := e.showAlone(g.body)
	if err != nil {
		return err
	}
	e.explain(shown)
	if err := e.confirm(ctx, "Signing this", "sign", g.yes); err != nil {
		return err
	}
	p, err := e.adminProfile()
	if err != nil {
		return err
	}
	key, err := e.authorityKey(ctx, p, g.access)
	if err != nil {
		return err
	}
	defer key.Wipe()
	signed, err := p.SignEntry(g.entry, key, clock.System().Now())
	if err != nil {
		return err
	}
	if err := e.writeText(g.out, admin.FormatEntry(signed)); err != nil {
		return err
	}
	e.next("somebody who can reach a server: claviger approve submit %s", word(g.out))
	return nil
}

func newApproveSubmitCommand(e *env) *cobra.Command {
	var a access
	cmd := &cobra.Command{
		Use:     "submit FILE",
		Short:   "Bring a change that was signed elsewhere to the server",
		Example: "  claviger approve submit signed.txt",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			entry, body, fromFile, err := readEntry(args[0])
			if err != nil {
				return err
			}
			if !fromFile {
				return fs.ErrNotExist
			}
			s, err := e.connect(cmd.Context(), a)
			if err != nil {
				return err
			}
			defer s.Close()
			c, err := change.Describe(s.State(), body)
			if err != nil {
				return err
			}
			out, err := s.Bring(cmd.Context(), entry)
			if err != nil {
				return err
			}
			return e.finish(outcomeOf(s, changeResult{Kind: body.Kind, Summary: c.Summary}, out))
		},
	}
	accessFlags(cmd.Flags(), &a)
	return cmd
}

// readEntry reads a change from a file, if there is a file of that name.
func readEntry(arg string) ([]byte, *wire.Body, bool, error) {
	if _, err := os.Stat(arg); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, false, nil
	}
	text, err := readBoundedFile(arg, admin.MaxEntryText)
	if err != nil {
		return nil, nil, false, err
	}
	if !strings.HasPrefix(string(text), "clvent1_") {
		return nil, nil, false, usagef("%s holds no change: one begins with clvent1_", arg).withHint("claviger approve show ID -o FILE writes one")
	}
	entry, body, err := admin.ParseEntry(string(text))
	return entry, body, err == nil, err
}

// showAlone renders a change without a server: against the profile's own copy of
// the log, if it has one.
func (e *env) showAlone(body *wire.Body) (approveShowResult, error) {
	describe := change.DescribeAlone
	if p, err := e.adminProfile(); err == nil {
		if state, err := admin.Offline(p); err == nil && p.Domain == body.Domain {
			describe = func(b *wire.Body) (*change.Change, error) { return change.Describe(state, b) }
		}
	}
	c, err := describe(body)
	if err != nil {
		return approveShowResult{}, err
	}
	w := admin.Waiting{Body: body}
	row := pendingRow{ID: body.ID.String(), Kind: body.Kind, Signed: []string{}, CanSign: []string{}, Expires: utc(w.Expires())}
	return showChange(row, body, c), nil
}

// explain shows on standard error what is about to be signed.
func (e *env) explain(r approveShowResult) { e.aside(r.human) }

// writeText writes one line of text to a file.
func (e *env) writeText(path, line string) error {
	out, err := e.create(outputOptions{Path: path})
	if err != nil {
		return err
	}
	defer out.Abort()
	if _, err := out.Write([]byte(line + "\n")); err != nil {
		return err
	}
	return out.Commit()
}
