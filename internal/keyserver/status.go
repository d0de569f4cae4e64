// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"errors"

	"claviger/internal/authority"
	"claviger/internal/keyserver/report"
	"claviger/internal/secret"
)

// Status answers ReadStatus.
type Status struct{ report.Status }

func (c *Core) status() *Status {
	s := &Status{report.Status{Domain: c.o.Domain, Server: c.id, Protection: secret.Protection(), Unprotected: secret.CurrentUsage().Unlocked}}
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
