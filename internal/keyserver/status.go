// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"errors"
	"time"

	"claviger/internal/authority"
	"claviger/internal/members"
	"claviger/internal/secret"
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

func (c *Core) status() *Status {
	s := &Status{Domain: c.o.Domain, Server: c.id, Protection: secret.Protection(), Unprotected: secret.CurrentUsage().Unlocked}
	c.log.View(func(st *authority.State) {
		s.Members, s.Confirmed = st.Members, map[string]bool{}
		for _, k := range st.Members.Keys.Keys {
			s.Confirmed[k.Name] = st.Confirmed(k.Name)
		}
		s.Epoch, s.Head, s.Keys = st.Epoch, st.Head, st.KeyCount()
		s.Recovery, _ = st.Announced.First(st.Members.Recovery)
		s.Revoked, s.Voids, s.Erasure, s.Backups = st.Revoked, len(st.Voids), st.Erasure, len(st.Backups())
	})
	s.AuditLog, s.AuditLeaves = c.audit.Size()
	s.AuditGivenUp = c.audit.Opened().GivenUp
	s.Trouble = errors.Join(c.log.Err(), c.audit.Healthy(), c.hearsay.Err())
	s.Standing, s.Forks = c.ahead.Count(), c.hearsay.Forks()
	return s
}
