// SPDX-License-Identifier: Apache-2.0

package endpointcmd

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"claviger/internal/admin"
	"claviger/internal/authority"
	"claviger/internal/cli/endpointcmd/endpoint"
	"claviger/internal/gateway"
)

// Named finds an endpoint that is not removed.
func Named(s *authority.State, name string) (*authority.EndpointState, error) {
	if e := s.Endpoint(name); e != nil && !e.Removed {
		return e, nil
	}
	return nil, fmt.Errorf("%w: there is no endpoint named %s", admin.ErrNotFound, name)
}

func (h Host) kind(name string) (*gateway.Kind, error) {
	if k, ok := h.Kinds.Named(name); ok {
		return k, nil
	}
	return nil, h.Usage("kinds: "+h.kinds(), "there is no kind %q", name)
}

func (h Host) kinds() string {
	var out []string
	for _, k := range h.Kinds {
		out = append(out, k.Name)
	}
	return strings.Join(out, ", ")
}

type listResult struct {
	Endpoints []endpoint.Row `json:"endpoints"`
}

func (r listResult) Print(p Printer) {
	rows := make([][]string, len(r.Endpoints))
	for i, v := range r.Endpoints {
		rows[i] = []string{v.Name, v.Kind, v.State, v.Host, strconv.Itoa(len(v.Credentials)), strconv.Itoa(len(v.Issuers)), v.Set}
	}
	p.Table([]string{"NAME", "KIND", "STATE", "HOST", "CREDENTIALS", "ISSUERS", "SET BY"}, rows)
}

func (h Host) list() *cobra.Command {
	var connect Connect
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the endpoints, those that were removed too",
		Example: "  claviger endpoint list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.Close()
			r := listResult{Endpoints: []endpoint.Row{}}
			for v := range s.State().Endpoints() {
				r.Endpoints = append(r.Endpoints, endpoint.In(s.State(), v))
			}
			return h.Show(r)
		},
	}
	connect = h.Access(cmd.Flags())
	return cmd
}

type showResult struct{ endpoint.Row }

func (r showResult) Print(p Printer) { p.Pairs(r.Detail()...) }

func (h Host) show() *cobra.Command {
	var connect Connect
	cmd := &cobra.Command{
		Use:     "show NAME",
		Short:   "Show an endpoint",
		Example: "  claviger endpoint show aws",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.Close()
			v := s.State().Endpoint(args[0])
			if v == nil {
				return fmt.Errorf("%w: there is no endpoint named %s", admin.ErrNotFound, args[0])
			}
			return h.Show(showResult{endpoint.In(s.State(), v)})
		},
	}
	connect = h.Access(cmd.Flags())
	return cmd
}

func (h Host) toggle(enable bool) *cobra.Command {
	var c Change
	use, short := "disable NAME", "Let an endpoint answer nothing until it is enabled again"
	long := short + ". One admin may, and one may\nenable it; after claviger revoke NAME that takes the quorum."
	if enable {
		use, short = "enable NAME", "Let a disabled endpoint answer again"
		long = short + ". After claviger revoke NAME it takes the\nquorum."
	}
	cmd := &cobra.Command{
		Use:     use,
		Short:   short,
		Long:    long,
		Example: "  claviger endpoint " + use[:len(use)-4] + "aws",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.Run(cmd.Context(), func(s *admin.Session) (string, any, error) {
				v, err := Named(s.State(), args[0])
				if err != nil {
					return "", nil, err
				}
				return Switch(v, c.Reason(), enable, false)
			})
		},
	}
	c = h.Change(cmd.Flags())
	return cmd
}

// Switch switches an endpoint off, or on again. A revocation sharpens
// what was only disabled.
func Switch(v *authority.EndpointState, reason string, enable, revoke bool) (string, any, error) {
	if enable {
		if !v.Disabled {
			return authority.KindEndpointEnable, nil, fmt.Errorf("%w: endpoint %s is so already", admin.ErrNoChange, v.Name)
		}
		return authority.KindEndpointEnable, authority.EndpointRef{Name: v.Name, Reason: reason}, nil
	}
	if v.Revoked || v.Disabled && !revoke {
		return authority.KindEndpointDisable, nil, fmt.Errorf("%w: endpoint %s is so already", admin.ErrNoChange, v.Name)
	}
	return authority.KindEndpointDisable, authority.EndpointDisable{Name: v.Name, Revoke: revoke, Reason: reason}, nil
}

func (h Host) remove() *cobra.Command {
	var c Change
	var yes bool
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "Take an endpoint away",
		Long: "Take an endpoint away: it answers nothing from now on, and its credentials are dropped.\n" +
			"Its name stays taken, for policies may still name it: bringing it back takes the quorum.",
		Example: "  claviger endpoint remove aws",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !c.DryRun() {
				if err := h.Confirm(cmd.Context(), "Removing endpoint "+args[0]+" (what uses it fails at once)", args[0], yes); err != nil {
					return err
				}
			}
			return c.Run(cmd.Context(), func(s *admin.Session) (string, any, error) {
				v, err := Named(s.State(), args[0])
				if err != nil {
					return "", nil, err
				}
				return authority.KindEndpointRemove, authority.EndpointRef{Name: v.Name, Reason: c.Reason()}, nil
			})
		},
	}
	c = h.Change(cmd.Flags())
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask for a confirmation")
	return cmd
}

// bring has the server keep what new credentials are made of, before a record
// names it.
func bring(ctx context.Context, s *admin.Session, made []gateway.Secret) error {
	for _, m := range made {
		if _, err := s.PutMaterial(ctx, m.Material); err != nil {
			return fmt.Errorf("bring the credential: %w", err)
		}
	}
	return nil
}
