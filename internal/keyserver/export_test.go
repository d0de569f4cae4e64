// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"claviger/internal/clock"
	"claviger/internal/wire"
)

// What tests outside the package need to see.
var (
	LoggedSwitch = loggedSwitch
	NewReplays   = func(c clock.Clock, most, bytes int) *Replays {
		r := newReplays(c)
		r.most, r.bytes = most, bytes
		return r
	}
	NewSources       = newSources
	LimitConnections = limitConnections
)

// Replays lets tests call its methods.
type Replays = replays

// Begin, Verified, Finish and Remembered are the memory against replay.
var (
	Begin    = (*replays).begin
	Verified = (*replays).verified
	Finish   = (*replays).finish
	Take     = (*sources).take
)

// Remembered counts what the memory holds.
func Remembered(r *Replays) (seen, answers, size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep()
	return len(r.seen), len(r.answers), r.size
}

// RouteInfo is a row of the route table.
type RouteInfo struct {
	Method, Path, Who string
	Body              int64
}

// Routes lists the route table.
func Routes() []RouteInfo {
	var out []RouteInfo
	for _, r := range routes() {
		out = append(out, RouteInfo{r.method, r.path, [...]string{"anyone", "workload", "admin"}[r.who], r.body})
	}
	return out
}

// OpenCore returns the core of an unsealed server.
func (s *Server) OpenCore() *Core {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open.core
}

// FillWork takes every place for requests with public-key work, and returns
// what gives them back.
func (s *Server) FillWork() (free func()) {
	for range cap(s.gate.all) {
		s.gate.all <- struct{}{}
	}
	return func() {
		for range cap(s.gate.all) {
			<-s.gate.all
		}
	}
}

// MetricNames lists the server's own metrics.
func (s *Server) MetricNames() map[string]bool {
	out := map[string]bool{}
	families, _ := s.metrics.registry.Gather()
	for _, f := range families {
		out[f.GetName()] = true
	}
	return out
}

// StatementCap is how many revocations a statement names before it names
// everything.
const StatementCap = wire.MaxRevocations
