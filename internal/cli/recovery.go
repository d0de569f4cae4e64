// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"claviger/internal/admin"
	"claviger/internal/install"
	"claviger/internal/members"
)

// recoveryFlags say who may replace the authority keys.
type recoveryFlags struct {
	keys   []string
	quorum string
	wait   time.Duration
}

func addRecoveryFlags(flags *pflag.FlagSet, f *recoveryFlags, key, prefix string) {
	flags.StringArrayVar(&f.keys, key, nil, "a recovery key, as claviger admin keygen prints it: NAME=PUBKEY")
	flags.StringVar(&f.quorum, prefix+"quorum", "", "how many of the recovery keys it takes, such as 2of3 (default: 1of1)")
	flags.DurationVar(&f.wait, prefix+"wait", install.DefaultRecoveryWait, "how long a recovery is announced before it takes effect")
}

// read makes the recovery quorum, or none if there are no keys.
func (f recoveryFlags) read(admins []members.Key) (members.Recovery, error) {
	if len(f.keys) == 0 {
		if f.quorum != "" {
			return members.Recovery{}, usagef("a recovery quorum needs keys")
		}
		return members.Recovery{}, nil
	}
	keys, err := namedKeys("recovery key", f.keys)
	if err != nil {
		return members.Recovery{}, err
	}
	r, err := install.Recovery(keys, admins, f.quorum, f.wait)
	if err != nil {
		return r, usagef("the recovery quorum: %v", err)
	}
	return r, nil
}

// recoveryInfo is the recovery quorum as results tell it.
type recoveryInfo struct {
	Holders []string `json:"recovery_keys,omitempty"`
	Needed  uint64   `json:"recovery_needed,omitempty"`
	Wait    uint64   `json:"recovery_wait_seconds,omitempty"`
}

func recoveryOf(r members.Recovery) recoveryInfo {
	out := recoveryInfo{Needed: r.Threshold, Wait: r.Wait}
	for _, k := range r.Keys {
		out.Holders = append(out.Holders, k.Name)
	}
	return out
}

// words says who can replace the admins, and how fast.
func (r recoveryInfo) words() string {
	if r.Needed == 0 {
		return "none: when too few authority keys are left, nothing can be changed any more"
	}
	return fmt.Sprintf("%d of %d (%s) can replace the admins, %v after announcing it",
		r.Needed, len(r.Holders), strings.Join(r.Holders, ", "), time.Duration(r.Wait)*time.Second)
}

// shortRecovery is a waiting time, in seconds, in which a recovery can pass
// unnoticed.
const shortRecovery = 3600

func (e *env) warnShortRecovery(r recoveryInfo) {
	if r.Needed > 0 && r.Wait < shortRecovery {
		e.warn("a recovery takes effect %v after it is announced: hardly time for the admins to notice and object", time.Duration(r.Wait)*time.Second)
	}
}

func newAdminRecoveryCommand(e *env) *cobra.Command {
	var c changeFlags
	var f recoveryFlags
	var none bool
	cmd := &cobra.Command{
		Use:   "recovery --key NAME=PUBKEY…",
		Short: "Set who may replace the authority keys when they are lost",
		Long: "Set the recovery quorum: who may replace the authority keys when too few are left,\n" +
			"after a waiting time, and may do nothing else. It takes a quorum of the admins. So\n" +
			"does --none, which dissolves it. Either ends a recovery that was announced.",
		Example: "  claviger admin recovery --key rex=clvpub1_…\n" +
			"  claviger admin recovery --key rex=clvpub1_… --key rio=clvpub1_… --quorum 2of2 --wait 168h",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if none == (len(f.keys) > 0) {
				return usagef("either --key or --none is wanted").withHint("claviger admin recovery --key NAME=PUBKEY")
			}
			return e.runChange(cmd.Context(), c, func(s *admin.Session) (string, any, error) {
				if none && s.State().Members.Recovery.Threshold == 0 {
					return members.KindRecovery, nil, fmt.Errorf("%w: there is no recovery quorum", admin.ErrNoChange)
				}
				r, err := f.read(s.State().Members.Keys.Keys)
				if err == nil {
					e.warnShortRecovery(recoveryOf(r))
				}
				return members.KindRecovery, r, err
			})
		},
	}
	addChangeFlags(cmd.Flags(), &c)
	addRecoveryFlags(cmd.Flags(), &f, "key", "")
	cmd.Flags().BoolVar(&none, "none", false, "dissolve the recovery quorum: losing the authority keys then freezes the domain")
	return cmd
}
