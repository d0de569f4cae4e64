// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
)

const (
	maxInFlight  = 1024 // requests with public-key work, running or waiting
	maxEnrolling = 64   // of them, enrolments: anyone may send those
	maxAcking    = 256  // of them, acknowledgements
	workPerCPU   = 4
)

// ErrBusy means that a bound is reached: the request was not looked at, and may
// be sent again in a second.
var ErrBusy = errors.New("too many requests")

// Gate bounds the requests in flight and, among them, those that compute. A
// request that would wait longer than it is worth is told so at once, while
// answering costs nothing yet.
type Gate struct {
	all    chan struct{}
	enroll chan struct{}
	acks   chan struct{}
	cpu    chan struct{}
}

// NewGate returns a gate for this process's processors.
func NewGate() *Gate {
	return &Gate{make(chan struct{}, maxInFlight), make(chan struct{}, maxEnrolling), make(chan struct{}, maxAcking), make(chan struct{}, workPerCPU*runtime.GOMAXPROCS(0))}
}

// Admit takes one of the places of requests with public-key work or fails at
// once with ErrBusy. The caller calls leave when its answer is made.
func (g *Gate) Admit() (leave func(), err error) { return admit(g.all) }

// AdmitEnrolment takes one of the few places of enrolments besides.
func (g *Gate) AdmitEnrolment() (leave func(), err error) { return admit(g.enroll) }

// AdmitAcknowledgement takes one of the places of acknowledgements besides.
func (g *Gate) AdmitAcknowledgement() (leave func(), err error) { return admit(g.acks) }

func admit(places chan struct{}) (leave func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	default:
		return nil, fmt.Errorf("%w: the server has as much to do as it can; try again in a second", ErrBusy)
	}
}

// Work waits for a turn to compute. The turn is given back before waiting for
// the disk; giving it back twice does nothing. The error is that of the context.
func (g *Gate) Work(ctx context.Context) (done func(), err error) {
	select {
	case g.cpu <- struct{}{}: // as almost always: then the context isn't asked for its channel
		return g.turn(), nil
	default:
	}
	select {
	case g.cpu <- struct{}{}:
		return g.turn(), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waited too long for a turn: %w", context.Cause(ctx))
	}
}

// turn gives a turn back, once.
func (g *Gate) turn() (done func()) {
	var over atomic.Bool
	return func() {
		if over.CompareAndSwap(false, true) {
			<-g.cpu
		}
	}
}
