// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"time"

	"claviger/internal/wire"
)

// Limits bound what callers can take; a zero field means its default, which
// docs/spec/relay.md, section 4, tells.
type Limits struct {
	Connections           int     // in all; more wait
	ConnectionsPerAddress int     // of one address (IPv6: of one /64); more are closed
	Rate                  float64 // requests a second of one address, after Burst
	Burst                 int
	UnderWay              int           // requests of one mailbox that wait for an answer, in one process
	Bodies                int           // messages that are being read or wait, in all
	BodiesPerAddress      int           // of one address
	Parcels               int           // of one mailbox
	ParcelBytes           int64         // of one mailbox
	ParcelLife            time.Duration // at most
	Ring                  int           // what passed, for the dump
}

func (l Limits) filled() Limits {
	set(&l.Connections, 20000)
	set(&l.ConnectionsPerAddress, 1000)
	set(&l.Rate, 200)
	set(&l.Burst, 400)
	set(&l.UnderWay, 256)
	set(&l.Bodies, 1024)
	set(&l.BodiesPerAddress, 128)
	set(&l.Parcels, 64)
	set(&l.ParcelBytes, 4<<20)
	set(&l.ParcelLife, 48*time.Hour)
	set(&l.Ring, 4096)
	return l
}

func set[T int | int64 | float64 | time.Duration](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

// Fixed bounds.
const (
	silence      = 15 * time.Second // a peer that takes or sends nothing within a message
	wholeMessage = time.Minute      // a message in all, whoever sends a byte now and then
	answerIn     = 15 * time.Second // after which a request is given up
	skew         = time.Minute      // between the relay's clock and a signature's
	queueBytes   = 8 << 20          // what waits to be written to one receiver
	boardRate    = 10               // writes of one mailbox to a board in a second
	boardBurst   = 20
	maxEnds      = 3                      // streams that end while one message is handed over
	awayTries    = 30                     // to bring an answer to a process that
	awayPause    = 100 * time.Millisecond // has lost its NATS server and finds another
)

// bodyLimits by what is sent.
const (
	maxParcelBody = wire.MaxParcel
	maxTokensBody = 1 << 10
)
