// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"claviger/internal/admin"
	"claviger/internal/admin/authkey"
	"claviger/internal/authority"
	"claviger/internal/members"
	"claviger/internal/root"
	"claviger/internal/wire"
)

func newAdminCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "admin",
		Short: "Authority keys: your own, and who else has one",
		Long: "An admin signs changes of the domain with an authority key, which is made and kept\n" +
			"in a profile on the admin's own machine. The server never has it.",
	}
	cmd.AddCommand(newAdminKeygenCommand(e), newAdminShowCommand(e), newAdminInviteCommand(e), newAdminJoinCommand(e),
		newAdminConfirmCommand(e), newAdminAddCommand(e), newAdminRemoveCommand(e), newAdminRecoveryCommand(e),
		newAdminRecoverCommand(e))
	return cmd
}

// adminRow is an admin as `admin keygen` and `admin show` tell it.
type adminRow struct {
	Name    string `json:"name"`
	Key     string `json:"key"` // NAME=PUBKEY, for --admin and admin add
	Profile string `json:"profile"`
	Domain  string `json:"domain,omitempty"`
}

func (r adminRow) human(p *printer) { p.line("%s", r.Key) }

func rowOf(p *admin.Profile) adminRow {
	r := adminRow{Name: p.Name, Key: authkey.FormatNamed(p.Member()), Profile: p.Dir()}
	if p.Joined() {
		r.Domain = p.Domain.String()
	}
	return r
}

func newAdminKeygenCommand(e *env) *cobra.Command {
	var pass secretSource
	var keyFile, invite string
	cmd := &cobra.Command{
		Use:   "keygen NAME",
		Short: "Make an authority key in a new profile",
		Long: "Make an authority key in a new profile and print its public half as NAME=PUBKEY, for\n" +
			"claviger init --admin or claviger admin add. With --key-file the key opens without a\n" +
			"person, by the random bytes in that file: whoever has both is the admin.",
		Example: "  claviger admin keygen bob\n  claviger admin keygen bob --invite clvadm1_…",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := e.keygen(cmd.Context(), args[0], keyFile, pass)
			if err != nil {
				return err
			}
			if invite != "" {
				if err := join(p, invite); err != nil {
					return err
				}
			}
			if err := e.show(rowOf(p)); err != nil {
				return err
			}
			e.next("hand that line to an admin, who runs: claviger admin add %s=…", p.Name)
			return nil
		},
	}
	secretFlags(cmd.Flags(), &pass, "passphrase", "the new passphrase of the key")
	cmd.Flags().StringVar(&keyFile, "key-file", "", "file of 32 or more random bytes that opens the key instead of a passphrase")
	cmd.Flags().StringVar(&invite, "invite", "", "an admin's invite: pins the new profile to that domain")
	return cmd
}

func (e *env) keygen(ctx context.Context, name, keyFile string, pass secretSource) (*admin.Profile, error) {
	if !wire.ValidNamePart(name) {
		return nil, usagef("%q is no name of an admin: a-z 0-9 . _ - only", name)
	}
	dir, err := e.newProfileDir(name)
	if err != nil {
		return nil, err
	}
	n := admin.NewProfile{Name: name}
	if keyFile != "" {
		if n.KeyFile, err = filepath.Abs(keyFile); err != nil {
			return nil, err
		}
		n.Unlock.Key, err = root.ReadKey(n.KeyFile)
	} else {
		pass.Prompt = "New passphrase of " + name + "'s authority key"
		n.Unlock.Passphrase, err = e.chooseSecret(ctx, pass)
	}
	if err != nil {
		return nil, err
	}
	if n.Unlock.Key != nil {
		defer n.Unlock.Key.Wipe()
	}
	if n.Unlock.Passphrase != nil {
		defer n.Unlock.Passphrase.Wipe()
	}
	p, key, err := admin.CreateProfile(dir, n)
	if err != nil {
		return nil, err
	}
	key.Wipe()
	return p, nil
}

// adminShowResult is an admin and, as far as the profile's copy of the log tells,
// who decides in the domain.
type adminShowResult struct {
	adminRow
	Role   string   `json:"role,omitempty"` // admin, recovery or none
	Admins []string `json:"admins,omitempty"`
	Quorum uint64   `json:"quorum,omitempty"`
	recoveryInfo
}

// about tells people, beside the key, what the domain takes.
func (r adminShowResult) about(p *printer) {
	role := map[string]string{"admin": "an admin's", "recovery": "of the recovery quorum", "none": "neither an admin's nor of the recovery quorum"}
	p.pairs("domain", r.Domain, "this key is", role[r.Role],
		"changes take", fmt.Sprintf("%d of %d admins (%s)", r.Quorum, len(r.Admins), strings.Join(r.Admins, ", ")), "recovery", r.words())
}

func newAdminShowCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Print your public key as NAME=PUBKEY",
		Long: "Print your public key as NAME=PUBKEY on standard output, and on standard error who\n" +
			"decides in your domain, as the log said when a command last saw it.",
		Example: "  claviger admin show",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			p, err := e.adminProfile()
			if err != nil {
				return err
			}
			r := adminShowResult{adminRow: rowOf(p)}
			m, err := admin.OfflineMembers(p)
			known := err == nil // a profile that has not seen its domain yet has only its key
			if known {
				r.fill(p, m)
			}
			if err := e.show(r); err != nil {
				return err
			}
			if known && !e.json {
				e.aside(r.about)
			}
			return nil
		},
	}
}

func (r *adminShowResult) fill(p *admin.Profile, m *members.State) {
	r.Role, r.Quorum, r.recoveryInfo = "none", m.Keys.Threshold, recoveryOf(m.Recovery)
	for _, k := range m.Keys.Keys {
		r.Admins = append(r.Admins, k.Name)
	}
	own := p.Member().Hash()
	isOwn := func(k members.Key) bool { return k.Hash() == own }
	if slices.ContainsFunc(m.Recovery.Keys, isOwn) {
		r.Role = "recovery"
	}
	if slices.ContainsFunc(m.Keys.Keys, isOwn) {
		r.Role = "admin"
	}
}

func newAdminJoinCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "join INVITE",
		Short: "Pin your profile to the domain of an invite",
		Long: "Pin your profile to the domain of an invite, for a key that was made before the\n" +
			"domain was founded. Compare the domain id with the one that another admin sees.",
		Example: "  claviger admin join clvadm1_…",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := e.adminProfile()
			if err != nil {
				return err
			}
			if err := join(p, args[0]); err != nil {
				return err
			}
			if err := e.show(rowOf(p)); err != nil {
				return err
			}
			e.next("claviger admin confirm")
			return nil
		},
	}
}

func join(p *admin.Profile, text string) error {
	i, err := admin.ParseInvite(text)
	if err != nil {
		return usagef("%v", err)
	}
	if i.Demo != p.Demo {
		return admin.ErrDemo
	}
	return p.Join(i.Domain, i.Addresses, nil)
}

func newAdminConfirmCommand(e *env) *cobra.Command {
	var c changeFlags
	cmd := &cobra.Command{
		Use:     "confirm",
		Short:   "Give your first signature: it shows that your key is in your hands",
		Example: "  claviger admin confirm",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.runChange(cmd.Context(), c, func(s *admin.Session) (string, any, error) {
				return authority.KindConfirm, authority.Confirm{Admin: s.Profile().Name}, nil
			})
		},
	}
	addChangeFlags(cmd.Flags(), &c)
	return cmd
}
