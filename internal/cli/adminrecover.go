// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"claviger/internal/admin"
	"claviger/internal/members"
)

// recoverFlags is what `admin recover` is told.
type recoverFlags struct {
	changeFlags
	keys     []string
	announce bool
	out      string
}

func newAdminRecoverCommand(e *env) *cobra.Command {
	var f recoverFlags
	cmd := &cobra.Command{
		Use:   "recover --key NAME=PUBKEY…",
		Short: "Replace the authority keys by order of the recovery quorum",
		Long: "Replace all authority keys when too few are left to make a quorum. It takes holders\n" +
			"of the recovery keys, each with their own profile, and two changes that name the same\n" +
			"new keys. First --announce: it begins the waiting time, and status shows it to every\n" +
			"admin who is left; a quorum of them ends it by changing the keys or the recovery\n" +
			"quorum. Then the recovery itself, which is signed by each new key too, from a file:\n" +
			"-o writes it, approve sign signs it, approve submit brings it back. It takes effect\n" +
			"when the waiting time is over and it is brought again.\n\n" +
			"How many admins make a quorum stays as it is.",
		Example: "  claviger admin recover --announce --key dan=clvpub1_… --key fay=clvpub1_…\n" +
			"  claviger admin recover --key dan=clvpub1_… --key fay=clvpub1_… -o recovery.txt",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return e.recover(cmd.Context(), f) },
	}
	addChangeFlags(cmd.Flags(), &f.changeFlags)
	cmd.Flags().StringArrayVar(&f.keys, "key", nil, "an authority key from then on, as claviger admin keygen prints it")
	cmd.Flags().BoolVar(&f.announce, "announce", false, "announce it, which begins the waiting time")
	cmd.Flags().StringVarP(&f.out, "output", "o", "", "file to write the recovery to, for the new keys to sign")
	return cmd
}

func (e *env) recover(ctx context.Context, f recoverFlags) error {
	keys, err := namedKeys("--key", f.keys)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return usagef("--key is missing").withHint("claviger admin recover --announce --key NAME=PUBKEY, as claviger admin keygen prints it")
	}
	if f.announce && f.out != "" {
		return usagef("an announcement is signed by no new key").withHint("leave -o for the recovery itself")
	}
	s, err := e.connect(ctx, f.access)
	if err != nil {
		return err
	}
	defer s.Close()
	kind, payload, err := s.Recover(keys, f.announce)
	if err != nil {
		return asBuildFailure(err)
	}
	r, err := e.change(ctx, s, f.dryRun, kind, payload)
	if err != nil {
		return err
	}
	if f.out != "" && r.waiting != nil {
		if err := e.writeText(f.out, admin.FormatEntry(r.waiting.Entry)); err != nil {
			return err
		}
	}
	if err := e.finish(r); err != nil {
		return err
	}
	if due, ok := s.State().Announced.First(s.State().Members.Recovery); ok && kind != members.KindRecover && r.Applied {
		e.next("claviger admin recover with the same keys and -o FILE; it takes effect from %s on", utc(due))
	}
	return nil
}
