// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"claviger/internal/admin"
	"claviger/internal/authority"
	"claviger/internal/wire"
)

func newRevokeCommand(e *env) *cobra.Command {
	var c changeFlags
	var all, yes bool
	cmd := &cobra.Command{
		Use:   "revoke KEY|CLIENT|--all",
		Short: "Stop a key, a client, or everything, at once",
		Long: "Stop a key, a client, or everything, at once. One admin may. Clients learn of it with\n" +
			"the next statement of a server, and no later than the key's staleness bound. A name\n" +
			"that is a key's and a client's is taken for neither: say key disable or client revoke.",
		Example: "  claviger revoke payments/cards\n  claviger revoke app1 --reason 'laptop lost'\n  claviger revoke --all",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all && !c.dryRun {
				if err := e.confirm("Refusing every key of the domain to everybody", "revoke", yes); err != nil {
					return err
				}
			}
			return e.runSwitch(cmd, c, args, all, false)
		},
	}
	addChangeFlags(cmd.Flags(), &c)
	cmd.Flags().BoolVar(&all, "all", false, "everything")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask for a confirmation")
	return cmd
}

func newEnableCommand(e *env) *cobra.Command {
	var c changeFlags
	var all bool
	cmd := &cobra.Command{
		Use:     "enable KEY|CLIENT|--all",
		Short:   "Take back what revoke or disable did",
		Long:    "Take back what revoke or disable did. One admin may enable a key; a client, or\neverything, takes the quorum.",
		Example: "  claviger enable payments/cards\n  claviger enable app1",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.runSwitch(cmd, c, args, all, true)
		},
	}
	addChangeFlags(cmd.Flags(), &c)
	cmd.Flags().BoolVar(&all, "all", false, "everything, after revoke --all")
	return cmd
}

func (e *env) runSwitch(cmd *cobra.Command, c changeFlags, args []string, all, enable bool) error {
	if all == (len(args) == 1) {
		return usagef("name a key or a client, or say --all").withHint("%s --help", cmd.CommandPath())
	}
	return e.runChange(cmd.Context(), c, func(s *admin.Session) (string, any, error) {
		if all {
			kind := authority.KindRevokeAll
			if enable {
				kind = authority.KindEnableAll
			}
			if s.State().Revoked != enable {
				return kind, nil, fmt.Errorf("%w: everything is so already", admin.ErrNoChange)
			}
			return kind, authority.Subject{Reason: c.reason}, nil
		}
		return switchOf(s, args[0], c.reason, enable)
	})
}

// switchOf finds out what a name stands for.
func switchOf(s *admin.Session, name, reason string, enable bool) (string, any, error) {
	key := s.State().KeyNamed(name)
	id, err := admin.ClientID(s.State(), name)
	client := err == nil && s.State().Client(id) != nil
	switch {
	case key != nil && client:
		return "", nil, usagef("%s is a key and a client", name).withHint("say claviger key disable|enable, or claviger client revoke; a client can be given by its SPIFFE id")
	case key != nil:
		kind := authority.KindKeyDisable
		if enable {
			kind = authority.KindKeyEnable
		}
		return keySwitch(kind, key, reason)
	case client || wire.ValidID(name):
		return clientSwitch(s, name, reason, enable)
	}
	return "", nil, fmt.Errorf("%w: neither a key nor a client is named %s", admin.ErrNotFound, name)
}

// keySwitch disables a key or takes that back.
func keySwitch(kind string, k *authority.Key, reason string) (string, any, error) {
	if k.Disabled == (kind == authority.KindKeyDisable) {
		return kind, nil, fmt.Errorf("%w: key %s is so already", admin.ErrNoChange, k.Name)
	}
	return kind, authority.KeyRef{ID: k.ID, Reason: reason}, nil
}

// clientSwitch revokes a client or takes that back.
func clientSwitch(s *admin.Session, name, reason string, enable bool) (string, any, error) {
	id, err := admin.ClientID(s.State(), name)
	if err != nil {
		return "", nil, usagef("%v", err)
	}
	kind := authority.KindClientRevoke
	if enable {
		kind = authority.KindClientEnable
	}
	if s.State().ClientRevoked(id) != enable {
		return kind, nil, fmt.Errorf("%w: %s is so already", admin.ErrNoChange, admin.ClientName(s.State(), id))
	}
	return kind, authority.Subject{Client: id, Reason: reason}, nil
}
