// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"claviger/internal/admin"
	"claviger/internal/authority"
	"claviger/internal/wire"
)

func newKeyRotateCommand(e *env) *cobra.Command {
	var c changeFlags
	cmd := &cobra.Command{
		Use:   "rotate NAME",
		Short: "Order a new version of a key",
		Long: "Order a new version of a key. What was encrypted with older versions stays readable;\n" +
			"claviger rewrap moves ciphertexts to the newest one.",
		Example: "  claviger key rotate payments/cards",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.runChange(cmd.Context(), c, func(s *admin.Session) (string, any, error) {
				k, err := admin.KeyNamed(s.State(), args[0])
				if err != nil {
					return "", nil, err
				}
				return authority.KindKeyRotate, authority.KeyRef{ID: k.ID, Reason: c.reason}, nil
			})
		},
	}
	addChangeFlags(cmd.Flags(), &c)
	return cmd
}

func newKeySwitchCommand(e *env, enable bool) *cobra.Command {
	var c changeFlags
	use, short, kind := "disable NAME", "Let nobody use a key until it is enabled again", authority.KindKeyDisable
	if enable {
		use, short, kind = "enable NAME", "Let a disabled key be used again", authority.KindKeyEnable
	}
	cmd := &cobra.Command{
		Use:     use,
		Short:   short,
		Example: "  claviger key " + use[:len(use)-4] + "payments/cards",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.runChange(cmd.Context(), c, func(s *admin.Session) (string, any, error) {
				k, err := admin.KeyNamed(s.State(), args[0])
				if err != nil {
					return "", nil, err
				}
				return keySwitch(kind, k, c.reason)
			})
		},
	}
	addChangeFlags(cmd.Flags(), &c)
	return cmd
}

func newKeySetCommand(e *env) *cobra.Command {
	var c changeFlags
	var f settingFlags
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Change settings of a key",
		Long: "Change the settings that the command line names. One admin may tighten a key; to\n" +
			"loosen it takes the quorum.",
		Example: "  claviger key set payments/cards --lease 5m",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.runChange(cmd.Context(), c, func(s *admin.Session) (string, any, error) {
				k, err := admin.KeyNamed(s.State(), args[0])
				if err != nil {
					return "", nil, err
				}
				settings, err := f.apply(cmd.Flags(), k.Settings)
				return authority.KindKeySettings, authority.KeySettings{ID: k.ID, Settings: settings, Reason: c.reason}, err
			})
		},
	}
	addChangeFlags(cmd.Flags(), &c)
	addSettingFlags(cmd.Flags(), &f)
	return cmd
}

func newKeyDestroyCommand(e *env) *cobra.Command {
	var c changeFlags
	var version uint64
	var wait time.Duration
	var yes bool
	cmd := &cobra.Command{
		Use:   "destroy NAME",
		Short: "Destroy a key for ever, after a waiting time",
		Long: "Order the destruction of a key, or of one version. The quorum signs. Nobody can use it\n" +
			"from then on; when the waiting time is over the servers erase it, and what it\n" +
			"encrypted is lost. Backups that claviger status lists can bring it back until they\n" +
			"are gone too, and so can copies of a server's disk that no log knows of.",
		Example: "  claviger key destroy payments/old --wait 720h --reason 'contract ended'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if wait < 0 || wait%time.Second != 0 {
				return usagef("--wait takes whole seconds")
			}
			if !c.dryRun {
				if err := e.confirm(cmd.Context(), fmt.Sprintf("Destroying %s (what it encrypted will be lost for ever)", args[0]), args[0], yes); err != nil {
					return err
				}
			}
			return e.runChange(cmd.Context(), c, func(s *admin.Session) (string, any, error) {
				k, err := admin.KeyNamed(s.State(), args[0])
				if err != nil {
					return "", nil, err
				}
				p := authority.Destroy{ID: k.ID, Number: version, Wait: uint64(wait / time.Second), Reason: c.reason}
				return authority.KindKeyDestroy, p, nil
			})
		},
	}
	addChangeFlags(cmd.Flags(), &c)
	cmd.Flags().Uint64Var(&version, "version", 0, "this version alone (default: all of them)")
	cmd.Flags().DurationVar(&wait, "wait", 7*24*time.Hour, "how long it can still be taken back")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask for a confirmation")
	return cmd
}

func newKeyKeepCommand(e *env) *cobra.Command {
	var c changeFlags
	var version uint64
	cmd := &cobra.Command{
		Use:   "keep NAME",
		Short: "Take back the destruction of a key that still waits for it",
		Long: "Take back the destruction of a key, one version at a time, while the waiting time of\n" +
			"claviger key destroy runs. The quorum signs. claviger key show lists what waits.",
		Example: "  claviger key keep payments/old --version 1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.runChange(cmd.Context(), c, func(s *admin.Session) (string, any, error) {
				k, err := admin.KeyNamed(s.State(), args[0])
				if err != nil {
					return "", nil, err
				}
				number, err := doomed(k, version)
				return authority.KindKeyKeep, authority.VersionRef{ID: k.ID, Number: number, Reason: c.reason}, err
			})
		},
	}
	addChangeFlags(cmd.Flags(), &c)
	cmd.Flags().Uint64Var(&version, "version", 0, "this version (default: the only one that waits to be destroyed)")
	return cmd
}

// doomed finds the version that waits to be destroyed and that is meant.
func doomed(k *authority.Key, wanted uint64) (uint64, error) {
	var waiting []uint64
	for _, v := range k.Versions {
		if v.DestroyAt != 0 && v.State != wire.StateDestroyed && (wanted == 0 || v.Number == wanted) {
			waiting = append(waiting, v.Number)
		}
	}
	switch len(waiting) {
	case 0:
		return 0, fmt.Errorf("%w: nothing of that key waits to be destroyed", admin.ErrNotFound)
	case 1:
		return waiting[0], nil
	}
	return 0, fmt.Errorf("versions %v wait to be destroyed: choose one with --version", waiting)
}

// isClient reports whether the profile that would be used is a client's.
func (e *env) isClient() (bool, error) {
	dir, err := e.profileDir("")
	if err != nil {
		return false, err
	}
	info, err := readProfileInfo(dir)
	return info.Kind == kindClient, err
}

// usableRow is a key that a client may use.
type usableRow struct {
	Name       string   `json:"name"`
	ID         string   `json:"id"`
	Algorithm  string   `json:"algorithm"`
	Version    uint64   `json:"version"`
	Operations []string `json:"operations"`
}

type usableResult struct {
	Keys []usableRow `json:"keys"`
}

func (r usableResult) human(p *printer) {
	rows := make([][]string, len(r.Keys))
	for i, k := range r.Keys {
		rows[i] = []string{k.Name, k.Algorithm, fmt.Sprint(k.Version), none(k.Operations)}
	}
	p.table([]string{"NAME", "ALGORITHM", "VERSION", "OPERATIONS"}, rows)
}

// listUsable is `key list` under a client's profile.
func (e *env) listUsable(ctx context.Context) error {
	c, _, err := e.dial(ctx, "")
	if err != nil {
		return err
	}
	defer c.Close()
	keys, err := c.Keys(ctx)
	if err != nil {
		return err
	}
	r := usableResult{Keys: []usableRow{}}
	for _, k := range keys {
		r.Keys = append(r.Keys, usableRow(k))
	}
	return e.show(r)
}
