// SPDX-License-Identifier: Apache-2.0

package stopwatch

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"claviger/internal/clock"
	"claviger/internal/pki/tlscert"
	"claviger/internal/wire"
)

// temper of a hop.
type temper int

const (
	honest   temper = iota
	swallows        // every push, and shows the last statement from before instead
	cut             // passes nothing at all
)

// hop is an address of the relay that clients take for all of it, and that can
// turn against them.
type hop struct {
	front   http.Handler
	address string // with its pin

	mu      sync.Mutex
	temper  temper
	old     []byte // the newest statement that was passed on
	streams int    // followers that have been shown a statement
	lies    int    // old statements shown in place of new ones
}

// newHop serves the front on 127.0.0.1.
func newHop(tb testing.TB, front http.Handler) *hop {
	tb.Helper()
	h := &hop{front: front}
	cert, pin, err := tlscert.SelfSigned(clock.System())
	if err != nil {
		tb.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	h.address = "https://" + l.Addr().String() + "#" + wire.Hash(pin).String()
	server := &http.Server{
		Handler: h, ErrorLog: log.New(io.Discard, "", 0), // what is cut off here is what tests are about
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}},
	}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(l, "", "") }()
	tb.Cleanup(func() {
		server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			tb.Errorf("hop: %v", err)
		}
	})
	return h
}

// turn changes how it behaves, also on the streams that are open.
func (h *hop) turn(t temper) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.temper = t
}

func (h *hop) following() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.streams
}

func (h *hop) shown() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lies
}

func (h *hop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	temper, old := h.temper, h.old
	h.mu.Unlock()
	switch {
	case temper == cut:
		panic(http.ErrAbortHandler)
	case strings.HasSuffix(r.URL.Path, "/follow"):
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		s := &statements{ResponseWriter: w, hop: h}
		defer s.end()
		h.front.ServeHTTP(s, r.WithContext(ctx))
	case temper == swallows && strings.HasSuffix(r.URL.Path, "/statements"):
		w.Header().Set("Content-Type", "application/cbor")
		_, _ = w.Write(wire.Marshal([][]byte{old})) // who asked may have gone
	default:
		h.front.ServeHTTP(w, r)
	}
}

// statements passes a follower's frames on as the hop's temper is.
type statements struct {
	http.ResponseWriter
	hop    *hop
	buffer []byte
	counts bool
}

// Unwrap gives the response controller what it needs.
func (s *statements) Unwrap() http.ResponseWriter { return s.ResponseWriter }

var errCut = errors.New("cut")

// Write collects frames: 4 bytes of length, then a statement or nothing.
func (s *statements) Write(p []byte) (int, error) {
	s.buffer = append(s.buffer, p...)
	for len(s.buffer) >= 4 {
		n := 4 + int(binary.BigEndian.Uint32(s.buffer))
		if len(s.buffer) < n {
			break
		}
		frame, err := s.pass(s.buffer[:n])
		if err == nil {
			_, err = s.ResponseWriter.Write(frame)
		}
		if err == nil {
			err = http.NewResponseController(s.ResponseWriter).Flush()
		}
		if err != nil {
			return 0, err
		}
		s.buffer = s.buffer[n:]
	}
	return len(p), nil
}

// pass says what the follower gets for a frame.
func (s *statements) pass(frame []byte) ([]byte, error) {
	h := s.hop
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.temper == cut:
		return nil, errCut
	case len(frame) == 4:
	case h.temper == swallows:
		h.lies++
		frame = append(binary.BigEndian.AppendUint32(nil, uint32(len(h.old))), h.old...)
	default:
		h.old = append([]byte(nil), frame[4:]...)
		if !s.counts {
			s.counts = true
			h.streams++
		}
	}
	return frame, nil
}

func (s *statements) end() {
	s.hop.mu.Lock()
	defer s.hop.mu.Unlock()
	if s.counts {
		s.hop.streams--
	}
}
