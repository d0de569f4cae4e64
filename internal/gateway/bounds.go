// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"claviger/internal/authn"
	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/secret"
)

// bucket gives an endpoint its rate: as much at once as in a second.
type bucket struct {
	watch clock.Clock
	rate  float64

	mu   sync.Mutex
	left float64
	at   time.Duration
}

// newBucket takes the endpoint's own rate, or the kind's, or the default.
func newBucket(watch clock.Clock, own, kind uint64) *bucket {
	rate := float64(cmp.Or(own, kind, DefaultRate))
	return &bucket{watch: watch, rate: rate, left: rate, at: watch.Boot()}
}

// take uses n tokens, or none. More than a full bucket waits for a full one.
func (b *bucket) take(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.watch.Boot()
	b.left = min(b.rate, b.left+(now-b.at).Seconds()*b.rate)
	b.at = now
	if b.left < min(float64(n), b.rate) {
		return false
	}
	b.left -= float64(n)
	return true
}

// maxKnown bounds the callers that are remembered; one more, and all have to be
// permitted something anew.
const maxKnown = 4096

// strangers share a tenth of an endpoint's rate. Security: whoever makes a
// certificate is another caller, and could use up the others' rate (T-90).
type strangers struct {
	rate *bucket

	mu    sync.Mutex
	known map[string]struct{} // ids of callers to whom policy permitted something
}

func newStrangers(watch clock.Clock, of *bucket) *strangers {
	return &strangers{rate: newBucket(watch, uint64(max(1, of.rate/10)), 0), known: map[string]struct{}{}}
}

func (n *strangers) knows(c *authn.Caller) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.known[c.ID]
	return ok
}

// permitted takes note that policy let a caller do something. A list is permitted to
// everybody, and each of many uses has its own answer.
func (n *strangers) permitted(c *authn.Caller, op keyserver.Op) {
	switch op.(type) {
	case *keyserver.List, *keyserver.UseAll:
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.known) >= maxKnown {
		clear(n.known)
	}
	n.known[c.ID] = struct{}{}
}

// room bounds the memory of all bodies together.
type room struct {
	mu   sync.Mutex
	left int64
}

func (m *room) take(n int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left < n {
		return false
	}
	m.left -= n
	return true
}

func (m *room) give(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left += n
}

// firstRead is what a body gets before any of it is there: what it says of its
// length is only a word.
const firstRead = 4 << 10

// read reads a body of at most most bytes. Its memory grows with what has come;
// free wipes it and gives it back, and is never nil.
func (m *room) read(r *http.Request, most int64) (body []byte, free func(), err error) {
	var taken int64
	buf := []byte(nil)
	free = func() { secret.Wipe(buf[:cap(buf)]); m.give(taken) }
	if r.ContentLength > most {
		return nil, free, ErrTooLarge
	}
	if r.Body == nil || r.ContentLength == 0 {
		return nil, free, nil
	}
	for {
		if len(buf) == cap(buf) {
			// One byte more than is taken, to see whether more comes.
			size := min(max(2*int64(cap(buf)), firstRead), most+1)
			if cap(buf) == 0 && r.ContentLength > 0 {
				size = min(size, r.ContentLength+1)
			}
			if !m.take(size) {
				return nil, free, fmt.Errorf("%w: too many bodies at once", keyserver.ErrBusy)
			}
			next := make([]byte, len(buf), size)
			copy(next, buf)
			secret.Wipe(buf)
			m.give(taken)
			buf, taken = next, size
		}
		n, err := r.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > most:
			return nil, free, ErrTooLarge
		case err == io.EOF:
			return buf, free, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, free, ErrTimeout
		case err != nil:
			return nil, free, fmt.Errorf("%w: it did not come whole", ErrBody)
		}
	}
}

// deadline is when something ends that may take so long.
func (o *Options) deadline(within time.Duration) time.Time { return o.Clock.Now().Add(within) }
