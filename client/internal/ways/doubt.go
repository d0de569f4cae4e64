// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"log/slog"
	"sync"
	"time"

	"claviger/internal/clock"
	"claviger/internal/wire"
)

const (
	// sayEvery is how often one way's lies of one kind are logged.
	sayEvery = time.Minute
	// maxSaid bounds what is remembered of that.
	maxSaid = 1024
)

// doubts says who doesn't tell the truth. Another way may have helped, so that
// nobody sees an error: a person still has to know.
type doubts struct {
	log   *slog.Logger // nil: nobody listens
	clock clock.Clock

	mu   sync.Mutex
	said map[doubt]time.Duration // boot time
}

func newDoubts(o Options) *doubts {
	d := &doubts{log: o.Log, clock: o.Transport.Clock, said: map[doubt]time.Duration{}}
	if d.clock == nil {
		d.clock = clock.System()
	}
	return d
}

// doubt is one kind of lie by one way.
type doubt struct {
	way    string
	server wire.ServerID
	rank   int
}

// hear takes an error that came by a way from a server, if it is known which, and
// logs it if no honest one causes it.
func (d *doubts) hear(w *Way, server wire.ServerID, err error) {
	grade := rank(err)
	if d.log == nil || grade < rankRollback {
		return
	}
	now, key := d.clock.Boot(), doubt{w.Address, server, grade}
	d.mu.Lock()
	last, again := d.said[key]
	quiet := again && now-last < sayEvery || !again && len(d.said) >= maxSaid
	if !quiet {
		d.said[key] = now
	}
	d.mu.Unlock()
	if quiet {
		return
	}
	attrs := []any{"way", w.Address, "error", err}
	if server != (wire.ServerID{}) {
		attrs = append(attrs, "server", server.String())
	}
	if grade == rankRollback {
		d.log.Warn("A server shows an older state than one seen before", attrs...)
		return
	}
	d.log.Warn("A server, or who carries its messages, does not tell the truth", attrs...)
}
