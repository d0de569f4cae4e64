// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"claviger/internal/admin"
	"claviger/internal/authority"
)

func newKeyCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Create, list and switch keys",
		Long:  "Create, list and switch keys. A key has a name, versions, and settings that say how\nlong what is handed out may be used.",
	}
	cmd.AddCommand(newKeyCreateCommand(e), newKeyListCommand(e), newKeyShowCommand(e), newKeyRotateCommand(e),
		newKeySetCommand(e), newKeySwitchCommand(e, false), newKeySwitchCommand(e, true), newKeyDestroyCommand(e),
		newKeyKeepCommand(e))
	return cmd
}

// keyRow is a key as `key list` and `key show` tell it.
type keyRow struct {
	Name        string            `json:"name"`
	ID          string            `json:"id"`
	Algorithm   string            `json:"algorithm"`
	State       string            `json:"state"` // enabled, disabled
	Version     uint64            `json:"version,omitempty"`
	Created     string            `json:"created"`
	Rotation    uint64            `json:"rotation_seconds,omitempty"`
	Lease       uint64            `json:"lease_seconds"`
	Staleness   uint64            `json:"staleness_seconds"`
	Attestation string            `json:"attestation,omitempty"`
	Exportable  bool              `json:"exportable,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Versions    []versionRow      `json:"versions,omitempty"`
}

// versionRow is one version of a key.
type versionRow struct {
	Number    uint64   `json:"version"`
	State     string   `json:"state"`
	Created   string   `json:"created"`
	DestroyAt string   `json:"destroy_at,omitempty"`
	Except    []string `json:"destroyed_except,omitempty"` // what could still bring it back
}

func keyRowOf(k *authority.Key) keyRow {
	r := keyRow{
		Name: k.Name, ID: k.ID.String(), Algorithm: k.Algorithm, State: "enabled", Created: millis(k.Created),
		Rotation: k.Settings.Rotation, Lease: k.Settings.Lease, Staleness: k.Settings.Staleness,
		Attestation: k.Settings.Attestation, Exportable: k.Settings.Exportable,
	}
	if k.Disabled {
		r.State = "disabled"
	}
	if v := k.Current(); v != nil {
		r.Version = v.Number
	}
	for _, t := range k.Settings.Tags {
		if r.Tags == nil {
			r.Tags = map[string]string{}
		}
		r.Tags[t.Name] = t.Value
	}
	return r
}

func millis(ms int64) string { return utc(time.UnixMilli(ms)) }

// human is `key show`.
func (r keyRow) human(p *printer) {
	rotation := "only on order"
	if r.Rotation > 0 {
		rotation = "every " + duration(r.Rotation)
	}
	var tags []string
	for name, value := range r.Tags {
		tags = append(tags, name+"="+value)
	}
	p.pairs("name", r.Name, "id", r.ID, "algorithm", r.Algorithm, "state", r.State, "created", r.Created, "rotation", rotation,
		"lease", duration(r.Lease), "staleness", duration(r.Staleness), "attestation", r.Attestation,
		"exportable", strconv.FormatBool(r.Exportable), "tags", strings.Join(sorted(tags), " "))
	rows := make([][]string, len(r.Versions))
	for i, v := range r.Versions {
		rows[i] = []string{fmt.Sprint(v.Number), v.State, v.Created, v.DestroyAt, strings.Join(v.Except, ", ")}
	}
	p.table([]string{"VERSION", "STATE", "CREATED", "DESTROY AT", "EXCEPT"}, rows)
}

func duration(seconds uint64) string { return (time.Duration(seconds) * time.Second).String() }

type keyListResult struct {
	Keys []keyRow `json:"keys"`
}

func (r keyListResult) human(p *printer) {
	rows := make([][]string, len(r.Keys))
	for i, k := range r.Keys {
		rows[i] = []string{k.Name, k.Algorithm, k.State, fmt.Sprint(k.Version), k.Created}
	}
	p.table([]string{"NAME", "ALGORITHM", "STATE", "VERSION", "CREATED"}, rows)
}

func newKeyListCommand(e *env) *cobra.Command {
	var a access
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List keys: all of them as an admin, those you may use as a client",
		Example: "  claviger key list\n" +
			"  claviger --profile app1 key list",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := e.isClient()
			if err != nil {
				return err
			}
			if client {
				return e.listUsable(cmd.Context())
			}
			s, err := e.connect(cmd.Context(), a)
			if err != nil {
				return err
			}
			defer s.Close()
			r := keyListResult{Keys: []keyRow{}}
			for k := range s.State().Keys() {
				r.Keys = append(r.Keys, keyRowOf(k))
			}
			return e.show(r)
		},
	}
	accessFlags(cmd.Flags(), &a)
	return cmd
}

func newKeyShowCommand(e *env) *cobra.Command {
	var a access
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show a key: with its settings and versions as an admin, how fresh it is as a client",
		Long: "Show a key. An admin sees its settings and versions. A client gets a lease of the\n" +
			"current version, and sees how long that may be used: at all, and without hearing\n" +
			"anything more; and who answered, over which way.",
		Example: "  claviger key show payments/cards",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := e.isClient()
			if err != nil {
				return err
			}
			if client {
				return e.showUsable(cmd.Context(), args[0])
			}
			s, err := e.connect(cmd.Context(), a)
			if err != nil {
				return err
			}
			defer s.Close()
			k, err := admin.KeyNamed(s.State(), args[0])
			if err != nil {
				return err
			}
			return e.show(wholeKey(s.State(), k))
		},
	}
	accessFlags(cmd.Flags(), &a)
	return cmd
}

// wholeKey is a key with its versions.
func wholeKey(s *authority.State, k *authority.Key) keyRow {
	r := keyRowOf(k)
	for i := range k.Versions {
		v := &k.Versions[i]
		row := versionRow{Number: v.Number, State: v.State, Created: millis(v.Created)}
		if v.DestroyAt != 0 {
			row.DestroyAt = millis(v.DestroyAt)
		}
		if v.ErasedIn != 0 {
			row.Except = s.DestroyedExcept(v)
		}
		r.Versions = append(r.Versions, row)
	}
	return r
}
