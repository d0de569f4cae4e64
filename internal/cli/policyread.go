// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"claviger/internal/admin"
	"claviger/internal/admin/asked"
	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/policy"
	"claviger/internal/wire"
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
	var partition, reason, route string
	var proved, asked []string
	cmd := &cobra.Command{
		Use:   "explain CLIENT OPERATION KEY|SECRET",
		Short: "Say why a client may or may not use a key or a secret",
		Long: "Say why a client, or ENDPOINT:NAME, may or may not use a key or a secret. Of a subject of an endpoint,\n" +
			"name what its credential would prove and what the door would say of the request: the\n" +
			"attributes of Subject and of context in docs/policy.md.",
		Example: "  claviger policy explain app1 decrypt payments/cards\n" +
			"  claviger policy explain xks-prod:arn:aws:iam::123456789012:user/Alice decrypt storage/buckets --proved account=123456789012\n" +
			"  claviger policy explain vault:token:ci secret:read secrets/app/billing/db --route vault",
		Args: cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := e.connect(cmd.Context(), a)
			if err != nil {
				return err
			}
			defer s.Close()
			q := explainQuestion{args[0], args[1], args[2], proved, policy.Context{Time: clock.System().Now(), Partition: partition, Reason: reason, Route: route}}
			if q.context.Asked, err = pairs(asked); err != nil {
				return err
			}
			r, err := explain(s, q)
			if err != nil {
				return err
			}
			return e.show(r)
		},
	}
	accessFlags(cmd.Flags(), &a)
	cmd.Flags().StringVar(&partition, "partition", "", "partition that is asked for")
	cmd.Flags().StringVar(&reason, "stated", "", "reason that the client would state")
	cmd.Flags().StringVar(&route, "route", "native", "how the request would come: native, standing, xks, …")
	cmd.Flags().StringArrayVar(&proved, "proved", nil, "`NAME=VALUE` that a subject's credential would prove (repeatable)")
	cmd.Flags().StringArrayVar(&asked, "asked", nil, "`NAME=VALUE` that a door would say of the request (repeatable)")
	return cmd
}

// pairs reads NAME=VALUE, each name once.
func pairs(list []string) (map[string]string, error) {
	var out map[string]string
	for _, text := range list {
		name, value, ok := strings.Cut(text, "=")
		if _, twice := out[name]; !ok || twice || name == "" || value == "" {
			return nil, usagef("%q is not NAME=VALUE, or a name is there twice", text)
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = value
	}
	return out, nil
}

// explainQuestion is what is asked.
type explainQuestion struct {
	who, operation, key string
	proved              []string
	context             policy.Context
}

// principal is who asks, with what would be proved. groups is a set and may come
// several times.
func (q explainQuestion) principal(st *authority.State, id string) (policy.Principal, error) {
	var texts, groups []string
	for _, text := range q.proved {
		if group, ok := strings.CutPrefix(text, authn.GroupsAttribute+"="); ok {
			groups = append(groups, group)
		} else {
			texts = append(texts, text)
		}
	}
	proved, err := pairs(texts)
	if err != nil {
		return policy.Principal{}, err
	}
	claims := make(map[string]any, len(proved)+1)
	for name, value := range proved {
		claims[name] = value
	}
	if len(groups) > 0 {
		claims[authn.GroupsAttribute] = groups
	}
	return admin.PrincipalOf(st, id, nil).Prove(claims), nil
}

func explain(s *admin.Session, q explainQuestion) (explainResult, error) {
	st := s.State()
	id, err := admin.CallerID(st, q.who)
	if err != nil {
		return explainResult{}, usagef("%v", err)
	}
	if !slices.Contains(policy.Actions(), q.operation) {
		return explainResult{}, usagef("%q is no operation: one of %s", q.operation, strings.Join(policy.Actions(), ", "))
	}
	resource, key, err := asked.About(st, q.operation, q.key)
	if err != nil {
		return explainResult{}, err
	}
	set, err := policy.Parse(st.Policy.Source)
	if err != nil {
		return explainResult{}, err
	}
	who, err := q.principal(st, id)
	if err != nil {
		return explainResult{}, err
	}
	x := set.Explain(policy.Request{Principal: who, Action: q.operation, Resource: resource, Context: q.context})
	r := explainResult{
		Client: admin.ClientName(st, id), Operation: q.operation, Key: resource.Name, Allowed: x.Decision.Allowed, Reason: x.Decision.Reason,
		Policies: append([]string{}, x.Decision.Policies...), Near: []nearRow{}, Errors: x.Decision.Errors,
	}
	for _, n := range x.Near {
		r.Near = append(r.Near, nearRow{n.Policy.ID, n.Part, n.Wanted, n.Found})
	}
	for note, holds := range map[string]bool{
		"the key is disabled": key.Disabled, "the client is revoked": st.ClientRevoked(id), "everything is revoked": st.Revoked,
		"the endpoint may not touch this key": !reaches(st, id, key.Name), "the endpoint is switched off": off(st, id),
	} {
		if holds {
			r.Notes = append(r.Notes, note+", so it is refused whatever policy says")
		}
	}
	slices.Sort(r.Notes)
	return r, nil
}

// endpointOf is the endpoint of a subject, nil of a workload.
func endpointOf(st *authority.State, id string) *authority.EndpointState {
	name, _, _ := strings.Cut(id, ":")
	if !wire.ValidSubject(id) {
		return nil
	}
	return st.Endpoint(name)
}

// reaches reports whether a caller's endpoint, if it has one, may touch a key.
func reaches(st *authority.State, id, key string) bool {
	e := endpointOf(st, id)
	return e == nil || e.Reaches(key)
}

// off reports whether a caller's endpoint answers nothing now.
func off(st *authority.State, id string) bool {
	e := endpointOf(st, id)
	return e != nil && !e.Serves()
}
