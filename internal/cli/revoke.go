// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"claviger/internal/admin"
	"claviger/internal/authority"
	"claviger/internal/cli/endpointcmd"
	"claviger/internal/cli/endpointcmd/endpoint"
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
		Use:   "revoke KEY|CLIENT|ENDPOINT|ENDPOINT:SUBJECT|--all",
		Short: "Stop a key, a client, an endpoint, or everything, at once",
		Long: "Stop a key, a client, an endpoint, one of its subjects, or everything, at once. One\n" +
			"admin may. Clients learn of it with the next statement of a server, and no later than\n" +
			"the key's staleness bound; an endpoint answers nothing from its next request on. A\n" +
			"name of more than one thing is taken for none: say key disable, client revoke or\n" +
			"endpoint disable.\n\n" +
			"With --measure it waits until nobody can use any more what was revoked, and says how\n" +
			"long that took: docs/revocation.md says what is measured, by whom, and what can't be.\n" +
			"What is revoked already is measured too. The exit status is 1 if some may still use it\n" +
			"when the time is up.\n\n" +
			"With --drill it does so to a key that is tagged canary, and enables it again.",
		Example: "  claviger revoke payments/cards --measure\n  claviger revoke app1 --reason 'laptop lost'\n" +
			"  claviger revoke aws\n  claviger revoke aws:arn:aws:iam::111122223333:user/ann\n" +
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
		return usagef("name a key, a client or an endpoint, or say --all").withHint("%s --help", cmd.CommandPath())
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
		Use:   "enable KEY|CLIENT|ENDPOINT|ENDPOINT:SUBJECT|--all",
		Short: "Take back what revoke or disable did",
		Long: "Take back what revoke or disable did. One admin may enable a key, and an endpoint that\n" +
			"was only disabled; what was revoked of anything else takes the quorum.",
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
	of      string // as authority.State.Revoking names it; "" if nobody holds anything of it
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
	door, _ := endpointcmd.Named(s.State(), name)
	switch {
	case key != nil && client, door != nil && (client || key != nil):
		return switching{}, usagef("%s is the name of more than one thing", name).
			withHint("say claviger key disable|enable, claviger client revoke, or claviger endpoint disable|enable; a client can be given by its SPIFFE id")
	case door != nil:
		kind, payload, err := endpointcmd.Switch(door, reason, enable, true)
		return switching{kind, payload, ""}, err
	case wire.ValidSubject(name):
		kind, payload, err := subjectSwitch(s.State(), name, reason, enable)
		return switching{kind, payload, ""}, err
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
	return switching{}, fmt.Errorf("%w: no key, client or endpoint is named %s", admin.ErrNotFound, name)
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

// subjectSwitch revokes whom an endpoint's credential names, or takes that back.
func subjectSwitch(s *authority.State, id, reason string, enable bool) (string, any, error) {
	kind := authority.KindClientRevoke
	if enable {
		kind = authority.KindClientEnable
	}
	name, subject, _ := strings.Cut(id, ":")
	e := s.Endpoint(name)
	if e == nil {
		return kind, nil, fmt.Errorf("%w: there is no endpoint named %s", admin.ErrNotFound, name)
	}
	// Security: what reads as revoked has to be (T-92).
	if why := endpoint.Unmet(e.Kind, subject); why != "" && !enable {
		return kind, nil, usagef("%s would stop nobody: %s", id, why)
	}
	if s.ClientRevoked(id) != enable {
		return kind, nil, fmt.Errorf("%w: %s is so already", admin.ErrNoChange, id)
	}
	return kind, authority.Subject{Client: id, Reason: reason}, nil
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
