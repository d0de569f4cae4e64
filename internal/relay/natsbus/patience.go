// SPDX-License-Identifier: Apache-2.0

package natsbus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// electing bounds how long a cluster is waited for that has lost the server which
	// led a stream: the others choose another within some seconds. Callers of a relay
	// wait for 15 s.
	electing = 10 * time.Second
	// oneTry bounds a question to a stream, onePause is the time between two.
	oneTry   = 2 * time.Second
	onePause = 100 * time.Millisecond
)

// patiently asks a stream, again where nobody leads it at the moment. What it does
// may be done twice, the first time unheard: whoever writes says with each write
// what it replaces, or which message it is.
func patiently(ctx context.Context, ask func(context.Context) error) error {
	whole, cancel := context.WithTimeout(ctx, electing)
	defer cancel()
	for {
		one, end := context.WithTimeout(whole, oneTry)
		err := ask(one)
		end()
		if err == nil || !leaderless(err) || ctx.Err() != nil {
			return err
		}
		pause := time.NewTimer(onePause)
		select {
		case <-whole.Done():
			pause.Stop()
			return err
		case <-pause.C:
		}
	}
}

// What a cluster says while it elects who leads it, and while it hasn't decided on
// the same message of an earlier try.
const (
	codeUnavailable = 10008
	codeInProcess   = 10158
)

// leaderless reports whether an error is one of a stream that nobody leads, or that
// doesn't know yet what it holds.
func leaderless(err error) bool {
	return errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, nats.ErrTimeout) || isAPI(err, codeUnavailable) || isAPI(err, codeInProcess)
}
