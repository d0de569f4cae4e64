// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"time"

	"claviger/client"
)

// maxLooked bounds the keys that a client's status asks for.
const maxLooked = 16

// freshness is how recent what a client knows is.
type freshness struct {
	Epoch      string `json:"epoch"`
	Statement  *int64 `json:"statement_age_seconds,omitempty"` // of the newest one; nil: none was believed
	Server     string `json:"server,omitempty"`                // that answered last
	ServerName string `json:"server_name,omitempty"`
	Way        string `json:"way,omitempty"` // the address by which it did
}

// leasedRow is a lease that a client has.
type leasedRow struct {
	Name      string `json:"name"`
	ID        string `json:"id"`
	Version   uint64 `json:"version"`
	State     string `json:"state"`
	Operation string `json:"operation"`
	Lease     int64  `json:"lease_left_seconds"`
	Staleness int64  `json:"staleness_left_seconds"`
}

func freshnessOf(f client.Freshness) freshness {
	out := freshness{Epoch: f.Epoch, Server: f.Server, ServerName: f.ServerName, Way: f.Way}
	if f.Stated {
		age := int64(f.Statement / time.Second)
		out.Statement = &age
	}
	return out
}

func leasedRows(f client.Freshness) []leasedRow {
	out := []leasedRow{}
	for _, k := range f.Keys {
		out = append(out, leasedRow{k.Key, k.ID, k.Version, k.State, k.Operation, int64(k.Lease / time.Second), int64(k.Staleness / time.Second)})
	}
	return out
}

// pairs are f's names and values for people.
func (f freshness) pairs() []string {
	statement := "none"
	if f.Statement != nil {
		statement = duration(uint64(*f.Statement)) + " old"
	}
	server := f.Server
	if f.ServerName != "" {
		server = f.ServerName + " " + server
	}
	return []string{"epoch", f.Epoch, "newest statement", statement, "answered by", server, "over", f.Way}
}

// leasedResult is `key show` under a client's profile.
type leasedResult struct {
	leasedRow
	freshness
}

func (r leasedResult) human(p *printer) {
	p.pairs(append([]string{
		"name", r.Name, "id", r.ID, "version", fmt.Sprint(r.Version), "state", r.State, "leased to", r.Operation,
		"lease left", left(r.Lease), "staleness left", left(r.Staleness),
	}, r.pairs()...)...)
}

func left(seconds int64) string { return duration(uint64(max(seconds, 0))) }

func (e *env) showUsable(ctx context.Context, name string) error {
	if err := checkKeyNames(name); err != nil {
		return err
	}
	c, _, err := e.dial(ctx, "key show")
	if err != nil {
		return err
	}
	defer c.Close()
	f, denied, err := c.Look(ctx, name)
	if err != nil {
		return err
	}
	rows := leasedRows(f)
	if len(rows) == 0 && len(denied) > 0 {
		return denied[0]
	}
	if len(rows) == 0 {
		return client.ErrStale // its lease ended meanwhile
	}
	return e.show(leasedResult{rows[0], freshnessOf(f)})
}

// clientStatus is `status` under a client's profile.
type clientStatus struct {
	Client string `json:"client"`
	Domain string `json:"domain"`
	Demo   bool   `json:"demo,omitempty"`
	freshness
	Keys     []leasedRow `json:"keys"`
	Problems []string    `json:"problems"`
}

func (r clientStatus) human(p *printer) {
	p.pairs(append([]string{"client", r.Client, "domain", r.Domain}, r.freshness.pairs()...)...)
	rows := make([][]string, len(r.Keys))
	for i, k := range r.Keys {
		rows[i] = []string{k.Name, fmt.Sprint(k.Version), k.Operation, left(k.Lease), left(k.Staleness)}
	}
	p.table([]string{"KEY", "VERSION", "LEASED TO", "LEASE LEFT", "STALENESS LEFT"}, rows)
	for _, problem := range r.Problems {
		p.line("problem: %s", problem)
	}
}

func (e *env) showClientStatus(ctx context.Context) error {
	c, p, err := e.dial(ctx, "status")
	if err != nil {
		return err
	}
	defer c.Close()
	known := c.Known()
	f, denied, err := c.Look(ctx, known[:min(len(known), maxLooked)]...)
	if err != nil {
		return err
	}
	r := clientStatus{Client: p.Client, Domain: p.Domain, Demo: p.Demo, freshness: freshnessOf(f), Keys: leasedRows(f), Problems: []string{}}
	for _, no := range denied {
		r.Problems = append(r.Problems, no.Error())
	}
	if len(known) > maxLooked {
		r.Problems = append(r.Problems, fmt.Sprintf("%d keys are known; these are the first %d", len(known), maxLooked))
	}
	return e.show(r)
}
