// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"claviger/internal/admin"
	"claviger/internal/authority"
)

// settingFlags are the settings of a key on a command line.
type settingFlags struct {
	rotation, lease, staleness time.Duration
	attestation                string
	exportable                 bool
	tags                       []string
}

func addSettingFlags(flags *pflag.FlagSet, f *settingFlags) {
	flags.DurationVar(&f.rotation, "rotate-every", 0, "make a new version so often, at least every hour (default: only on order)")
	flags.DurationVar(&f.lease, "lease", authority.DefaultLease*time.Second, "how long a client may use what was handed out")
	flags.DurationVar(&f.staleness, "staleness", authority.DefaultStaleness*time.Second, "how long a client may go without news from a server")
	flags.StringVar(&f.attestation, "attestation", "", "least attestation of who uses it: software, tpm or tee")
	flags.BoolVar(&f.exportable, "exportable", false, "let it be handed to a cloud's import")
	flags.StringArrayVar(&f.tags, "tag", nil, "label that policies may read, NAME=VALUE")
}

// apply changes those settings that the command line names.
func (f settingFlags) apply(flags *pflag.FlagSet, s authority.Settings) (authority.Settings, error) {
	for _, d := range []struct {
		name string
		from time.Duration
		to   *uint64
	}{{"rotate-every", f.rotation, &s.Rotation}, {"lease", f.lease, &s.Lease}, {"staleness", f.staleness, &s.Staleness}} {
		if flags.Changed(d.name) || *d.to == 0 {
			if d.from < 0 || d.from%time.Second != 0 {
				return s, usagef("--%s takes whole seconds", d.name)
			}
			*d.to = uint64(d.from / time.Second)
		}
	}
	if flags.Changed("attestation") {
		s.Attestation = f.attestation
	}
	if flags.Changed("exportable") {
		s.Exportable = f.exportable
	}
	if flags.Changed("tag") {
		tags, err := admin.ParseTags(f.tags)
		if err != nil {
			return s, usagef("--tag: %v", err)
		}
		s.Tags = tags
	}
	return s, s.Check()
}

// keyCreateResult is a new key, and the policies that let clients use it.
type keyCreateResult struct {
	changeResult
	Key    string         `json:"key"`
	ID     string         `json:"id"`
	Allows []changeResult `json:"allows,omitempty"`
}

func (r keyCreateResult) human(p *printer) {
	r.changeResult.human(p)
	for _, a := range r.Allows {
		a.human(p)
	}
}

func newKeyCreateCommand(e *env) *cobra.Command {
	var c changeFlags
	var f settingFlags
	var algorithm string
	var allow []string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a key",
		Long: "Create a key. One admin may; --allow adds the policy that lets a client use it, which\n" +
			"the quorum signs.",
		Example: "  claviger key create payments/cards --allow app1\n" +
			"  claviger key create logs --rotate-every 720h --lease 10m --tag env=prod",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			settings, err := f.apply(cmd.Flags(), authority.Settings{})
			if err != nil {
				return usagef("%v", err)
			}
			if err := checkKeyNames(args[0]); err != nil {
				return err
			}
			return e.createKey(cmd.Context(), c, admin.NewKey(args[0], algorithm, settings, c.reason), allow)
		},
	}
	addChangeFlags(cmd.Flags(), &c)
	addSettingFlags(cmd.Flags(), &f)
	cmd.Flags().StringVar(&algorithm, "algorithm", authority.AES256, "aes256, hmac-sha256, ed25519, ecdsa-p256, rsa-2048, rsa-3072 or rsa-4096")
	cmd.Flags().StringArrayVar(&allow, "allow", nil, "client that may use it")
	return cmd
}

func (e *env) createKey(ctx context.Context, c changeFlags, p authority.KeyCreate, allow []string) error {
	s, err := e.connect(ctx, c.access)
	if err != nil {
		return err
	}
	defer s.Close()
	if s.State().KeyNamed(p.Name) != nil {
		return usagef("a key named %s exists", p.Name)
	}
	// Asked first: a key whose policy can't be written should not be made.
	for _, who := range allow {
		if _, _, err := admin.Allow(s.State(), who, p.Name, nil, ""); err != nil && !errors.Is(err, admin.ErrNoChange) {
			return usagef("--allow: %v", err)
		}
	}
	r := keyCreateResult{Key: p.Name, ID: p.ID.String()}
	if r.changeResult, err = e.change(ctx, s, c.dryRun, authority.KindKeyCreate, p); err != nil {
		return err
	}
	for _, who := range allow {
		set, _, err := admin.Allow(s.State(), who, p.Name, nil, c.reason)
		if errors.Is(err, admin.ErrNoChange) {
			continue // a policy that waited for this key
		}
		if err != nil {
			return fmt.Errorf("the key was created, its policy was not: %w", err)
		}
		a, err := e.change(ctx, s, c.dryRun, authority.KindPolicy, set)
		if err != nil {
			return fmt.Errorf("the key was created, its policy was not: %w", err)
		}
		r.Allows = append(r.Allows, a)
		if a.Pending != nil {
			break // the next one would replace a set that isn't in force yet
		}
	}
	if err := e.show(r); err != nil {
		return err
	}
	e.afterKeyCreate(p.Name, allow, r.Allows)
	for _, a := range append([]changeResult{r.changeResult}, r.Allows...) {
		if err := a.failure(); err != nil {
			return err
		}
	}
	return nil
}

func (e *env) afterKeyCreate(name string, allow []string, done []changeResult) {
	waits := len(done) > 0 && done[len(done)-1].Pending != nil
	for _, who := range allow[min(len(done), len(allow)):] {
		if !waits {
			break
		}
		e.warn("%s may not use it yet; once the change that waits is in force: claviger policy allow %s %s", who, who, name)
	}
	switch {
	case len(allow) > 0:
		e.next("claviger client invite %s", allow[0])
	default:
		e.next("claviger policy allow CLIENT %s", name)
	}
}
