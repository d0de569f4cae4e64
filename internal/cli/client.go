// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

func newClientCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{Use: "client", Short: "Invite, enroll and revoke the workloads that use keys"}
	cmd.AddCommand(newClientInviteCommand(e), newClientEnrollCommand(e), newClientListCommand(e), newClientRevokeCommand(e))
	return cmd
}
