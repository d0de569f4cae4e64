// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"claviger/internal/admin"
	"claviger/internal/clock"
	"claviger/internal/policy"
)

// readStream reads a stream of at most limit bytes.
func readStream(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	if int64(len(data)) > limit {
		return nil, usagef("standard input is larger than %d bytes", limit)
	}
	return data, nil
}

// policyShowResult is the policy set in force.
type policyShowResult struct {
	Hash     string              `json:"hash"`
	Source   string              `json:"source"`
	Policies []policy.PolicyInfo `json:"policies"`
}

func (r policyShowResult) human(p *printer) { p.line("%s", strings.TrimSuffix(r.Source, "\n")) }

func newPolicyShowCommand(e *env) *cobra.Command {
	var a access
	cmd := &cobra.Command{
		Use:     "show",
		Short:   "Print the policy set in force",
		Example: "  claviger policy show > policies.cedar",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := e.connect(cmd.Context(), a)
			if err != nil {
				return err
			}
			defer s.Close()
			set, err := policy.Parse(s.State().Policy.Source)
			if err != nil {
				return err
			}
			r := policyShowResult{Hash: s.State().Policy.Hash.String(), Source: string(set.Source()), Policies: set.Policies()}
			return e.show(r)
		},
	}
	accessFlags(cmd.Flags(), &a)
	return cmd
}

// explainResult says why a request would be decided as it would.
type explainResult struct {
	Client    string    `json:"client"`
	Operation string    `json:"operation"`
	Key       string    `json:"key"`
	Allowed   bool      `json:"allowed"`
	Reason    string    `json:"reason"`
	Policies  []string  `json:"policies"`
	Near      []nearRow `json:"near"`
	Errors    []string  `json:"errors,omitempty"`
	Notes     []string  `json:"notes,omitempty"` // what speaks against it beside policy
}

// nearRow is a permit that came near.
type nearRow struct {
	Policy string `json:"policy"`
	Part   string `json:"part"`
	Wanted string `json:"wanted"`
	Found  string `json:"found"`
}

func (r explainResult) human(p *printer) {
	verb := "may not"
	if r.Allowed {
		verb = "may"
	}
	p.line("%s %s %s with %s (%s)", r.Client, verb, r.Operation, r.Key, r.Reason)
	for _, n := range r.Near {
		p.line("  near: %s, but its %s asks for %s; there is %s", n.Policy, n.Part, n.Wanted, n.Found)
	}
	for _, text := range slices.Concat(r.Errors, r.Notes) {
		p.line("  %s", text)
	}
}

func newPolicyExplainCommand(e *env) *cobra.Command {
	var a access
	var partition, reason string
	cmd := &cobra.Command{
		Use:     "explain CLIENT OPERATION KEY",
		Short:   "Say why a client may or may not use a key",
		Example: "  claviger policy explain app1 decrypt payments/cards",
		Args:    cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := e.connect(cmd.Context(), a)
			if err != nil {
				return err
			}
			defer s.Close()
			r, err := explain(s, args, policy.Context{Time: clock.System().Now(), Partition: partition, Reason: reason, Route: "native"})
			if err != nil {
				return err
			}
			return e.show(r)
		},
	}
	accessFlags(cmd.Flags(), &a)
	cmd.Flags().StringVar(&partition, "partition", "", "partition that is asked for")
	cmd.Flags().StringVar(&reason, "stated", "", "reason that the client would state")
	return cmd
}

func explain(s *admin.Session, args []string, ctx policy.Context) (explainResult, error) {
	st := s.State()
	id, err := admin.ClientID(st, args[0])
	if err != nil {
		return explainResult{}, usagef("%v", err)
	}
	if !slices.Contains(policy.Actions(), args[1]) {
		return explainResult{}, usagef("%q is no operation: one of %s", args[1], strings.Join(policy.Actions(), ", "))
	}
	key, err := admin.KeyNamed(st, args[2])
	if err != nil {
		return explainResult{}, err
	}
	set, err := policy.Parse(st.Policy.Source)
	if err != nil {
		return explainResult{}, err
	}
	req := admin.UseRequest(st, id, args[1], key)
	req.Context = ctx
	x := set.Explain(req)
	r := explainResult{
		Client: admin.ClientName(st, id), Operation: args[1], Key: key.Name, Allowed: x.Decision.Allowed, Reason: x.Decision.Reason,
		Policies: append([]string{}, x.Decision.Policies...), Near: []nearRow{}, Errors: x.Decision.Errors,
	}
	for _, n := range x.Near {
		r.Near = append(r.Near, nearRow{n.Policy.ID, n.Part, n.Wanted, n.Found})
	}
	for note, holds := range map[string]bool{
		"the key is disabled": key.Disabled, "the client is revoked": st.ClientRevoked(id), "everything is revoked": st.Revoked,
	} {
		if holds {
			r.Notes = append(r.Notes, note+", so it is refused whatever policy says")
		}
	}
	slices.Sort(r.Notes)
	return r, nil
}
