// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"claviger/internal/admin"
	"claviger/internal/admin/change"
	"claviger/internal/wire"
)

func newApproveCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "approve",
		Short: "Decide about changes that wait for signatures",
		Long: "A change that needs more people than the one who made it waits on the server for\n" +
			"seven days. What you are shown is rendered on this machine from the very bytes\n" +
			"that you sign; what can't be shown is not signed.",
	}
	cmd.AddCommand(newApproveListCommand(e), newApproveShowCommand(e), newApproveSignCommand(e), newApproveSubmitCommand(e))
	return cmd
}

// pendingRow is one change that waits.
type pendingRow struct {
	ID      string   `json:"id"`
	Kind    string   `json:"kind"`
	Summary string   `json:"summary"`
	Signed  []string `json:"signed"`
	CanSign []string `json:"can_sign"`
	Owners  []string `json:"new_keys,omitempty"` // whose owners have to sign too
	Needed  uint64   `json:"needed"`
	Due     string   `json:"due,omitempty"` // of a recovery: when it can take effect
	Expires string   `json:"expires"`
	Problem string   `json:"problem,omitempty"`
}

func (r pendingRow) human(p *printer) {
	p.pairs(append([]string{"id", r.ID, "signed by", none(r.Signed), "can sign", none(r.CanSign)}, r.rest()...)...)
}

// rest is what most changes don't have, and what ends all of them.
func (r pendingRow) rest() []string {
	var out []string
	if len(r.Owners) > 0 {
		out = append(out, "has to sign too", strings.Join(r.Owners, ", "))
	}
	if r.Due != "" {
		out = append(out, "takes effect", r.Due)
	}
	return append(out, "until", r.Expires, "problem", r.Problem)
}

// waitsFor says what is missing, and the next step.
func (r pendingRow) waitsFor() (why, hint string) {
	enough := r.Needed > 0 && uint64(len(r.Signed)) >= r.Needed
	switch {
	case !enough:
		return fmt.Sprintf("it waits for more signatures, until %s (signed: %s; can sign: %s)", r.Expires, none(r.Signed), none(r.CanSign)),
			"one of them can run: claviger approve sign " + r.ID
	case len(r.Owners) > 0:
		return fmt.Sprintf("it waits for the new keys of %s to sign, until %s", none(r.Owners), r.Expires),
			"their owners sign a file: claviger approve show " + r.ID + " -o FILE"
	case r.Due != "":
		return fmt.Sprintf("it is signed and waits for its time, %s", r.Due), "when that has come: claviger approve sign " + r.ID
	}
	return fmt.Sprintf("it waits, until %s", r.Expires), "claviger approve sign " + r.ID
}

func waitingRow(s *admin.Session, w *admin.Waiting) pendingRow {
	r := pendingRow{
		ID: w.Body.ID.String(), Kind: w.Body.Kind, Signed: w.Signed, CanSign: w.Missing, Needed: w.Needed,
		Owners: w.Owners, Expires: utc(w.Expires()), Problem: w.Problem,
	}
	if !w.Due.IsZero() {
		r.Due = utc(w.Due)
	}
	if c, err := change.Describe(s.State(), w.Body); err != nil {
		r.Problem = err.Error()
	} else {
		r.Summary = c.Summary
	}
	r.Signed, r.CanSign = append([]string{}, r.Signed...), append([]string{}, r.CanSign...) // [] in JSON, not null
	return r
}

type approveListResult struct {
	Pending []pendingRow `json:"pending"`
}

func (r approveListResult) human(p *printer) {
	if len(r.Pending) == 0 {
		p.line("Nothing waits for signatures.")
		return
	}
	rows := make([][]string, len(r.Pending))
	for i, v := range r.Pending {
		rows[i] = []string{v.ID[:8], v.Summary, strings.Join(v.Signed, ", "), strings.Join(slices.Concat(v.CanSign, v.Owners), ", "), v.Expires, v.Problem}
	}
	p.table([]string{"ID", "CHANGE", "SIGNED BY", "CAN SIGN", "UNTIL", "PROBLEM"}, rows)
}

func newApproveListCommand(e *env) *cobra.Command {
	var a access
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the changes that wait for signatures",
		Example: "  claviger approve list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := e.connect(cmd.Context(), a)
			if err != nil {
				return err
			}
			defer s.Close()
			list, err := s.Pending(cmd.Context())
			if err != nil {
				return err
			}
			r := approveListResult{Pending: []pendingRow{}}
			for _, w := range list {
				r.Pending = append(r.Pending, waitingRow(s, &w))
			}
			slices.SortFunc(r.Pending, func(a, b pendingRow) int { return strings.Compare(a.Expires, b.Expires) })
			return e.show(r)
		},
	}
	accessFlags(cmd.Flags(), &a)
	return cmd
}

// approveShowResult is a change as those who decide about it see it.
type approveShowResult struct {
	pendingRow
	Signers string   `json:"signers"`
	Domain  string   `json:"domain"`
	Diff    []string `json:"diff"`
}

func (r approveShowResult) human(p *printer) {
	p.line("%s", r.Summary)
	for _, line := range r.Diff {
		p.line("  %s", line)
	}
	p.pairs(append([]string{"id", r.ID, "domain", r.Domain, "has to sign", r.Signers, "signed by", none(r.Signed)}, r.rest()...)...)
}

// showChange renders a change from its signed bytes.
func showChange(row pendingRow, body *wire.Body, c *change.Change) approveShowResult {
	row.Summary = c.Summary
	return approveShowResult{pendingRow: row, Signers: c.Signers, Domain: body.Domain.String(), Diff: append([]string{}, c.Lines...)}
}

// describe says what an unsigned body of our own does.
func describe(s *admin.Session, data []byte) (changeResult, error) {
	body, err := wire.ParseBody(data)
	if err != nil {
		return changeResult{}, err
	}
	c, err := change.Describe(s.State(), body)
	if err != nil {
		return changeResult{}, err
	}
	return changeResult{Kind: body.Kind, Summary: c.Summary, Diff: c.Lines}, nil
}
