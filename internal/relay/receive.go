// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"claviger/internal/wire"
)

// receiver is a stream that a mailbox is read from: the one at its address, and who
// reads at several addresses of one relay has as many. What comes for it waits
// in a queue that is bounded in number and bytes; nothing is said to be taken
// before it was written.
type receiver struct {
	instance [instanceSize]byte
	address  string        // that the owner reads at
	limit    int           // of the queue
	come     chan struct{} // something is in the queue
	parcel   chan struct{} // one has come
	taken    chan struct{} // closed when another stream has the mailbox

	mu    sync.Mutex
	queue []*waiting
	known map[[correlationSize]byte]*waiting // what is in the queue, or being written
	bytes int
	ended bool
	gone  bool // taken is closed
}

// waiting is a request that its sender waits to have handed over. Who waits for
// long says it again, so there may be several to reply to.
type waiting struct {
	correlation [correlationSize]byte
	data        []byte
	replies     []func([]byte)
}

func (w *waiting) reply(with byte) {
	for _, reply := range w.replies {
		reply([]byte{with})
	}
}

func newReceiver(limit int, address string) *receiver {
	x := &receiver{address: address, known: map[[correlationSize]byte]*waiting{}, limit: limit, come: make(chan struct{}, 1), parcel: make(chan struct{}, 1), taken: make(chan struct{})}
	rand.Read(x.instance[:])
	return x
}

// hear takes what the bus brings; it never waits.
func (x *receiver) hear(m Message) {
	s, ok := parseSaid(m.Data)
	if !ok {
		return
	}
	switch s.kind {
	case sayRequest:
		x.enqueue([correlationSize]byte(s.id), s.data, m.Reply)
	case sayParcel:
		signal(x.parcel)
	case sayTakeover:
		x.mu.Lock()
		defer x.mu.Unlock()
		if [instanceSize]byte(s.id) != x.instance && string(s.data) == x.address && !x.gone {
			x.gone = true
			close(x.taken)
		}
	}
}

func (x *receiver) enqueue(correlation [correlationSize]byte, data []byte, reply func([]byte)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended {
		reply([]byte{replyOffline})
		return
	}
	if w := x.known[correlation]; w != nil {
		w.replies = append(w.replies, reply)
		return
	}
	w := &waiting{correlation, data, []func([]byte){reply}}
	if len(x.known) >= x.limit || x.bytes+len(data) > queueBytes {
		w.reply(replyFull)
		return
	}
	x.queue = append(x.queue, w)
	x.known[correlation] = w
	x.bytes += len(data)
	signal(x.come)
}

// signal says that there is something, once for any number of times.
func signal(to chan struct{}) {
	select {
	case to <- struct{}{}:
	default: // it is known already
	}
}

// take returns the next of the queue, nil if it is empty.
func (x *receiver) take() *waiting {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.queue) == 0 {
		x.queue = nil // or its array would be kept for a day without requests
		return nil
	}
	w := x.queue[0]
	x.queue[0] = nil
	x.queue = x.queue[1:]
	return w
}

// done says how it went with one that was taken from the queue.
func (x *receiver) done(w *waiting, written error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.known, w.correlation)
	x.bytes -= len(w.data)
	if written != nil {
		w.reply(replyOffline)
		return
	}
	w.reply(replyTaken)
}

// end tells all that wait, and all that still come, that nobody is here.
func (x *receiver) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ended = true
	for _, w := range x.known {
		w.reply(replyOffline)
	}
	clear(x.known)
	x.queue = nil
}

// receive streams deliveries to the owner of a mailbox until it goes, or reads
// from another stream.
func (f *Front) receive(c *call) error {
	x := newReceiver(f.o.Limits.UnderWay, c.audience)
	stop, err := f.o.Bus.Listen(boxAddress(c.mailbox), x.hear)
	if err != nil {
		return err
	}
	defer x.end()
	defer stop()
	// The owner may have come back before its old line was found dead: the newest
	// stream at an address is the one that it reads. Those at other addresses are as
	// good: if they were ended too, each would come back and end the others again.
	if err := f.o.Bus.Tell(boxAddress(c.mailbox), say(sayTakeover, x.instance[:], []byte(c.audience))); err != nil {
		return err
	}
	s, err := f.stream(c)
	if err != nil {
		return err
	}
	defer f.present(c)()
	return f.deliver(c, x, s)
}

// rescan is how often a mailbox is looked through although nothing was said of a
// parcel: the bus may lose a word.
const rescan = 20 // times the interval between signs of life

// deliver writes what comes. Requests go before parcels.
func (f *Front) deliver(c *call, x *receiver, s *stream) error {
	alive := time.NewTicker(f.alive)
	defer alive.Stop()
	lying := f.parcelsOf(c.mailbox)
	for beats := 1; ; {
		if w := x.take(); w != nil {
			if x.hand(s, w) != nil {
				return nil
			}
			continue
		}
		if lying.more {
			if f.deliverParcel(c.r.Context(), lying, s) != nil {
				return nil
			}
			continue
		}
		select {
		case <-x.come:
		case <-x.parcel:
			lying.more = true
		case <-alive.C:
			lying.more = lying.failed || beats%rescan == 0
			beats++
			if s.frame(nil) != nil {
				return nil
			}
		case <-x.taken:
			return nil
		case <-c.r.Context().Done():
			return nil
		case <-f.stopping:
			return nil
		}
	}
}

// hand writes one request.
func (x *receiver) hand(s *stream, w *waiting) error {
	err := s.frame(wire.Marshal(wire.Delivery{Correlation: w.correlation[:], Data: w.data}))
	x.done(w, err)
	return err
}

// lying is how far the parcels of a mailbox have been delivered.
type lying struct {
	mailbox wire.Hash
	after   map[wire.DomainID]uint64
	more    bool
	failed  bool
}

func (f *Front) parcelsOf(mailbox wire.Hash) *lying {
	return &lying{mailbox: mailbox, after: map[wire.DomainID]uint64{}, more: true}
}

// deliverParcel writes the next parcel, or finds that there is none. Only a failed
// write is an error: what can't be read at present is tried again later.
func (f *Front) deliverParcel(ctx context.Context, l *lying, s *stream) error {
	l.more, l.failed = false, false
	for _, domain := range f.o.Domains {
		p, err := f.o.Parcels.Next(ctx, domain, l.mailbox, l.after[domain])
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			f.o.Logger.Warn("Parcels can't be read", "error", err)
			l.failed = true
			continue
		}
		l.after[domain], l.more = p.Number, true
		if p.Expires.UnixMilli() <= f.now() {
			continue // it goes any moment
		}
		if err := s.frame(wire.Marshal(wire.Delivery{Number: p.Number, Data: p.Data})); err != nil {
			return err
		}
	}
	return nil
}
