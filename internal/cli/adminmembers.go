// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"claviger/internal/admin"
	"claviger/internal/admin/authkey"
	"claviger/internal/members"
)

// adminInviteResult is the line that pins another profile to this domain.
type adminInviteResult struct {
	Invite    string   `json:"invite"`
	Domain    string   `json:"domain"`
	Addresses []string `json:"addresses"`
}

func (r adminInviteResult) human(p *printer) { p.line("%s", r.Invite) }

func newAdminInviteCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "invite",
		Short: "Print the line that pins another admin's profile to this domain",
		Long: "Print the line that pins another admin's profile to this domain. It is no secret, but\n" +
			"who changes it on the way sends the other admin to another domain.",
		Example: "  claviger admin invite",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			p, err := e.adminProfile()
			if err != nil {
				return err
			}
			m, err := admin.OfflineMembers(p)
			if err != nil {
				return err
			}
			i := admin.Invite{Domain: p.Domain, Members: m.Newest, Demo: p.Demo, Addresses: p.Addresses}
			if err := e.show(adminInviteResult{i.Text(), p.Domain.String(), p.Addresses}); err != nil {
				return err
			}
			e.next("on the other machine: claviger admin keygen NAME --invite INVITE")
			return nil
		},
	}
}

func newAdminAddCommand(e *env) *cobra.Command {
	var c changeFlags
	var threshold uint64
	cmd := &cobra.Command{
		Use:   "add NAME=PUBKEY",
		Short: "Make somebody an admin",
		Long: "Make somebody an admin. The quorum signs, and so does the new key: write the change\n" +
			"to a file with claviger approve show ID -o FILE, let its owner sign that with\n" +
			"claviger approve sign FILE -o SIGNED, and bring it back with claviger approve submit.",
		Example: "  claviger admin add bob=clvpub1_… --threshold 2",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := authkey.ParseNamed(args[0])
			if err != nil {
				return usagef("%v", err)
			}
			return e.runChange(cmd.Context(), c, func(s *admin.Session) (string, any, error) {
				p, err := admin.AddAdmin(s.State(), key, threshold)
				return members.KindKeys, p, err
			})
		},
	}
	addChangeFlags(cmd.Flags(), &c)
	cmd.Flags().Uint64Var(&threshold, "threshold", 0, "how many admins make a quorum from then on (default: as before)")
	return cmd
}

func newAdminRemoveCommand(e *env) *cobra.Command {
	var c changeFlags
	var threshold uint64
	cmd := &cobra.Command{
		Use:     "remove NAME",
		Short:   "Take an admin's key out of the domain",
		Example: "  claviger admin remove bob",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.runChange(cmd.Context(), c, func(s *admin.Session) (string, any, error) {
				p, err := admin.RemoveAdmin(s.State(), args[0], threshold)
				return members.KindKeys, p, err
			})
		},
	}
	addChangeFlags(cmd.Flags(), &c)
	cmd.Flags().Uint64Var(&threshold, "threshold", 0, "how many admins make a quorum from then on (default: as before)")
	return cmd
}
