// SPDX-License-Identifier: Apache-2.0

package api

import (
	"time"

	"claviger/internal/keyserver"
	"claviger/internal/members"
)

// status is the JSON of keyserver.Status, for `claviger status`.
type status struct {
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
	Admins      []adminStatus  `json:"admins"`
	Recovery    bool           `json:"recovery_quorum"`
	Servers     []serverStatus `json:"servers"`
	Revoked     bool           `json:"everything_revoked"`
	Voids       int            `json:"void_records"`
	Erasure     uint64         `json:"erasure_epoch"`
	Backups     int            `json:"backups_listed"`
	Audit       auditStatus    `json:"audit"`
	Protection  string         `json:"memory_protection"` // memfd_secret, mlock or none
	Unprotected int            `json:"unprotected_bytes"`
	Root        rootStatus     `json:"root"`
	Standing    int            `json:"standing_requests"`
	Forks       []string       `json:"contradicting_servers"`
	Problems    []string       `json:"problems"`
}

// rootStatus is what opens the root of this server.
type rootStatus struct {
	Kind string `json:"kind"`           // passphrase, shares or key file
	Need int    `json:"need,omitempty"` // of shares: how many open it
	Of   int    `json:"of,omitempty"`   // and how many there are
}

// adminStatus is one admin; Confirmed says whether the key has signed anything.
type adminStatus struct {
	Name      string `json:"name"`
	Confirmed bool   `json:"confirmed"`
}

// serverStatus is one server of the member chain.
type serverStatus struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Status string `json:"status"`
}

// auditStatus is the state of this server's audit log.
type auditStatus struct {
	Log     uint64 `json:"log"`
	Leaves  uint64 `json:"leaves"`
	GivenUp string `json:"given_up,omitempty"`
}

func statusOf(k *keyserver.Status) status {
	m := k.Members
	s := status{
		Schema: 1, Domain: k.Domain.String(), Name: m.Genesis.Name, Demo: m.Genesis.Demo, Strict: m.Genesis.Strict,
		Server: k.Server.String(), Epoch: k.Epoch.String(), Head: k.Head.String(), Keys: k.Keys,
		Threshold: m.Keys.Threshold, Recovery: m.Recovery.Threshold > 0,
		Revoked: k.Revoked, Voids: k.Voids, Erasure: k.Erasure, Backups: k.Backups,
		Audit:      auditStatus{Log: k.AuditLog, Leaves: k.AuditLeaves, GivenUp: k.AuditGivenUp},
		Protection: k.Protection, Unprotected: k.Unprotected, Problems: problems(k),
		Standing: k.Standing, Forks: []string{},
	}
	for _, id := range k.Forks {
		s.Forks = append(s.Forks, id.String())
	}
	for _, a := range m.Keys.Keys {
		s.Admins = append(s.Admins, adminStatus{a.Name, k.Confirmed[a.Name]})
	}
	for _, srv := range m.Servers {
		s.Servers = append(s.Servers, serverStatus{srv.ID().String(), srv.Name, srv.Status.String()})
	}
	return s
}

// problems says what an operator should look at, one line each.
func problems(k *keyserver.Status) []string {
	out := []string{}
	for _, a := range k.Members.Keys.Keys {
		if !k.Confirmed[a.Name] {
			out = append(out, "admin "+a.Name+" has not confirmed: claviger admin confirm")
		}
	}
	if !k.Recovery.IsZero() {
		out = append(out, "the recovery quorum announced other authority keys, which can take effect from "+k.Recovery.UTC().Format(time.RFC3339)+": claviger audit tail")
	}
	if countActive(k.Members) == 1 {
		out = append(out, "one server only: if it is put back together with its head file, nothing else remembers")
	}
	if k.Members.Recovery.Threshold == 0 {
		out = append(out, "no recovery quorum: losing the authority keys freezes the log")
	}
	if k.Trouble != nil {
		out = append(out, k.Trouble.Error())
	}
	if k.AuditGivenUp != "" {
		out = append(out, "an audit log was given up: "+k.AuditGivenUp)
	}
	return out
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
