// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"claviger/internal/admin"
	"claviger/internal/admin/authkey"
	"claviger/internal/admin/change"
)

// hintSealed is for who meets a server that has not got its root.
const hintSealed = "on the server's machine: claviger unseal --dir DIR"

// hintDemo is for who mixes demo and real domains.
const hintDemo = "only profiles that claviger demo made take a demo domain, and they take no other"

// adminOutcomes are the rows of outcomes for package admin.
func adminOutcomes() []outcome {
	return []outcome{
		{err: admin.ErrRollback, code: ExitIntegrity, hint: "do not trust this server before you know why: it shows less, or something else, than it did"},
		{err: admin.ErrIntegrity, code: ExitIntegrity, hint: "do not trust this server before you know why"},
		{err: authkey.ErrFile, code: ExitIntegrity, hint: "restore the profile from a backup"},
		{err: change.ErrUnreadable, code: ExitIntegrity, hint: "a newer claviger may know this kind of change"},
		{err: admin.ErrNotMember, code: ExitDenied, hint: "claviger admin show prints your key; an admin can run: claviger admin add NAME=PUBKEY"},
		{err: admin.ErrDemo, code: ExitDenied, hint: hintDemo},
		{err: admin.ErrOtherDomain, code: ExitDenied, hint: "use another profile for that domain"},
		{err: admin.ErrNoRecovery, code: ExitDenied, hint: "claviger admin show tells who can recover this domain"},
		{err: admin.ErrNotAnnounced, code: ExitFailure, hint: "the same command with --announce begins the waiting time"},
		{err: admin.ErrDenied, code: ExitDenied},
		{err: admin.ErrSealed, code: ExitFailure, hint: hintSealed},
		{err: admin.ErrUnreachable, code: ExitFailure, hint: "start the server (claviger server --dir DIR); if it runs, look at the address (claviger profile list)"},
		{err: admin.ErrNotJoined, code: ExitUsage, hint: "claviger admin join INVITE, with the line that claviger admin invite prints"},
		{err: admin.ErrNoSuchChange, code: ExitNotFound, hint: "claviger approve list shows what waits"},
		{err: admin.ErrOvertaken, code: ExitFailure, hint: "have it proposed again"},
		{err: admin.ErrNoChange, code: ExitFailure},
		{err: admin.ErrNotFound, code: ExitNotFound},
	}
}
