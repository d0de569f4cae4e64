// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"errors"
	"io"
	"time"

	"claviger/internal/audit"
	"claviger/internal/authority"
	"claviger/internal/keyserver/holding"
	"claviger/internal/keyserver/limits"
	"claviger/internal/keyserver/report"
	"claviger/internal/keyserver/rules"
	"claviger/internal/wire"
)

// Errors that doors translate. Whatever else comes out of Do is internal.
var (
	ErrSealed      = errors.New("the server is sealed")
	ErrDenied      = errors.New("denied")                      // with *Denial
	ErrRefused     = errors.New("refused")                     // what was asked can't be done in this state
	ErrMalformed   = errors.New("malformed request")           // the caller's input
	ErrUnproved    = errors.New("caller is not authenticated") // a door's mistake or a missing credential
	ErrUnavailable = errors.New("not available now")           // the audit log or the store can't be written
	ErrNotFound    = holding.ErrNotFound                       // only to admins, who may see everything
	ErrBusy        = limits.ErrBusy                            // a bound is reached; the request was not looked at
)

// Why a Denial is one, for doors whose protocol tells causes apart.
const (
	CausePolicy   = rules.CausePolicy
	CauseDisabled = rules.CauseDisabled
	CauseState    = rules.CauseState
	CauseRevoked  = rules.CauseRevoked
	CauseAbsent   = rules.CauseAbsent
)

// Denial says why the policy, or the state of a key, refuses.
type Denial struct {
	Caller    string
	Operation string
	Key       string
	Reason    string
	Cause     rules.Cause
}

// Error gives the denial in the words that the command line prints.
func (d *Denial) Error() string {
	return d.Caller + " may not " + d.Operation + " with " + d.Key + " (" + d.Reason + ")"
}

// Unwrap makes a Denial an ErrDenied.
func (d *Denial) Unwrap() error { return ErrDenied }

// Op is one operation of the choke point. The set is closed: the types below.
type Op interface{ op() }

// Release hands leased keys to the one-time key of a verified request.
type Release struct {
	Request *wire.Request
	Sealed  wire.Hash // SealedHash of the sealed request
	Ahead   bool      // of need, for a standing request
}

// Use has the server itself use one key for one item.
type Use struct {
	// Operation is encrypt or decrypt (a field), seal or open (the raw form, whose
	// version goes beside it), sign, verify, public-key, mac, verify-mac,
	// wrapping-key (an RSA key's public half) or unwrap-rsa, or hand-over: the leaf
	// for purpose wrap itself, which takes what a release takes.
	Operation string
	Item      wire.Item
	Request   wire.Hash // hash of what the door received
	Index     uint64    // of the item in the request
	Input     []byte    // plaintext, ciphertext or message
	Proof     []byte    // signature or MAC to verify
	Context   []byte    // bound to a ciphertext
	Scheme    string    // of signatures and public-key encryption; "" = the algorithm's default
	Prehashed bool      // Input is the SHA-256 digest of what is signed
	Route     string
	Reason    string            // the caller's own words, at most 1,024 bytes
	Asked     map[string]string // what the caller's protocol says about the request, as the policy schema names it
}

// MaxTogether is how many uses one UseAll holds.
const MaxTogether = 32

// UseAll is several uses, decided with the facts of one moment.
type UseAll struct{ Uses []*Use }

// List asks which keys the caller may use.
type List struct{}

// Describe asks what a key is; whoever policy permits any use of it may know, also
// while it is disabled.
type Describe struct{ Name, Route string }

// CreateKey makes a key with the settings that keys have by default, for a caller
// whom policy permits key:create.
type CreateKey struct{ Name, Algorithm, Route string }

// RotateKey orders a key's next version, for a caller whom policy permits
// key:rotate.
type RotateKey struct{ Name, Route string }

// RetireKey disables a key at once, for a caller whom policy permits key:retire.
// Destroying it is for people.
type RetireKey struct{ Name, Route string }

// Certify records and issues a workload certificate: by invite or renewal.
type Certify struct {
	Enroll *wire.Enroll // one of the two
	Renew  *wire.Renew
	Sealed wire.Hash
}

