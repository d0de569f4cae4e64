// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"claviger/internal/admin/checkup"
)

// doctorResult is a check-up.
type doctorResult struct {
	OK       bool              `json:"ok"`
	Findings []checkup.Finding `json:"findings"`
}

func (r doctorResult) human(p *printer) {
	for _, f := range r.Findings {
		p.line("%-8s %s: %s", f.Level, f.What, f.Found)
	}
}

func newDoctorCommand(e *env) *cobra.Command {
	var a access
	var dir string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong, or has to be known",
		Long: "Look at the profile, the log, the server and, with --dir, at a server's directory. It\n" +
			"fails when something has to be mended; warnings are what people have to know.",
		Example: "  claviger doctor\n  claviger doctor --dir /var/lib/claviger",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := doctorResult{OK: true, Findings: e.examine(cmd.Context(), a, dir)}
			failed := 0
			for _, f := range r.Findings {
				if f.Level == checkup.Failed {
					r.OK = false
					failed++
				}
			}
			if err := e.show(r); err != nil {
				return err
			}
			if !r.OK {
				return (&Failure{Code: ExitFailure, Message: fmt.Sprintf("failed checks: %d", failed)}).withHint("the lines that begin with failed say what has to be mended")
			}
			return nil
		},
	}
	accessFlags(cmd.Flags(), &a)
	cmd.Flags().StringVar(&dir, "dir", "", "data directory of a server on this machine")
	return cmd
}

// examine does every check that this machine allows.
func (e *env) examine(ctx context.Context, a access, dir string) []checkup.Finding {
	var out []checkup.Finding
	if dir != "" {
		out = append(out, checkup.Dir(dir)...)
	}
	p, err := e.adminProfile()
	if err != nil {
		if dir != "" {
			return append(out, checkup.Finding{Level: checkup.Fine, What: "profile", Found: "no admin's profile on this machine, as it should be beside a server"})
		}
		return append(out, checkup.Finding{Level: checkup.Failed, What: "profile", Found: err.Error()})
	}
	out = append(out, checkup.Profile(p)...)
	s, err := e.connect(ctx, a)
	if err != nil {
		return append(out, checkup.Finding{Level: checkup.Failed, What: "server", Found: err.Error()})
	}
	defer s.Close()
	out = append(out, checkup.State(s.State())...)
	st, err := s.Status(ctx)
	if err != nil {
		return append(out, checkup.Finding{Level: checkup.Failed, What: "server", Found: err.Error()})
	}
	return append(out, checkup.Status(st)...)
}
