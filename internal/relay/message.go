// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"errors"
	"net/http"
	"os"

	"claviger/internal/wire"
)

// What processes say to each other on the bus begins with one of these.
const (
	sayRequest  = 'r' // correlation, message: to a mailbox
	sayParcel   = 'p' // to a mailbox: a parcel has come
	sayTakeover = 't' // instance, address: to a mailbox: it has another receiver at that address
	sayAnswer   = 'a' // correlation, message: to the process that waits
	sayTokens   = 'k' // mailbox, hashes: to every process: tokens of a mailbox that is on no board yet
)

// What is replied.
const (
	replyTaken   = 't'
	replyFull    = 'f'
	replyOffline = 'o'
	replyUnknown = 'u'
)

const (
	correlationSize = 32
	processSize     = 8 // the first bytes of a correlation name the process that waits
	instanceSize    = 16
)

// said is a message of the bus, taken apart.
type said struct {
	kind byte
	id   []byte // correlation, instance or mailbox
	data []byte
}

// say puts a message of the bus together.
func say(kind byte, id, data []byte) []byte {
	out := make([]byte, 0, 1+len(id)+len(data))
	out = append(out, kind)
	return append(append(out, id...), data...)
}

// parseSaid reads a message of the bus.
func parseSaid(message []byte) (said, bool) {
	if len(message) == 0 {
		return said{}, false
	}
	size := map[byte]int{sayRequest: correlationSize, sayAnswer: correlationSize, sayParcel: 0, sayTakeover: instanceSize, sayTokens: len(wire.Hash{})}
	n, ok := size[message[0]]
	rest := message[1:]
	if !ok || len(rest) < n || len(rest)-n > wire.MaxSealedSize {
		return said{}, false
	}
	return said{message[0], rest[:n], rest[n:]}, true
}

// body reads a message of at most limit bytes from a caller that keeps sending.
func (f *Front) body(w http.ResponseWriter, r *http.Request, limit int) ([]byte, error) {
	if r.ContentLength > int64(limit) {
		return nil, errTooLarge
	}
	c := http.NewResponseController(w)
	end := f.real.Now().Add(wholeMessage)
	var out []byte
	if r.ContentLength > 0 {
		out = make([]byte, 0, min(int(r.ContentLength)+1, 64<<10)) // what is announced takes no memory before it comes
	}
	for {
		now := f.real.Now()
		next := now.Add(f.silence)
		if next.After(end) {
			next = end
		}
		if err := c.SetReadDeadline(next); err != nil || !now.Before(end) {
			return nil, errSlow
		}
		if len(out) == cap(out) {
			out = append(out, 0)[:len(out)]
		}
		n, err := r.Body.Read(out[len(out):cap(out)])
		if out = out[:len(out)+n]; len(out) > limit {
			return nil, errTooLarge
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, errSlow
		case isEnd(err):
			// Without this, the deadline would end a request that waits.
			return out, noDeadline(c)
		default:
			return nil, errMalformed
		}
	}
}
