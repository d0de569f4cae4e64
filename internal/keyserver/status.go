// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"errors"

	"claviger/internal/authority"
	"claviger/internal/members"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// Status is the condition of a server and its domain, for `claviger status`.
type Status struct {
	Schema      int            `json:"schema"` // 1
	Domain      string         `json:"domain"`
	Name        string         `json:"name"`
	Demo        bool           `json:"demo"`
	Strict      bool           `json:"strict"`
	Server      string         `json:"server"`
	Epoch       string         `json:"epoch"`
	Head        string         `json:"head"`
	Keys        int            `json:"keys"`
	Threshold   uint64         `json:"threshold"`
	Admins      []AdminStatus  `json:"admins"`
	Recovery    bool           `json:"recovery_quorum"`
	Servers     []ServerStatus `json:"servers"`
	Revoked     bool           `json:"everything_revoked"`
	Voids       int            `json:"void_records"`
	Erasure     uint64         `json:"erasure_epoch"`
	Backups     int            `json:"backups_listed"`
	Audit       AuditStatus    `json:"audit"`
	Protection  string         `json:"memory_protection"` // memfd_secret, mlock or none
	Unprotected int            `json:"unprotected_bytes"`
	Problems    []string       `json:"problems"`
}

// AdminStatus is one admin; Confirmed says whether the key has signed anything.
type AdminStatus struct {
	Name      string `json:"name"`
	Confirmed bool   `json:"confirmed"`
}

// ServerStatus is one server of the member chain.
type ServerStatus struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Status string `json:"status"`
}

// AuditStatus is the state of this server's audit log.
type AuditStatus struct {
	Log     uint64 `json:"log"`
	Leaves  uint64 `json:"leaves"`
	GivenUp string `json:"given_up,omitempty"`
}

func (c *Core) status(_ context.Context) *Status {
	s := &Status{Schema: 1, Domain: c.o.Domain.String(), Server: c.id.String(), Protection: secret.Protection(), Problems: []string{}}
	c.log.View(func(st *authority.State) { s.fill(st) })
	s.Audit.Log, s.Audit.Leaves = c.audit.Size()
	s.Audit.GivenUp = c.audit.Opened().GivenUp
	s.Unprotected = secret.CurrentUsage().Unlocked
	if err := errors.Join(c.log.Err(), c.audit.Healthy()); err != nil {
		s.Problems = append(s.Problems, err.Error())
	}
	if s.Audit.GivenUp != "" {
		s.Problems = append(s.Problems, "an audit log was given up: "+s.Audit.GivenUp)
	}
	return s
}

func (s *Status) fill(st *authority.State) {
	m := st.Members
	s.Name, s.Demo, s.Strict = m.Genesis.Name, m.Genesis.Demo, m.Genesis.Strict
	s.Epoch, s.Head, s.Keys = st.Epoch.String(), st.Head.String(), st.KeyCount()
	s.Threshold, s.Recovery = m.Keys.Threshold, m.Recovery.Threshold > 0
	s.Revoked, s.Voids, s.Erasure, s.Backups = st.Revoked, len(st.Voids), st.Erasure, len(st.Backups())
	for _, k := range m.Keys.Keys {
		s.Admins = append(s.Admins, AdminStatus{k.Name, st.Confirmed(k.Name)})
		if !st.Confirmed(k.Name) {
			s.Problems = append(s.Problems, "admin "+k.Name+" has not confirmed: claviger admin confirm")
		}
	}
	for _, srv := range m.Servers {
		s.Servers = append(s.Servers, ServerStatus{srv.ID().String(), srv.Name, srv.Status.String()})
	}
	if active := countActive(m); active == 1 {
		s.Problems = append(s.Problems, "one server only: if it is put back together with its head file, nothing else remembers")
	}
	if !s.Recovery {
		s.Problems = append(s.Problems, "no recovery quorum: losing the authority keys freezes the log")
	}
}

func countActive(m *members.State) int {
	n := 0
	for _, srv := range m.Servers {
		if srv.Status == members.StatusActive {
			n++
		}
	}
	return n
}

var _ Answer = (*Status)(nil)

// Epoch of the server's state; tests and the demo read it.
func (s *Server) Epoch() (e wire.Epoch, err error) {
	err = s.with(context.Background(), func(_ context.Context, c *Core) error { e = c.epoch(); return nil })
	return e, err
}
