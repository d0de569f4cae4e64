// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"claviger/internal/admin"
)

func newBackupCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Back the domain up",
		Long: "A backup holds the log, the slots and, sealed, what opens them; only the root secret\n" +
			"opens it. In a strict domain it lacks the erasure key: it can't bring keys back when\n" +
			"every server is lost.",
	}
	cmd.AddCommand(newBackupCreateCommand(e))
	return cmd
}

func newBackupCreateCommand(e *env) *cobra.Command {
	var a access
	var out string
	cmd := &cobra.Command{
		Use:   "create -o FILE",
		Short: "Make a backup and write it to a file",
		Long: "Make a backup and write it to a file. The log lists it: what is destroyed later counts\n" +
			"as gone only when the backup is gone too.",
		Example: "  claviger backup create -o claviger.backup",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.fetch(cmd.Context(), a, out, func(ctx context.Context, s *admin.Session, w io.Writer) (int64, error) { return s.Backup(ctx, w) })
		},
	}
	accessFlags(cmd.Flags(), &a)
	cmd.Flags().StringVarP(&out, "output", "o", "", "file to write")
	return cmd
}
