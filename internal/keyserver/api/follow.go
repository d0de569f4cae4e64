// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"fmt"
	"net/http"
	"time"

	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/transport"
)

// Bounds of GET /v1/follow. Followers leave half of the connections to requests.
const (
	maxFollowers = maxConnections / 2
	followFor    = 24 * time.Hour         // then the follower connects anew
	followAlive  = 15 * time.Second       // between two frames, empty ones included
	followWrite  = 15 * time.Second       // for a follower to take one frame
	followGap    = 100 * time.Millisecond // between two statements, however fast the log moves
)

// follow sends the newest statement, then each new one as it is made: at every
// interval, and at once when the log moves.
func follow(c *call) error {
	select {
	case c.server.follows <- struct{}{}:
		defer func() { <-c.server.follows }()
	default:
		return fmt.Errorf("%w: as many follow this server as may", keyserver.ErrBusy)
	}
	f := follower{call: c}
	alive := time.NewTicker(followAlive)
	defer alive.Stop()
	every := time.NewTicker(c.server.every)
	defer every.Stop()
	for {
		changed := c.core.Changed() // before the statement, so that no change is missed
		statement, err := c.core.Statement()
		if err != nil && f.last == nil {
			return err
		}
		if err != nil || !f.tell(statement) {
			return nil // the stream ends; the next try hears why
		}
		if !f.wait(changed, every.C, alive.C) || !f.pause(followGap) {
			return nil
		}
	}
}

// follower is one stream.
type follower struct {
	*call
	last []byte
}

// wait returns when there may be news, and false when the stream ends.
func (f *follower) wait(changed <-chan struct{}, every, alive <-chan time.Time) bool {
	for {
		select {
		case <-changed:
			return true
		case <-every:
			return true
		case <-alive:
			if !f.send(nil) {
				return false
			}
		case <-f.core.Ending():
			return false
		case <-f.server.stopping:
			return false
		case <-f.Context().Done():
			return false
		}
	}
}

func (f *follower) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	return f.wait(nil, timer.C, nil)
}

// tell sends a statement that the follower doesn't have.
func (f *follower) tell(statement []byte) bool {
	if bytes.Equal(statement, f.last) {
		return true
	}
	if f.last == nil {
		f.w.Header().Set("Content-Type", "application/cbor")
		f.w.Header().Set("Connection", "close") // its deadline must not meet another request
	}
	f.last = statement
	return f.send(statement)
}

// send writes one frame. A follower that doesn't take it in time is cut.
func (f *follower) send(message []byte) bool {
	rc := http.NewResponseController(f.w)
	if err := rc.SetWriteDeadline(clock.System().Now().Add(followWrite)); err != nil {
		return false
	}
	_, err := f.w.Write(transport.AppendFrame(nil, message))
	return err == nil && rc.Flush() == nil
}
