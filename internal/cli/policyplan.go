// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"claviger/internal/admin"
	"claviger/internal/admin/asked"
	"claviger/internal/policy"
)

// planResult is what another policy set would change.
type planResult struct {
	Changes []policyChange `json:"changes"`
	Diff    []string       `json:"diff"`
}

func (r planResult) human(p *printer) {
	for _, line := range r.Diff {
		p.line("%s", line)
	}
	if len(r.Changes) == 0 {
		p.line("Nothing that clients did lately would be decided otherwise.")
		return
	}
	rows := make([][]string, len(r.Changes))
	for i, c := range r.Changes {
		rows[i] = []string{c.Client, c.Operation, c.Key, yesNo(c.Before), yesNo(c.After), c.Reason}
	}
	p.table([]string{"CLIENT", "OPERATION", "KEY", "NOW", "THEN", "WHY"}, rows)
}

func yesNo(b bool) string {
	if b {
		return "allowed"
	}
	return "refused"
}

func newPolicyPlanCommand(e *env) *cobra.Command {
	var a access
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "Say what another policy set would change",
		Long: "Replay what clients did lately, as the server's audit log tells it, against another\n" +
			"policy set, and show what would be decided otherwise.",
		Example: "  claviger policy plan policies.cedar",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := e.readPolicy(args[0])
			if err != nil {
				return err
			}
			s, err := e.connect(cmd.Context(), a)
			if err != nil {
				return err
			}
			defer s.Close()
			r := planResult{Diff: []string{}}
			if r.Changes, err = planned(cmd.Context(), s, source); err != nil {
				return err
			}
			if diff := policy.Diff(s.State().Policy.Source, source); diff != "" {
				r.Diff = strings.Split(strings.TrimSuffix(diff, "\n"), "\n")
			}
			return e.show(r)
		},
	}
	accessFlags(cmd.Flags(), &a)
	return cmd
}

// whoCanResult lists who may do something with a key.
type whoCanResult struct {
	Operation string      `json:"operation"`
	Key       string      `json:"key"`
	Clients   []whoCanRow `json:"clients"`
}

// whoCanRow is one client's answer.
type whoCanRow struct {
	Client     string   `json:"client"`
	Answer     string   `json:"answer"` // yes, no, depends
	Policies   []string `json:"policies"`
	Conditions []string `json:"conditions,omitempty"`
	Revoked    bool     `json:"revoked,omitempty"`
}

func (r whoCanResult) human(p *printer) {
	rows := [][]string{}
	for _, c := range r.Clients {
		if c.Answer == string(policy.No) {
			continue
		}
		note := strings.Join(c.Conditions, "; ")
		if c.Revoked {
			note = "revoked"
		}
		rows = append(rows, []string{c.Client, c.Answer, strings.Join(c.Policies, ", "), note})
	}
	if len(rows) == 0 {
		p.line("Nobody whom the log knows may %s with %s.", r.Operation, r.Key)
		return
	}
	p.table([]string{"CLIENT", "ANSWER", "POLICIES", "IF"}, rows)
}

func newPolicyWhoCanCommand(e *env) *cobra.Command {
	var a access
	cmd := &cobra.Command{
		Use:   "who-can OPERATION KEY|SECRET",
		Short: "List the clients that may use a key or a secret",
		Long: "Ask the policy set for every client that the log knows, and for the subjects of endpoints.\n" +
			"A client that never enrolled is not listed, nor is one whose name an outside CA gives.\n" +
			"ENDPOINT:* stands for a subject that no credential names and of whom nothing is proved:\n" +
			"what tokens and certificates will prove is not known here.",
		Example: "  claviger policy who-can decrypt payments/cards",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := e.connect(cmd.Context(), a)
			if err != nil {
				return err
			}
			defer s.Close()
			r, err := whoCan(s, args[0], args[1])
			if err != nil {
				return err
			}
			return e.show(r)
		},
	}
	accessFlags(cmd.Flags(), &a)
	return cmd
}

func whoCan(s *admin.Session, operation, name string) (whoCanResult, error) {
	st := s.State()
	resource, _, err := asked.About(st, operation, name)
	if err != nil {
		return whoCanResult{}, err
	}
	set, err := policy.Parse(st.Policy.Source)
	if err != nil {
		return whoCanResult{}, err
	}
	r := whoCanResult{Operation: operation, Key: name, Clients: []whoCanRow{}}
	for _, a := range set.WhoCan(operation, resource, admin.Candidates(st)) {
		if len(a.Errors) > 0 {
			return r, usagef("%s", fmt.Sprint(a.Errors))
		}
		r.Clients = append(r.Clients, whoCanRow{
			Client: admin.ClientName(st, a.Principal.ID), Answer: string(a.Verdict), Policies: append([]string{}, a.Policies...),
			Conditions: a.Conditions, Revoked: st.ClientRevoked(a.Principal.ID),
		})
	}
	return r, nil
}
