// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"claviger/internal/admin"
	"claviger/internal/clock"
)

// access is how an admin's command reaches the domain and its key.
type access struct {
	pass secretSource
}

// accessFlags adds where the passphrase of the authority key comes from.
func accessFlags(flags *pflag.FlagSet, a *access) {
	a.pass.Credential = "claviger-admin"
	secretFlags(flags, &a.pass, "passphrase", "the passphrase of your authority key")
}

// adminProfile opens the admin's profile that is to be used.
func (e *env) adminProfile() (*admin.Profile, error) {
	dir, err := e.profileDir(kindAdmin)
	if err != nil {
		return nil, err
	}
	return admin.OpenProfile(dir)
}

// connect reaches a server as an admin. The caller closes the session.
func (e *env) connect(ctx context.Context, a access) (*admin.Session, error) {
	p, err := e.adminProfile()
	if err != nil {
		return nil, err
	}
	s, err := admin.Connect(ctx, p, admin.Options{
		Clock: clock.System(),
		Key:   func(ctx context.Context) (*admin.Key, error) { return e.authorityKey(ctx, p, a) },
	})
	if err != nil {
		return nil, err
	}
	for _, w := range s.Warnings {
		e.warn("%s", w)
	}
	return s, nil
}

// authorityKey opens a profile's key: by its key file, else by a passphrase.
func (e *env) authorityKey(ctx context.Context, p *admin.Profile, a access) (*admin.Key, error) {
	if p.KeyFile != "" {
		return p.Key(nil)
	}
	a.pass.Prompt = "Passphrase of " + p.Name + "'s authority key"
	pass, err := e.readSecret(ctx, a.pass)
	if err != nil {
		return nil, err
	}
	defer pass.Wipe()
	return p.Key(pass)
}

// changeFlags are those of every command that changes the domain.
type changeFlags struct {
	access
	dryRun bool
	reason string
}

func addChangeFlags(flags *pflag.FlagSet, c *changeFlags) {
	accessFlags(flags, &c.access)
	flags.BoolVar(&c.dryRun, "dry-run", false, "show what would be signed, and sign nothing")
	flags.StringVar(&c.reason, "reason", "", "why, for the log: others will read it")
}

// changeResult is what a change came to.
type changeResult struct {
	Kind    string      `json:"kind"`
	Summary string      `json:"summary"`
	Diff    []string    `json:"diff,omitempty"` // only of a dry run
	DryRun  bool        `json:"dry_run,omitempty"`
	Applied bool        `json:"applied"`
	Epoch   string      `json:"epoch,omitempty"`
	Pending *pendingRow `json:"pending,omitempty"`
	// Unchanged: it was so already, and nothing was signed.
	Unchanged bool `json:"unchanged,omitempty"`

	waiting *admin.Waiting // what Pending shows
}

func (r changeResult) human(p *printer) {
	switch {
	case r.Unchanged:
		p.line("%s", r.Summary)
	case r.DryRun:
		p.line("This would %s", r.Summary)
		for _, line := range r.Diff {
			p.line("  %s", line)
		}
	case r.Applied:
		p.line("Done: %s (record %s)", r.Summary, r.Epoch)
	default:
		p.line("Waiting: %s", r.Summary)
		r.Pending.human(p)
	}
}

// failure is the exit status of a change that waits for other people.
func (r changeResult) failure() error {
	if r.Pending == nil {
		return nil
	}
	why, hint := r.Pending.waitsFor()
	return (&Failure{Code: ExitPending, Message: r.Summary + ": " + why}).withHint("%s", hint)
}

func none(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}

// change signs one change and says what it came to.
func (e *env) change(ctx context.Context, s *admin.Session, dryRun bool, kind string, payload any) (changeResult, error) {
	body := s.Prepare(kind, payload)
	r, err := describe(s, body)
	if err != nil {
		return r, err
	}
	if dryRun {
		r.DryRun = true
		return r, nil
	}
	r.Diff = nil
	out, err := s.ProposeBody(ctx, body)
	if err != nil {
		return r, err
	}
	return outcomeOf(s, r, out), nil
}

// outcomeOf fills in what became of a change.
func outcomeOf(s *admin.Session, r changeResult, out admin.Outcome) changeResult {
	r.Applied = out.Applied
	if out.Applied {
		r.Epoch = out.Epoch.String()
		return r
	}
	row := waitingRow(s, out.Pending)
	r.Pending, r.waiting = &row, out.Pending
	return r
}

// unchanged is a change that was not needed.
func unchanged(s *admin.Session, kind string, why error) changeResult {
	return changeResult{Kind: kind, Summary: why.Error(), Applied: true, Epoch: s.State().Epoch.String(), Unchanged: true}
}

// runChange is the body of most commands that change something: connect, build
// one payload, sign it, show what came of it.
func (e *env) runChange(ctx context.Context, c changeFlags, build func(*admin.Session) (string, any, error)) error {
	s, err := e.connect(ctx, c.access)
	if err != nil {
		return err
	}
	defer s.Close()
	kind, payload, err := build(s)
	if errors.Is(err, admin.ErrNoChange) {
		return e.show(unchanged(s, kind, err))
	}
	if err != nil {
		return asBuildFailure(err)
	}
	r, err := e.change(ctx, s, c.dryRun, kind, payload)
	if err != nil {
		return err
	}
	return e.finish(r)
}

// finish shows a change and gives the exit status of one that waits.
func (e *env) finish(r changeResult) error {
	if err := e.show(r); err != nil {
		return err
	}
	return r.failure()
}

// asBuildFailure turns what a payload could not be built from into a usage
// failure, unless it says something of the domain or its server.
func asBuildFailure(err error) error {
	_, failure := errors.AsType[*Failure](err)
	_, refusal := errors.AsType[*admin.ServerError](err)
	if failure || refusal {
		return err
	}
	for _, o := range adminOutcomes() {
		if errors.Is(err, o.err) {
			return err
		}
	}
	return usagef("%v", err)
}

// utc shows a moment as --json does.
func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }
