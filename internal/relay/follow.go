// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"encoding/binary"
	"net/http"
	"slices"
	"time"

	"claviger/internal/wire"
)

// introductions answers with the newest introduction of each server.
func (f *Front) introductions(c *call) error {
	return c.write(f, wire.Marshal(notNil(f.boards.introductions(c.domain, f.now()))))
}

// statements answers with the newest statement of each server.
func (f *Front) statements(c *call) error {
	list, _ := f.boards.statements(c.domain, f.now())
	out := make([][]byte, 0, len(list))
	for _, n := range list {
		out = append(out, n.raw)
	}
	return c.write(f, wire.Marshal(out))
}

func notNil(list [][]byte) [][]byte { return slices.Concat([][]byte{}, list) }

// follow streams statements until the caller goes. What it has seen is all that is
// kept for it: a slow one misses statements that a newer one has replaced, never
// the newest.
func (f *Front) follow(c *call) error {
	defer f.count(&f.followers)()
	s, err := f.stream(c)
	if err != nil {
		return err
	}
	alive := time.NewTicker(f.alive)
	defer alive.Stop()
	seen := map[wire.ServerID]uint64{}
	for {
		list, changed := f.boards.statements(c.domain, f.now())
		for _, n := range list {
			if seen[n.server] >= n.revision {
				continue
			}
			seen[n.server] = n.revision
			if err := s.frame(n.raw); err != nil {
				return nil // it has gone, or takes nothing
			}
		}
		select {
		case <-changed:
		case <-alive.C:
			if s.frame(nil) != nil {
				return nil
			}
		case <-c.r.Context().Done():
			return nil
		case <-f.stopping:
			return nil
		}
	}
}

// stream is an answer of frames.
type stream struct {
	front *Front
	w     http.ResponseWriter
}

// stream begins an answer that goes on.
func (f *Front) stream(c *call) (*stream, error) {
	if err := f.read(c, 0); err != nil {
		return nil, err
	}
	c.answered = true
	c.w.Header().Set("Content-Type", "application/cbor")
	c.w.WriteHeader(http.StatusOK)
	s := &stream{f, c.w}
	return s, s.frame(nil) // so that the headers go at once
}

// frame sends one frame; an empty one says that the line is alive.
func (s *stream) frame(message []byte) error {
	head := binary.BigEndian.AppendUint32(make([]byte, 0, 4), uint32(len(message)))
	c := http.NewResponseController(s.w)
	if err := c.SetWriteDeadline(s.front.real.Now().Add(s.front.silence)); err != nil {
		return err
	}
	if _, err := s.w.Write(head); err != nil {
		return err
	}
	if err := s.front.slowly(s.w, message); err != nil {
		return err
	}
	return c.Flush()
}
