// SPDX-License-Identifier: Apache-2.0

package holding

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"claviger/internal/audit"
	"claviger/internal/authority"
	"claviger/internal/authority/revoked"
	"claviger/internal/clock"
	"claviger/internal/holders"
	"claviger/internal/members"
	"claviger/internal/wire"
)

const (
	// lookEvery is how often a question about a revocation is looked at again.
	lookEvery = 500 * time.Millisecond
	// MaxWait is how long such a question is held back at most.
	MaxWait = 10 * time.Second
)

// ErrNotFound means that no such revocation is known.
var ErrNotFound = errors.New("not found")

// Options of a Holding. All are required.
type Options struct {
	Log     *authority.Log
	Audit   *audit.Log
	Server  wire.ServerID // this one
	Clock   clock.Clock
	Name    authority.RevocationNamer
	Observe func(time.Duration) // gets each time to dark
}

// Holding is what a server knows of who holds leases. It is safe for concurrent
// use.
type Holding struct {
	o     Options
	table *holders.Table
}

// Open begins with what the audit log says of earlier runs. With an error that
// can't be read; the Holding is as good as it can be all the same, and its reports
// say what is unknown.
func Open(o Options) (*Holding, error) {
	h := &Holding{o: o}
	leases, since, err := h.recall(maxRecalled)
	h.table = holders.New(holders.Options{Now: o.Clock.Now, Since: since, Observe: o.Observe})
	h.Hear(h.epoch())
	for _, l := range leases {
		h.table.Record(holders.Holder{Client: l.client}, l.epoch, []holders.Lease{l.lease})
	}
	return h, err
}

func (h *Holding) epoch() (e wire.Epoch) {
	h.o.Log.View(func(s *authority.State) { e = s.Epoch })
	return e
}

// Hear takes the table on to the log's present state, if it doesn't know this
// epoch yet.
func (h *Holding) Hear(epoch wire.Epoch) {
	if !h.table.Behind(epoch) {
		return
	}
	var s holders.State
	h.o.Log.View(func(st *authority.State) {
		s.Epoch, s.Alone = st.Epoch, len(others(st.Members, h.o.Server)) == 0
		s.Orders = orders(st.Revoking(h.o.Clock.Now().UnixMilli()))
	})
	h.table.Advance(s)
}

func orders(running []revoked.Entry) []holders.Order {
	out := make([]holders.Order, 0, len(running))
	for _, e := range running {
		out = append(out, holders.Order{Of: e.Of, ID: e.ID, Epoch: e.Epoch, At: e.Since, Lease: e.Lease})
	}
	return out
}

// others are the servers that vouch for the domain besides this one.
func others(m *members.State, own wire.ServerID) []members.Member {
	return slices.DeleteFunc(slices.Clone(m.Servers), func(s members.Member) bool {
		return s.Status != members.StatusActive || s.ID() == own
	})
}

// Gave notes what a release gave out; its leaves are durable.
func (h *Holding) Gave(mailbox wire.Hash, grant *wire.Grant) {
	var leases []holders.Lease
	for _, i := range grant.Items {
		if i.Decision == wire.DecisionAllowed {
			leases = append(leases, holders.Lease{
				Key: i.KeyID, Version: i.Version, Revocation: i.Revocation, Issued: grant.Issued, Lease: i.Lease, Staleness: i.Staleness,
			})
		}
	}
	h.table.Record(holders.Holder{Client: grant.Client, Mailbox: mailbox}, grant.Epoch, leases)
}

// Stated notes a statement that was signed.
func (h *Holding) Stated(epoch wire.Epoch, issued int64) {
	h.Hear(epoch)
	h.table.Stated(epoch, issued)
}

// Answered notes a certificate's answer, which keeps its holder going too.
func (h *Holding) Answered(epoch wire.Epoch, issued int64) {
	h.Hear(epoch)
	h.table.Answered(epoch, issued)
}

// Untold reports whether something is revoked that no statement has said.
func (h *Holding) Untold() bool { return h.table.Untold() }

// Sweep is to be called every few seconds.
func (h *Holding) Sweep() { h.table.Sweep() }

// Holders is how many hold a lease.
func (h *Holding) Holders() int { return h.table.Holders() }

// Revocation is how far a revocation has come.
type Revocation struct {
	*holders.Report
	Server wire.ServerID
	What   []string         // what is revoked, in words
	Others []members.Member // servers that vouch for the domain too and may not have heard
	Done   bool             // nobody, known or not, can use any more what was revoked
}

// Question names a revocation: by its record, or with a zero epoch the newest of a
// thing (see authority.State.Revoking).
type Question struct {
	Epoch wire.Epoch
	Of    string
}

// Watch answers when the revocation is done or taken back, and after a while
// (MaxWait at most) how far it has come. ErrNotFound.
func (h *Holding) Watch(ctx context.Context, q Question, wait time.Duration) (*Revocation, error) {
	end := h.o.Clock.Boot() + min(wait, MaxWait)
	for {
		r, err := h.look(q)
		left := end - h.o.Clock.Boot()
		if err != nil || r.Done || r.TakenBack != 0 || left <= 0 {
			return r, err
		}
		pause := time.NewTimer(min(left, lookEvery))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return r, nil
		}
	}
}

func (h *Holding) look(q Question) (*Revocation, error) {
	h.Hear(h.epoch())
	var report *holders.Report
	var ok bool
	if q.Epoch != (wire.Epoch{}) {
		report, ok = h.table.Report(q.Epoch)
	} else {
		report, ok = h.table.ReportOf(q.Of)
	}
	if !ok {
		return nil, fmt.Errorf("%w: no revocation that began within the longest lease and a day", ErrNotFound)
	}
	r := &Revocation{Report: report, Server: h.o.Server}
	h.o.Log.View(func(s *authority.State) {
		r.Others = others(s.Members, h.o.Server)
		for _, of := range report.Of {
			r.What = append(r.What, inWords(s, of))
		}
	})
	// What another server has given out, or still vouches for, isn't known here.
	r.Done = report.Done() && (len(r.Others) == 0 || report.Now >= report.Latest)
	return r, nil
}

// inWords says what a revocation is of: see authority.State.Revoking.
func inWords(s *authority.State, of string) string {
	kind, rest, _ := strings.Cut(of, ":")
	id, version, _ := strings.Cut(rest, "/")
	switch kind {
	case "key":
		for k := range s.ScanKeys() {
			if k.ID.String() == id {
				return strings.TrimSuffix("key "+k.Name+" version "+version, " version ")
			}
		}
	case "client":
		return "client " + rest
	case "domain":
		return "everything"
	}
	return of
}
