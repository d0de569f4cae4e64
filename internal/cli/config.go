// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"claviger/internal/root"
)

// rootDirName is where the custody file lies in a data directory.
const rootDirName = "root"

func newConfigCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Look at a server's configuration"}
	cmd.AddCommand(newConfigCheckCommand(e))
	return cmd
}

// configResult is a configuration that a server would start with.
type configResult struct {
	Domain     string   `json:"domain"`
	Name       string   `json:"name"`
	Demo       bool     `json:"demo"`
	Listen     string   `json:"listen"` // "" for no port
	Relays     []string `json:"relays,omitempty"`
	Pad        bool     `json:"pad,omitempty"`
	Metrics    string   `json:"metrics,omitempty"`
	Doors      string   `json:"doors,omitempty"`
	Root       string   `json:"root"`
	Unattended bool     `json:"unattended"` // it unseals itself
}

func (r configResult) human(p *printer) {
	start := "a person unseals it"
	if r.Unattended {
		start = "it unseals itself"
	}
	p.pairs("domain", r.Domain, "name", r.Name, "listen", r.Listen, "relays", strings.Join(r.Relays, ", "), "metrics", r.Metrics, "doors", r.Doors, "root", "sealed under "+r.Root, "start", start)
	p.line("The configuration is good.")
}

func newConfigCheckCommand(e *env) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "check",
		Short:   "Check a server's configuration without starting it",
		Example: "  claviger config check --dir /var/lib/claviger",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := needDir(dir); err != nil {
				return err
			}
			r, err := checkConfig(dir)
			if err != nil {
				return err
			}
			return e.show(r)
		},
	}
	dirFlag(cmd, &dir)
	return cmd
}

// checkConfig reads what a server would, and tries what it would need.
func checkConfig(dir string) (configResult, error) {
	c, err := readServerConfig(dir)
	if err != nil {
		return configResult{}, err
	}
	if err := checkWritable(dir); err != nil {
		return configResult{}, err
	}
	info, err := root.Describe(filepath.Join(dir, rootDirName))
	if err != nil {
		return configResult{}, err
	}
	if c.Root.KeyFile != "" && info.Kind == root.KindKeyFile {
		path := c.Root.KeyFile
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		key, err := root.ReadKey(path)
		if err != nil {
			return configResult{}, err
		}
		key.Wipe()
	}
	if err := c.Doors.Try(dir); err != nil {
		return configResult{}, err
	}
	return configResult{
		Domain: c.Domain, Name: c.Name, Demo: c.Demo, Listen: c.Listen, Relays: c.Relay, Pad: c.Pad, Metrics: c.Metrics, Doors: c.Doors.Listen, Root: string(info.Kind),
		Unattended: c.Root != rootConfig{},
	}, nil
}
