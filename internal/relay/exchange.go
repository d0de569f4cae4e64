// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"sync"
	"time"

	"claviger/internal/relay/bounds"
	"claviger/internal/relay/ring"
	"claviger/internal/wire"
)

// addressAll is where every process listens.
const addressAll = "all"

// boxAddress is where the receiver of a mailbox listens.
func boxAddress(mailbox wire.Hash) string { return "box." + mailbox.String() }

// answerAddress is where the process listens that a correlation names.
func answerAddress(process []byte) string { return "answer." + hex.EncodeToString(process) }

// waiters are the requests of this process that wait for an answer.
type waiters struct {
	process [processSize]byte // random: the beginning of each correlation
	mu      sync.Mutex
	by      map[[correlationSize]byte]chan []byte
}

func newWaiters() *waiters {
	w := &waiters{by: map[[correlationSize]byte]chan []byte{}}
	rand.Read(w.process[:])
	return w
}

// begin names a request. The 24 bytes after the process's name are random: who
// knows a correlation was given it.
func (w *waiters) begin() (correlation [correlationSize]byte, answer <-chan []byte) {
	copy(correlation[:], w.process[:])
	rand.Read(correlation[processSize:])
	ch := make(chan []byte, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.by[correlation] = ch
	return correlation, ch
}

// take gives an answer to who waits, once.
func (w *waiters) take(correlation [correlationSize]byte, answer []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	ch, ok := w.by[correlation]
	if ok {
		ch <- answer // of capacity 1, and nobody takes twice
		delete(w.by, correlation)
	}
	return ok
}

func (w *waiters) waits(correlation [correlationSize]byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.by[correlation] != nil
}

func (w *waiters) end(correlation [correlationSize]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.by, correlation)
}

// exchange hands a sealed message to the receiver of a mailbox and waits for the
// answer.
func (f *Front) exchange(c *call) error {
	token, ok := tokenOf(c.r)
	// Security: a stranger can't fill a mailbox, nor make the relay read what he
	// would send there (T-66).
	if !ok || !f.boards.opensWith(c.mailbox, token) {
		return errToken
	}
	if !f.underWay.Enter(c.mailbox) {
		return errBusy
	}
	defer f.underWay.Leave(c.mailbox)
	if err := f.read(c, wire.MaxSealedSize); err != nil {
		return err
	}
	if c.seen.Type, ok = ring.SealedType(c.body); !ok {
		return errMalformed
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), f.answerIn)
	defer cancel()
	correlation, answer := f.waiters.begin()
	defer f.waiters.end(correlation)
	if err := f.handOver(ctx, c.mailbox, say(sayRequest, correlation[:], c.body)); err != nil {
		return err
	}
	c.body = nil // it has been written; what waits needs no memory
	select {
	case data := <-answer:
		f.ring.Add(ring.Passed{At: f.o.Clock.Now().UTC(), Address: c.from, What: "exchanged", Mailbox: c.seen.Mailbox, Type: ring.OuterType(data), Size: len(data), Status: http.StatusOK})
		return c.write(f, data)
	case <-f.stopping:
		return context.Canceled
	case <-ctx.Done():
		return late(c.r.Context())
	}
}

// late tells a request that was given up from one whose sender has gone.
func late(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errTimeout
}

// handOver returns once the receiver's stream has the message. A bus of several
// servers can lose one on its way to a receiver that has just gone, so it is said
// again; who hears it twice gets the same correlation twice. A stream that ends
// speaks for itself alone: others may be there, and if not, the bus knows.
func (f *Front) handOver(ctx context.Context, mailbox wire.Hash, message []byte) error {
	for ends := 0; ; {
		reply, err := f.askOnce(ctx, boxAddress(mailbox), message)
		switch {
		case errors.Is(err, ErrNobody):
			return errOffline
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			continue
		case errors.Is(err, context.DeadlineExceeded):
			return errTimeout
		case err != nil:
			return err
		case len(reply) == 1 && reply[0] == replyTaken:
			return nil
		case len(reply) == 1 && reply[0] == replyFull:
			return errBusy
		case len(reply) == 1 && reply[0] == replyOffline && ends < maxEnds:
			ends++
			continue
		}
		return errOffline
	}
}

func (f *Front) askOnce(ctx context.Context, address string, message []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, f.answerIn/5)
	defer cancel()
	return f.o.Bus.Ask(ctx, address, message)
}

// answer hands the answer to a request on to who waits for it.
func (f *Front) answer(c *call) error {
	correlation := [correlationSize]byte(c.mailbox) // of the same length
	own := [processSize]byte(correlation[:]) == f.waiters.process
	if own && !f.waiters.waits(correlation) {
		return errNoRoute
	}
	if err := f.read(c, wire.MaxSealedSize); err != nil {
		return err
	}
	if len(c.body) == 0 {
		return errMalformed
	}
	c.seen.Type = ring.OuterType(c.body)
	if own {
		if !f.waiters.take(correlation, c.body) {
			return errNoRoute
		}
		f.wanted(c)
		return nil
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), f.silence)
	defer cancel()
	reply, err := f.bring(ctx, answerAddress(correlation[:processSize]), say(sayAnswer, correlation[:], c.body))
	if errors.Is(err, ErrNobody) || err == nil && (len(reply) != 1 || reply[0] != replyTaken) {
		return errNoRoute
	}
	if err == nil {
		f.wanted(c)
	}
	return err
}

// bring hands an answer to the process that waits for it, also if that is away for a
// moment: its client would wait in vain and ask again. Correlations are easily
// invented, so only as many wait here as one mailbox may have under way.
func (f *Front) bring(ctx context.Context, address string, message []byte) ([]byte, error) {
	for tries := 0; ; tries++ {
		reply, err := f.o.Bus.Ask(ctx, address, message)
		if !errors.Is(err, ErrNobody) || tries == awayTries || tries == 0 && !f.underWay.Enter(wire.Hash{}) {
			return reply, err
		}
		if tries == 0 {
			defer f.underWay.Leave(wire.Hash{})
		}
		select {
		case <-ctx.Done():
		case <-f.stopping:
		case <-time.After(awayPause):
			continue
		}
		return nil, ErrNobody
	}
}

// wanted gives back what the answer took of its sender's rate: a key server
// answers as often as it is asked, from one address.
func (f *Front) wanted(c *call) { f.rates.Refund(bounds.Place(c.r.RemoteAddr), f.o.Clock.Boot()) }

// hearAnswer is called with what other processes bring.
func (f *Front) hearAnswer(m Message) {
	s, ok := parseSaid(m.Data)
	if ok && s.kind == sayAnswer && len(s.data) > 0 && f.waiters.take([correlationSize]byte(s.id), s.data) {
		m.Reply([]byte{replyTaken})
		return
	}
	m.Reply([]byte{replyUnknown})
}

// hearAll is called with what every process should know.
func (f *Front) hearAll(m Message) {
	s, ok := parseSaid(m.Data)
	if !ok || s.kind != sayTokens {
		return
	}
	if hashes, err := parseTokens(s.data); err == nil {
		f.early.hold(wire.Hash(s.id), hashes, f.o.Clock.Boot())
	}
}
