// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto/fips140"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// versionResult says what this binary is; the shape of `version --json`.
type versionResult struct {
	Version  string `json:"version"`            // module version, or "(devel)"
	Commit   string `json:"commit,omitempty"`   // of the source, when the build recorded it
	Modified bool   `json:"modified,omitempty"` // the source differed from the commit
	Go       string `json:"go"`                 // toolchain, such as go1.26.8
	OS       string `json:"os"`
	Arch     string `json:"arch"`
	FIPS     bool   `json:"fips"` // the FIPS 140-3 module is in force
}

func (v versionResult) human(p *printer) {
	p.line("claviger %s", v.Version)
	if v.Commit != "" {
		suffix := ""
		if v.Modified {
			suffix = " (modified)"
		}
		p.line("commit %s%s", v.Commit, suffix)
	}
	p.line("%s %s/%s", v.Go, v.OS, v.Arch)
	if v.FIPS {
		p.line("FIPS 140-3 mode")
	}
}

func newVersionCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Say which build this is",
		Example: "  claviger version\n  claviger version --json",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return e.show(buildVersion()) },
	}
}

// buildVersion reads what the linker recorded.
func buildVersion() versionResult {
	v := versionResult{
		Version: "(devel)", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, FIPS: fips140.Enabled(),
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}
