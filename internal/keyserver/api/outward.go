// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"claviger/internal/keyserver"
	"claviger/internal/keyserver/outward"
	"claviger/internal/wire"
)

// beside keeps the unsealed server at its relays and directories.
func beside(carriers []outward.Carrier, every time.Duration, m *metrics, logger *slog.Logger) func(context.Context, *keyserver.Core) {
	return func(ctx context.Context, c *keyserver.Core) {
		outward.Run(ctx, voice{c}, outward.Options{Carriers: carriers, Every: every, Trouble: troubleOf, Observer: m, Logger: logger})
	}
}

// voice is the core as relays and directories see it.
type voice struct{ *keyserver.Core }

// Introduction is what the native API shows.
func (v voice) Introduction() ([]byte, error) {
	in, err := v.Core.Introduction()
	if err != nil {
		return nil, err
	}
	return wire.Marshal(in), nil
}

// Answer answers a sealed message of any type that clients send. There are no
// routes where it comes from, and no credential but what it proves itself.
func (v voice) Answer(ctx context.Context, sealed []byte) ([]byte, error) {
	outer, err := wire.ParseSealed(sealed, wire.MaxSealedSize)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", keyserver.ErrMalformed, err)
	}
	if outer.Type == wire.TypeEnroll {
		return v.Enroll(ctx, sealed)
	}
	return v.Exchange(ctx, sealed)
}

// relayLabel is a relay's place in the configuration, from 1: no label holds an
// address.
func relayLabel(n int) string { return strconv.Itoa(n + 1) }

// Connected, Exchanged and Reconnected make metrics an outward.Observer.
func (m *metrics) Connected(relay int, up bool) {
	n := 0.0
	if up {
		n = 1
	}
	m.relayUp.WithLabelValues(relayLabel(relay)).Set(n)
}

// Exchanged counts an answer.
func (m *metrics) Exchanged(relay, status int) {
	m.relayExchanges.WithLabelValues(relayLabel(relay), strconv.Itoa(status)).Inc()
}

// Reconnected counts a loss.
func (m *metrics) Reconnected(relay int, _ bool) {
	m.relayAgain.WithLabelValues(relayLabel(relay)).Inc()
}
