// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"claviger/internal/admin"
	"claviger/internal/authority"
	"claviger/internal/wire"
)

// clientInviteResult is an invite, or where it was written.
type clientInviteResult struct {
	changeResult
	Client  string `json:"client"`
	ID      string `json:"spiffe_id"`
	Invite  string `json:"invite,omitempty"` // the line itself, unless it went to a file
	File    string `json:"file,omitempty"`
	Expires string `json:"expires"`
}

func (r clientInviteResult) human(p *printer) {
	if r.DryRun {
		r.changeResult.human(p)
		return
	}
	if r.File != "" {
		p.line("Invited %s until %s: %s", r.Client, r.Expires, r.File)
		return
	}
	p.line("%s", r.Invite)
}

func newClientInviteCommand(e *env) *cobra.Command {
	var c changeFlags
	var ttl time.Duration
	var out string
	cmd := &cobra.Command{
		Use:   "invite NAME",
		Short: "Invite a workload: it gets a certificate for this name, once",
		Long: "Make an invite, one line of text that lets whoever has it enroll under this name,\n" +
			"once. Treat it as a secret until it is used.",
		Example: "  claviger client invite app1 -o app1.invite\n  claviger client invite app1 | ssh host claviger client enroll -",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := e.connect(cmd.Context(), c.access)
			if err != nil {
				return err
			}
			defer s.Close()
			id, err := admin.ClientID(s.State(), args[0])
			if err != nil {
				return usagef("%v", err)
			}
			invite, payload, err := s.Invite(id, ttl)
			if err != nil {
				return usagef("%v", err)
			}
			relays, token, err := s.Reach(cmd.Context())
			if err != nil {
				return err
			}
			if err := addReach(&invite, relays, token); err != nil {
				return err
			}
			r := clientInviteResult{
				Client: admin.ClientName(s.State(), id), ID: id, Invite: invite.Text(), File: out, Expires: millis(invite.Expires),
			}
			r.Applied = true // under an outside CA nothing has to be signed
			if payload != nil {
				if r.changeResult, err = e.change(cmd.Context(), s, c.dryRun, authority.KindInvite, *payload); err != nil {
					return err
				}
			}
			return e.giveInvite(r)
		},
	}
	addChangeFlags(cmd.Flags(), &c)
	cmd.Flags().DurationVar(&ttl, "ttl", time.Hour, "how long the invite can be used, at most an hour")
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write the invite to (default: standard output)")
	return cmd
}

// giveInvite writes the invite where it was asked for. One that still waits for
// signatures is given too: it works once they are there.
func (e *env) giveInvite(r clientInviteResult) error {
	if r.DryRun {
		r.Invite = ""
	}
	if r.File != "" && !r.DryRun {
		if err := e.writeText(r.File, r.Invite); err != nil {
			return err
		}
		r.Invite = ""
	}
	if err := e.show(r); err != nil {
		return err
	}
	if r.File != "" {
		e.next("claviger client enroll %s", word(r.File))
	}
	return r.failure()
}

// clientRow is a client as the log knows it.
type clientRow struct {
	Client   string `json:"client"`
	ID       string `json:"spiffe_id"`
	State    string `json:"state"` // enrolled, expired, revoked
	Enrolled string `json:"enrolled,omitempty"`
	NotAfter string `json:"not_after,omitempty"`
}

type clientListResult struct {
	Clients []clientRow `json:"clients"`
}

func (r clientListResult) human(p *printer) {
	rows := make([][]string, len(r.Clients))
	for i, c := range r.Clients {
		rows[i] = []string{c.Client, c.State, c.Enrolled, c.NotAfter}
	}
	p.table([]string{"CLIENT", "STATE", "CERTIFICATE OF", "UNTIL"}, rows)
}

func newClientListCommand(e *env) *cobra.Command {
	var a access
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the clients that have enrolled or are revoked",
		Example: "  claviger client list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := e.connect(cmd.Context(), a)
			if err != nil {
				return err
			}
			defer s.Close()
			r := clientListResult{Clients: []clientRow{}}
			for c := range s.State().Clients() {
				if !wire.ValidID(c.ID) {
					continue // a subject of an endpoint, which endpoint show lists
				}
				row := clientRow{Client: admin.ClientName(s.State(), c.ID), ID: c.ID, State: "enrolled"}
				if c.Enrolled != 0 {
					row.Enrolled, row.NotAfter = millis(c.Enrolled), millis(c.NotAfter)
				}
				switch {
				case c.Revoked:
					row.State = "revoked"
				case c.NotAfter < s.State().Time:
					row.State = "expired"
				}
				r.Clients = append(r.Clients, row)
			}
			return e.show(r)
		},
	}
	accessFlags(cmd.Flags(), &a)
	return cmd
}

func newClientRevokeCommand(e *env) *cobra.Command {
	var c changeFlags
	cmd := &cobra.Command{
		Use:   "revoke NAME",
		Short: "Refuse a client from now on, and recall what it holds",
		Long: "Refuse a client from now on. What was handed out to it stops working within the\n" +
			"staleness bound of each key; what it decrypted or copied stays with it.",
		Example: "  claviger client revoke app1 --reason 'laptop lost'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.runChange(cmd.Context(), c, func(s *admin.Session) (string, any, error) {
				return clientSwitch(s, strings.TrimSpace(args[0]), c.reason, false)
			})
		},
	}
	addChangeFlags(cmd.Flags(), &c)
	return cmd
}
