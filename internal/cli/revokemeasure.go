// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"claviger/internal/admin"
	"claviger/internal/wire"
)

// revokeResult is a revocation and how far it has come.
type revokeResult struct {
	changeResult
	Revocation *admin.Revocation `json:"revocation,omitempty"`
}

func (r revokeResult) human(p *printer) {
	r.changeResult.human(p)
	if r.Revocation != nil {
		printRevocation(p, r.Revocation)
	}
}

// printRevocation says what was measured, and what couldn't be.
func printRevocation(p *printer, r *admin.Revocation) {
	dark := fmt.Sprintf("%s of %d", counted(r.Dark, "holder"), r.Holders)
	if r.AtLeast {
		dark += " or more"
	}
	p.line("Dark: %s, %d by their own word", dark, r.Acknowledged)
	if r.Dark > 0 {
		p.line("Time to dark: half after %s, 99 in 100 after %s, the last after %s", seconds(r.P50), seconds(r.P99), seconds(r.Last))
	}
	switch {
	case !r.TakenBack.IsZero():
		p.line("It was taken back at %s.", utc(r.TakenBack))
	case r.Done:
		p.line("Nobody who follows the rules can use it any more.")
	default:
		p.line("%s", stillLit(r))
	}
	if len(r.Lit) == 0 {
		return
	}
	rows := make([][]string, len(r.Lit))
	for i, l := range r.Lit {
		rows[i] = []string{l.Client, fmt.Sprintf("%.16s", l.Mailbox), utc(l.Ends)}
	}
	p.table([]string{"CLIENT", "MAILBOX", "ENDS BY ITSELF"}, rows)
	if more := r.Holders - r.Dark - len(r.Lit); more > 0 {
		p.line("and %d more, which end sooner", more)
	}
}

// stillLit says who may still use it, and until when at the latest.
func stillLit(r *admin.Revocation) string {
	var out []string
	if lit := r.Holders - r.Dark; lit > 0 {
		out = append(out, fmt.Sprintf("%s may still use it, the slowest until %s", counted(lit, "holder"), utc(r.Ends)))
	}
	if !r.UnknownBefore.IsZero() {
		out = append(out, fmt.Sprintf("leases from before %s are unknown; the last ends at %s", utc(r.UnknownBefore), utc(r.UnknownUntil)))
	} else if !r.UnknownUntil.IsZero() {
		out = append(out, fmt.Sprintf("more holders than the server has room for; the last ends at %s", utc(r.UnknownUntil)))
	}
	if len(r.OtherServers) > 0 {
		out = append(out, fmt.Sprintf("what other servers gave out (%s) ends at %s at the latest", strings.Join(r.OtherServers, ", "), utc(r.Latest)))
	}
	return strings.Join(out, "; ") + "."
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond).String()
}

// runRevoke signs a revocation, and measures it if that was asked for.
func (e *env) runRevoke(ctx context.Context, f revokeFlags, args []string) error {
	s, err := e.connect(ctx, f.access)
	if err != nil {
		return err
	}
	defer s.Close()
	w, err := switchOf(s, args, f.reason, false)
	r := revokeResult{}
	switch {
	case errors.Is(err, admin.ErrNoChange):
		r.changeResult = unchanged(s, w.kind, err)
	case err != nil:
		return asBuildFailure(err)
	default:
		if r.changeResult, err = e.change(ctx, s, f.dryRun, w.kind, w.payload); err != nil {
			return err
		}
	}
	// Nobody holds anything of an endpoint: it is dark with the record.
	if f.dryRun || r.Pending != nil || w.of == "" {
		return e.finish(r.changeResult)
	}
	if !f.measure {
		r.Revocation = e.firstReport(ctx, s, w.of)
		if err := e.show(r); err != nil {
			return err
		}
		if r.Revocation != nil && !r.Revocation.Done {
			e.next("claviger revoke %s --measure", strings.Join(append(args, allFlag(args)...), " "))
		}
		return nil
	}
	r.Revocation, err = e.measure(ctx, s, w.of, f.timeout)
	if err != nil && r.Revocation == nil {
		return fmt.Errorf("it is revoked; how far that has come can't be told: %w", err)
	}
	if shown := e.show(r); shown != nil {
		return shown
	}
	return notDark(r.Revocation, err)
}

func allFlag(args []string) []string {
	if len(args) == 0 {
		return []string{"--all"}
	}
	return nil
}

// firstReport is what can be said at once. The revocation stands, whatever the
// server says of its progress.
func (e *env) firstReport(ctx context.Context, s *admin.Session, of string) *admin.Revocation {
	r, err := s.Revocation(ctx, wire.Epoch{}, of, 0)
	if err != nil && !errors.Is(err, admin.ErrNotFound) {
		e.warn("it is revoked; how far that has come can't be told: %v", err)
	}
	return r
}

// notDark is the exit status of a measurement.
func notDark(r *admin.Revocation, err error) error {
	switch {
	case r.Done:
		return nil
	case !r.TakenBack.IsZero():
		return &Failure{Code: ExitFailure, Message: "it was taken back before it had reached everybody"}
	case err != nil && !errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("measure: %w", err)
	}
	return &Failure{Code: ExitFailure, Message: "the time is up: " + strings.TrimSuffix(stillLit(r), ".")}
}

// measure asks until nobody can use it any more, or the time is up. It returns
// the newest report, nil without any, and why it is not the last one.
func (e *env) measure(ctx context.Context, s *admin.Session, of string, timeout time.Duration) (*admin.Revocation, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	line := &statusLine{e: e}
	defer line.clear()
	every := 10 * time.Second
	if e.ErrTTY {
		every = time.Second
	}
	var wait time.Duration // none the first time: there is something to say, however short the time is
	var epoch wire.Epoch
	var last *admin.Revocation
	for ; ; wait = every {
		r, err := s.Revocation(ctx, epoch, of, wait)
		if err != nil {
			if last != nil && ctx.Err() != nil {
				err = ctx.Err()
			}
			return last, err
		}
		if last = r; r.Done || !r.TakenBack.IsZero() {
			return last, nil
		}
		// From here on the same one, also if somebody revokes again.
		if epoch, err = wire.ParseEpoch(r.Epoch); err != nil {
			return last, fmt.Errorf("%w: its report on a revocation: %w", admin.ErrIntegrity, err)
		}
		line.draw("dark %d/%d, the slowest ends by itself at %s", r.Dark, r.Holders, latestOf(r).UTC().Format("15:04:05"))
	}
}

func latestOf(r *admin.Revocation) time.Time {
	if len(r.OtherServers) > 0 {
		return r.Latest
	}
	if r.UnknownUntil.After(r.Ends) {
		return r.UnknownUntil
	}
	return r.Ends
}

// statusLine is one line on standard error that is drawn again; off a terminal it
// is written when it has changed, and under --json never.
type statusLine struct {
	e     *env
	drawn string
}

func (l *statusLine) draw(format string, args ...any) {
	text := oneLine(fmt.Sprintf(format, args...))
	if l.e.json || text == l.drawn {
		return
	}
	l.drawn = text
	if l.e.ErrTTY {
		fmt.Fprintf(l.e.Err, "\r\x1b[K%s", text)
	} else {
		fmt.Fprintln(l.e.Err, text)
	}
}

func (l *statusLine) clear() {
	if l.e.ErrTTY && l.drawn != "" {
		fmt.Fprint(l.e.Err, "\r\x1b[K")
	}
}
