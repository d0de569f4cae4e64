// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"claviger/internal/cli/outfile"
)

func newProfileCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "profile",
		Short: "Choose who you are on this machine",
		Long: "A profile is a directory that says who you are: an admin with an authority key, or\n" +
			"a client with a certificate. Profiles lie under ~/.config/claviger; --profile takes\n" +
			"a name or a directory.",
	}
	cmd.AddCommand(newProfileListCommand(e), newProfileUseCommand(e))
	return cmd
}

// profileRow is one profile of `profile list`.
type profileRow struct {
	Name      string   `json:"name"`
	Kind      string   `json:"kind"`
	Domain    string   `json:"domain"`
	Demo      bool     `json:"demo,omitempty"`
	Addresses []string `json:"addresses"`
	Chosen    bool     `json:"chosen,omitempty"`
}

type profileListResult struct {
	Profiles []profileRow `json:"profiles"`
}

func (r profileListResult) human(p *printer) {
	rows := make([][]string, len(r.Profiles))
	for i, v := range r.Profiles {
		notes := []string{}
		if v.Chosen {
			notes = append(notes, "chosen")
		}
		if v.Demo {
			notes = append(notes, "demo")
		}
		rows[i] = []string{v.Name, v.Kind, v.Domain, strings.Join(v.Addresses, " "), strings.Join(notes, ", ")}
	}
	p.table([]string{"NAME", "KIND", "DOMAIN", "SERVERS", "NOTES"}, rows)
}

func newProfileListCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the profiles of this machine",
		Example: "  claviger profile list",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			r, err := e.listProfiles()
			if err != nil {
				return err
			}
			return e.show(r)
		},
	}
}

func (e *env) listProfiles() (profileListResult, error) {
	r := profileListResult{Profiles: []profileRow{}}
	home, err := e.profileHome()
	if err != nil {
		return r, err
	}
	names, err := profileNames(home, "")
	if err != nil {
		return r, err
	}
	for _, name := range names {
		info, err := readProfileInfo(filepath.Join(home, name))
		if err != nil {
			return r, err
		}
		chosen, _ := os.ReadFile(filepath.Join(home, "current-"+info.Kind)) // absent: none is chosen
		r.Profiles = append(r.Profiles, profileRow{
			Name: name, Kind: info.Kind, Domain: info.Domain, Demo: info.Demo, Addresses: info.Addresses,
			Chosen: strings.TrimSpace(string(chosen)) == name,
		})
	}
	return r, nil
}

// profileUseResult says what `profile use` chose.
type profileUseResult struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
}

func (r profileUseResult) human(p *printer) { p.line("%s is now the %s profile", r.Name, r.Kind) }

func newProfileUseCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "use NAME",
		Short: "Choose the profile that commands take by default",
		Long: "Choose the profile that commands take when neither --profile nor CLAVIGER_PROFILE\n" +
			"names one. Admins' and clients' profiles are chosen apart.",
		Example: "  claviger profile use app1",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := e.useProfile(args[0])
			if err != nil {
				return err
			}
			return e.show(r)
		},
	}
}

func (e *env) useProfile(name string) (profileUseResult, error) {
	dir, err := e.namedProfile(name, "")
	if err != nil {
		return profileUseResult{}, err
	}
	info, err := readProfileInfo(dir)
	if err != nil {
		return profileUseResult{}, err
	}
	if info.Kind != kindAdmin && info.Kind != kindClient {
		return profileUseResult{}, fmt.Errorf("use profile: %s has the unknown kind %q", name, info.Kind)
	}
	home, err := e.profileHome()
	if err != nil {
		return profileUseResult{}, err
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return profileUseResult{}, fmt.Errorf("use profile: %w", err)
	}
	if filepath.Dir(dir) != home {
		name = dir // not by a name, so it has to be found from any directory
	}
	if err := outfile.Write(filepath.Join(home, "current-"+info.Kind), []byte(name+"\n")); err != nil {
		return profileUseResult{}, fmt.Errorf("use profile: %w", err)
	}
	return profileUseResult{Name: name, Kind: info.Kind}, nil
}
