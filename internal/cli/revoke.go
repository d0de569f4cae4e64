// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"claviger/internal/admin"
	"claviger/internal/authority"
	"claviger/internal/wire"
)

// revokeFlags are those of revoke alone.
type revokeFlags struct {
	changeFlags
	all, yes, measure, drill bool
	timeout                  time.Duration
}

func newRevokeCommand(e *env) *cobra.Command {
	var f revokeFlags
	cmd := &cobra.Command{
		Use:   "revoke KEY|CLIENT|--all",
		Short: "Stop a key, a client, or everything, at once",
		Long: "Stop a key, a client, or everything, at once. One admin may. Clients learn of it with\n" +
			"the next statement of a server, and no later than the key's staleness bound. A name\n" +
			"that is a key's and a client's is taken for neither: say key disable or client revoke.\n\n" +
			"With --measure it waits until nobody can use any more what was revoked, and says how\n" +
			"long that took: docs/revocation.md says what is measured, by whom, and what can't be.\n" +
			"What is revoked already is measured too. The exit status is 1 if some may still use it\n" +
			"when the time is up.\n\n" +
			"With --drill it does so to a key that is tagged canary, and enables it again.",
		Example: "  claviger revoke payments/cards --measure\n  claviger revoke app1 --reason 'laptop lost'\n" +
			"  claviger revoke --all\n  claviger revoke --drill canary/front",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd, args); err != nil {
				return err
			}
			if f.all && !f.dryRun {
				if err := e.confirm(cmd.Context(), "Refusing every key of the domain to everybody", "revoke", f.yes); err != nil {
					return err
				}
			}
			if f.drill {
				return e.runDrill(cmd.Context(), f, args[0])
			}
			return e.runRevoke(cmd.Context(), f, args)
		},
	}
	addChangeFlags(cmd.Flags(), &f.changeFlags)
	cmd.Flags().BoolVar(&f.all, "all", false, "everything")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask for a confirmation")
	cmd.Flags().BoolVar(&f.measure, "measure", false, "wait until it has reached everybody")
	cmd.Flags().BoolVar(&f.drill, "drill", false, "revoke a canary key, measure, and enable it again")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 20*time.Minute, "how long to wait")
	return cmd
}

func (f revokeFlags) check(cmd *cobra.Command, args []string) error {
	switch {
	case f.all == (len(args) == 1):
		return usagef("name a key or a client, or say --all").withHint("%s --help", cmd.CommandPath())
	case f.drill && (f.all || f.dryRun):
		return usagef("a drill takes one key, and does what it says")
	case f.timeout < time.Second:
		return usagef("--timeout takes a second or more")
	}
	return nil
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
			if all == (len(args) == 1) {
				return usagef("name a key or a client, or say --all").withHint("%s --help", cmd.CommandPath())
			}
			return e.runChange(cmd.Context(), c, func(s *admin.Session) (string, any, error) {
				w, err := switchOf(s, args, c.reason, true)
				return w.kind, w.payload, err
			})
		},
	}
	addChangeFlags(cmd.Flags(), &c)
	cmd.Flags().BoolVar(&all, "all", false, "everything, after revoke --all")
	return cmd
}

// switching is what turns something off or on.
type switching struct {
	kind    string
	payload any
	of      string // as authority.State.Revoking names it
}

// switchOf finds out what a name stands for; none stands for everything. With
// admin.ErrNoChange it is so already.
func switchOf(s *admin.Session, args []string, reason string, enable bool) (switching, error) {
	if len(args) == 0 {
		return everythingSwitch(s, reason, enable)
	}
	name := args[0]
	key := s.State().KeyNamed(name)
	id, err := admin.ClientID(s.State(), name)
	client := err == nil && s.State().Client(id) != nil
	switch {
	case key != nil && client:
		return switching{}, usagef("%s is a key and a client", name).withHint("say claviger key disable|enable, or claviger client revoke; a client can be given by its SPIFFE id")
	case key != nil:
		kind := authority.KindKeyDisable
		if enable {
			kind = authority.KindKeyEnable
		}
		kind, payload, err := keySwitch(kind, key, reason)
		return switching{kind, payload, "key:" + key.ID.String()}, err
	case client || wire.ValidID(name):
		kind, payload, err := clientSwitch(s, name, reason, enable)
		return switching{kind, payload, "client:" + id}, err
	}
	return switching{}, fmt.Errorf("%w: neither a key nor a client is named %s", admin.ErrNotFound, name)
}

func everythingSwitch(s *admin.Session, reason string, enable bool) (switching, error) {
	w := switching{authority.KindRevokeAll, authority.Subject{Reason: reason}, "domain"}
	if enable {
		w.kind = authority.KindEnableAll
	}
	if s.State().Revoked != enable {
		return w, fmt.Errorf("%w: everything is so already", admin.ErrNoChange)
	}
	return w, nil
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
