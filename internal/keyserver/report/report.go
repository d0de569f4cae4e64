// SPDX-License-Identifier: Apache-2.0

// Package report holds what a key server tells people of itself and of keys: plain
// data that the choke point fills in and doors write down. It decides and reads
// nothing, and has nothing secret.
package report

import (
	"time"

	"claviger/internal/authority"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// Status is the condition of a server and its domain.
type Status struct {
	Domain    wire.DomainID
	Server    wire.ServerID
	Members   *members.State
	Confirmed map[string]bool // admins by name: whether the key has signed anything
	Epoch     wire.Epoch
	Head      wire.Hash
	Keys      int
	Revoked   bool // everything is
	Voids     int  // records that were void
	Erasure   uint64
	Backups   int       // listed in the log
	Recovery  time.Time // from when the first announced recovery can take effect; zero if none was

	AuditLog     uint64
	AuditLeaves  uint64
	AuditGivenUp string // why a log was given up at the start; "" if none was

	Standing int             // requests that are kept
	Forks    []wire.ServerID // servers that state another history, and are not fenced

	Protection  string // of key memory: secret.Protection
	Unprotected int    // bytes of key memory that could not be locked
	Trouble     error  // why nothing is answered, nil if all is well
}

// KeyInfo is one key as a workload sees it.
type KeyInfo struct {
	Name       string
	ID         wire.KeyID
	Algorithm  string
	Version    uint64 // the current one
	Operations []string
}

// VersionInfo is one version of a key.
type VersionInfo struct {
	Number  uint64
	State   string // wire.StateActive, …
	Created time.Time
}

// Outcome says in a few words what became of a body.
func Outcome(o authority.Outcome) string {
	if o.Applied {
		return "record " + o.Epoch.String()
	}
	return "waits for signatures"
}
