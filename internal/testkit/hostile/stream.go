// SPDX-License-Identifier: Apache-2.0

package hostile

import (
	"encoding/binary"
	"net/http"
	"time"

	"claviger/internal/testkit"
)

// stream passes a stream on, frame by frame. A script decides about its beginning
// alone: what it answers without forwarding is all that comes.
func (x *Relay) stream(w http.ResponseWriter, r *http.Request, route string, script Script) {
	m := testkit.Message{Method: r.Method, Path: r.URL.RequestURI(), Authorization: r.Header.Get("Authorization")}
	went := false
	answer := script(m, func(testkit.Message) testkit.Answer {
		went = true
		x.front.ServeHTTP(&cutter{to: w, relay: x, route: route, path: m.Path}, r)
		return testkit.Answer{Status: http.StatusOK}
	})
	if went {
		return
	}
	if answer.Status == 0 {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/cbor")
	w.WriteHeader(answer.Status)
	_, _ = w.Write(answer.Body) // the victim has gone
}

// cutter cuts what the relay writes into frames, and writes what the test makes of
// each. It is used by one goroutine.
type cutter struct {
	to    http.ResponseWriter
	relay *Relay
	route string
	path  string

	frames bool // it is a stream, and no error
	rest   []byte
}

func (c *cutter) Header() http.Header { return c.to.Header() }

func (c *cutter) WriteHeader(status int) {
	c.frames = status == http.StatusOK
	c.to.WriteHeader(status)
}

func (c *cutter) Write(p []byte) (int, error) {
	if !c.frames {
		return c.to.Write(p)
	}
	c.rest = append(c.rest, p...)
	for len(c.rest) >= 4 {
		size := 4 + int(binary.BigEndian.Uint32(c.rest))
		if len(c.rest) < size {
			break
		}
		frame := append([]byte{}, c.rest[4:size]...)
		c.rest = c.rest[size:]
		for _, out := range c.made(frame) {
			if _, err := c.to.Write(Frame(out)); err != nil {
				return 0, err
			}
		}
	}
	return len(p), nil
}

// made is what the test makes of a frame. Signs of life are let through.
func (c *cutter) made(frame []byte) [][]byte {
	if len(frame) == 0 {
		return [][]byte{frame}
	}
	c.relay.note(Passed{Route: c.route, Path: c.path, Answer: frame})
	c.relay.mu.Lock()
	f := c.relay.frames[c.route]
	c.relay.mu.Unlock()
	if f == nil {
		return [][]byte{frame}
	}
	return f(frame)
}

// Frame puts a message's length before it.
func Frame(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(message)), uint32(len(message))), message...)
}

func (c *cutter) Flush() { _ = http.NewResponseController(c.to).Flush() } // fails only where the next Write will

func (c *cutter) SetReadDeadline(t time.Time) error {
	return http.NewResponseController(c.to).SetReadDeadline(t)
}

func (c *cutter) SetWriteDeadline(t time.Time) error {
	return http.NewResponseController(c.to).SetWriteDeadline(t)
}
