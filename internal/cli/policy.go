// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"claviger/internal/admin"
	"claviger/internal/admin/asked"
	"claviger/internal/authority"
	"claviger/internal/policy"
)

// maxPolicyFile bounds a policy source that is read.
const maxPolicyFile = 600 << 10

// planWindow is how many of the newest leaves of the audit log a change is held
// against.
const planWindow = 20000

func newPolicyCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Who may do what with which key",
		Long: "The policy set is a text in Cedar that the quorum signs. What no permit allows is\n" +
			"refused; what a forbid matches is refused, whatever else permits it.",
	}
	cmd.AddCommand(newPolicyAllowCommand(e), newPolicySetCommand(e), newPolicyShowCommand(e), newPolicyExplainCommand(e),
		newPolicyPlanCommand(e), newPolicyWhoCanCommand(e))
	return cmd
}

func newPolicyAllowCommand(e *env) *cobra.Command {
	var c changeFlags
	var only []string
	cmd := &cobra.Command{
		Use:   "allow CLIENT KEY",
		Short: "Let a client use a key",
		Example: "  claviger policy allow app1 payments/cards\n" +
			"  claviger policy allow app1 payments/cards --only encrypt",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("only") {
				only = nil
			}
			return e.runChange(cmd.Context(), c, func(s *admin.Session) (string, any, error) {
				p, id, err := admin.Allow(s.State(), args[0], args[1], only, c.reason)
				if err == nil && s.State().KeyNamed(args[1]) == nil {
					e.warn("there is no key named %s yet: the policy %s waits for it", args[1], id)
				}
				return authority.KindPolicy, p, err
			})
		},
	}
	addChangeFlags(cmd.Flags(), &c)
	cmd.Flags().StringSliceVar(&only, "only", nil, "what it may do: encrypt, decrypt, sign, verify, wrap, unwrap, mac (default: all of it)")
	return cmd
}

func newPolicySetCommand(e *env) *cobra.Command {
	var c changeFlags
	var override bool
	cmd := &cobra.Command{
		Use:   "set FILE",
		Short: "Replace the policy set",
		Long: "Replace the policy set by a file (- is standard input). A set that would refuse what\n" +
			"clients did lately is not proposed unless you say --override and a --reason.",
		Example: "  claviger policy plan policies.cedar\n  claviger policy set policies.cedar --reason 'see ticket 12'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := e.readPolicy(args[0])
			if err != nil {
				return err
			}
			return e.runChange(cmd.Context(), c, func(s *admin.Session) (string, any, error) {
				p, err := admin.SetPolicy(s.State(), source, c.reason)
				if err == nil {
					err = e.checkLockOut(cmd.Context(), s, source, override && c.reason != "")
				}
				return authority.KindPolicy, p, err
			})
		},
	}
	addChangeFlags(cmd.Flags(), &c)
	cmd.Flags().BoolVar(&override, "override", false, "propose it although it refuses what clients did lately; needs --reason")
	return cmd
}

// readPolicy reads a policy source from a file or from standard input.
func (e *env) readPolicy(path string) ([]byte, error) {
	if path == "-" {
		return readStream(e.In, maxPolicyFile)
	}
	return readBoundedFile(path, maxPolicyFile)
}

// checkLockOut refuses a set that takes away what clients used lately.
func (e *env) checkLockOut(ctx context.Context, s *admin.Session, source []byte, override bool) error {
	changes, err := planned(ctx, s, source)
	if err != nil {
		return err
	}
	var lost []policyChange
	for _, c := range changes {
		if c.Before && !c.After {
			lost = append(lost, c)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	for _, c := range lost[:min(len(lost), 5)] {
		e.warn("%s could %s with %s and no longer will (%s)", c.Client, c.Operation, c.Key, c.Reason)
	}
	if override {
		return nil
	}
	return (&Failure{Code: ExitDenied, Message: fmt.Sprintf("this set refuses %d things that clients did lately", len(lost))}).
		withHint("claviger policy plan FILE lists them; --override with a --reason proposes it all the same")
}

// policyChange is a recorded request that two sets answer differently.
type policyChange struct {
	Client    string `json:"client"`
	Operation string `json:"operation"`
	Key       string `json:"key"`
	Before    bool   `json:"before"`
	After     bool   `json:"after"`
	Reason    string `json:"reason"` // of the answer that the new set gives
}

// planned replays the newest decisions against another set.
func planned(ctx context.Context, s *admin.Session, source []byte) ([]policyChange, error) {
	old, err := policy.Parse(s.State().Policy.Source)
	if err != nil {
		return nil, fmt.Errorf("the policy set in force: %w", err)
	}
	next, err := policy.Parse(source)
	if err != nil {
		return nil, usagef("policy: %v", err)
	}
	leaves, err := s.Recent(ctx, planWindow)
	if err != nil {
		return nil, err
	}
	out := []policyChange{}
	for _, c := range policy.Replay(old, next, asked.Decisions(s.State(), leaves)) {
		out = append(out, policyChange{
			Client: admin.ClientName(s.State(), c.Request.Principal.ID), Operation: c.Request.Action, Key: c.Request.Resource.Name,
			Before: c.Before.Allowed, After: c.After.Allowed, Reason: c.After.Reason,
		})
	}
	return out, nil
}
