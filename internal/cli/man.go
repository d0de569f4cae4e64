// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"claviger/internal/cli/manpage"
)

// newGenManCommand writes docs/man; it is for this repository and for
// packagers, so help does not list it.
func newGenManCommand(*env) *cobra.Command {
	return &cobra.Command{
		Use:     "gen-man DIR",
		Short:   "Write the man pages of every command into DIR",
		Example: "  claviger gen-man docs/man",
		Args:    cobra.ExactArgs(1),
		Hidden:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("make directory: %w", err)
			}
			for name, page := range manPages(cmd.Root()) {
				if err := os.WriteFile(filepath.Join(args[0], name), page, fs.FileMode(0o644)); err != nil {
					return fmt.Errorf("write man page: %w", err)
				}
			}
			return nil
		},
	}
}

// manPages renders the pages of the whole tree.
func manPages(root *cobra.Command) map[string][]byte {
	return manpage.Pages(root, func(cmd *cobra.Command) string {
		if cmd.Name() == "environment" && !cmd.Runnable() {
			return environmentText(cmd.Root())
		}
		return ""
	})
}
