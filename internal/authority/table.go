// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"claviger/internal/members"
)

// Rule says who must have signed a body.
type Rule int

// Rules, from the strictest. The zero value permits nobody.
const (
	Nobody        Rule = iota
	Quorum             // the threshold of authority keys
	Chain              // the member chain's own rules (package members)
	OneAdmin           // one authority key
	QuorumIfLoose      // one authority key; the threshold if the body loosens something
	RuledAdmin         // the threshold, or an admin whom an invite rule names for this path
	AdminOrServer      // one authority key (the threshold if the body loosens something), or a server for a caller whom signed policy permits it
	RecoverQuorum      // the recovery quorum
	ServerAlone        // an active server, which executes or narrows
)

// Table is the signer table: the rule of each kind. A kind without a row is
// refused.
func Table() map[string]Rule {
	return map[string]Rule{
		members.KindKeys: Chain, members.KindJoin: Chain, members.KindFence: Chain, members.KindUnfence: Chain,
		members.KindLeave: Chain, members.KindRestore: Chain, members.KindAnchors: Chain,
		members.KindRecovery: Chain, members.KindRecover: Chain,
		KindRecoverBegin: RecoverQuorum,

		KindPolicy:       Quorum,
		KindInviteRule:   Quorum,
		KindClientEnable: Quorum,
		KindEnableAll:    Quorum,
		KindKeyDestroy:   Quorum,
		KindKeyKeep:      Quorum,
		KindBackupGone:   Quorum,

		KindInvite:        RuledAdmin,
		KindKeySettings:   QuorumIfLoose,
		KindKeyEnable:     OneAdmin,
		KindKeyCompromise: OneAdmin,
		KindConfirm:       OneAdmin,

		KindKeyCreate:    AdminOrServer,
		KindKeyRotate:    AdminOrServer,
		KindKeyDisable:   AdminOrServer,
		KindClientRevoke: AdminOrServer,
		KindRevokeAll:    AdminOrServer,

		KindKeyVersion: ServerAlone,
		KindSecret:     ServerAlone,
		KindEnrolled:   ServerAlone,
		KindErasure:    ServerAlone,
		KindReceipt:    ServerAlone,
		KindBackup:     ServerAlone,
		KindAnchor:     ServerAlone,

		KindEndpointSet:     QuorumIfLoose, // loose: a name that was taken before
		KindEndpointEnable:  QuorumIfLoose, // loose: what was revoked
		KindEndpointRemove:  OneAdmin,
		KindEndpointDisable: AdminOrServer,
	}
}

// People reports whether bodies under this rule are signed by people only.
func (r Rule) People() bool { return r != Nobody && r != ServerAlone }