// Propose brings a body that people signed.
type Propose struct{ Entry []byte }

// ReadRecords reads the authority log from a position on.
type ReadRecords struct{ From uint64 }

// ReadPending reads the bodies that wait for signatures.
type ReadPending struct{}

// ReadStatus reads the server's condition.
type ReadStatus struct{}

// ReadReach reads how clients reach the server without a port.
type ReadReach struct{}

// ReadAudit reads audit leaves from a position on.
type ReadAudit struct {
	From audit.Position
	N    uint64
}

// ReadRevocation asks how far a revocation has come. It is answered when that is
// done, and after Wait (10 s at most) if it isn't.
type ReadRevocation struct {
	holding.Question
	Wait time.Duration
}

// ExportAudit writes the whole audit archive.
type ExportAudit struct{ To io.Writer }

// MakeBackup writes a backup.
type MakeBackup struct{ To io.Writer }

func (*Release) op()        {}
func (*Use) op()            {}
func (*UseAll) op()         {}
func (*List) op()           {}
func (*Describe) op()       {}
func (*CreateKey) op()      {}
func (*RotateKey) op()      {}
func (*RetireKey) op()      {}
func (*Certify) op()        {}
func (*Propose) op()        {}
func (*ReadRecords) op()    {}
func (*ReadPending) op()    {}
func (*ReadStatus) op()     {}
func (*ReadReach) op()      {}
func (*ReadAudit) op()      {}
func (*ReadRevocation) op() {}
func (*ExportAudit) op()    {}
func (*MakeBackup) op()     {}

// Answer is what an Op gives; each Op has its own type below.
type Answer interface{ answer() }

// Released is the sealed release.
type Released struct {
	Sealed []byte
	Epoch  wire.Epoch // of the grant in it
	Grant  *wire.Grant
}

// Used is the result of one Use.
type Used struct {
	Output   []byte // ciphertext, plaintext, signature, MAC or public key (PKIX DER)
	Verified bool
	Key      string
	ID       wire.KeyID
	Version  uint64
}

// UsedAll are the results of a UseAll, each in its place.
type UsedAll struct{ Results []UseResult }

// UseResult is what became of one use of several: one of the two.
type UseResult struct {
	Used *Used
	Err  error
}

// Listed are the keys that the caller may use.
type Listed struct{ Keys []KeyInfo }

// KeyInfo is one key as a workload sees it.
type KeyInfo = report.KeyInfo

// Described is a key as somebody sees it who may use it.
type Described struct {
	KeyInfo  // Operations: those that policy permits the caller, whatever the key's state
	Disabled bool
	Created  time.Time
	Rotation time.Duration // between versions; 0: only on order
	Versions []VersionInfo // from the first
}

// VersionInfo is one version of a key.
type VersionInfo = report.VersionInfo

// Certified is the signed answer to an enrolment or renewal.
type Certified struct{ Signed []byte }

// Proposed says what became of a body.
type Proposed struct {
	Outcome authority.Outcome
	Note    string // what the server still has to do for it, "" if nothing
}

// Records are opened records of the authority log.
type Records struct{ Records []wire.Opened }

// PendingBodies are signed bodies that wait.
type PendingBodies struct{ Entries [][]byte }

// Reach is how clients reach the server at relays and directories.
type Reach struct {
	Addresses []string // none: by its port alone
	Token     []byte   // opens its mailbox; empty: it has none
}

// Leaves are audit leaves.
type Leaves struct{ Entries []audit.Entry }

// Revocation is how far one has come.
type Revocation struct{ *holding.Revocation }

// Done answers what streams its output.
type Done struct{}

func (*Released) answer()      {}
func (*Used) answer()          {}
func (*UsedAll) answer()       {}
func (*Listed) answer()        {}
func (*Described) answer()     {}
func (*Certified) answer()     {}
func (*Proposed) answer()      {}
func (*Records) answer()       {}
func (*PendingBodies) answer() {}
func (*Status) answer()        {}
func (*Reach) answer()         {}
func (*Leaves) answer()        {}
func (*Revocation) answer()    {}
func (*Done) answer()          {}
