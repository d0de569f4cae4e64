// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

// commands builds every top-level command: one line a verb, in the order in
// which help lists them.
func commands(e *env) []*cobra.Command {
	makers := []func(*env) *cobra.Command{
		newDemoCommand,
		newInitCommand,
		newServerCommand,
		newUnsealCommand,
		newSealCommand,
		newStatusCommand,
		newDoctorCommand,
		newKeyCommand,
		newPolicyCommand,
		newConfigCommand,
		newRootCommand,
		newClientCommand,
		newAdminCommand,
		newApproveCommand,
		newEndpointCommand,
		newRevokeCommand,
		newEnableCommand,
		newAuditCommand,
		newRelayDumpCommand,
		newBackupCommand,
		newEncryptCommand,
		newDecryptCommand,
		newInspectCommand,
		newRewrapCommand,
		newK8sKMSCommand,
		newSopsKeyserviceCommand,
		newProfileCommand,
		newVersionCommand,
		newCompletionCommand,
		newGenManCommand,
	}
	out := make([]*cobra.Command, len(makers))
	for i, make := range makers {
		out[i] = make(e)
	}
	return append(out, topics()...)
}
