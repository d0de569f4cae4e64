// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"testing"
	"time"

	"claviger/client/internal/ways"
)

// TestBusyClientHearsRevocation: whoever always asks for new keys hears of what
// is revoked as soon as others do.
func TestBusyClientHearsRevocation(t *testing.T) {
	w := newWorld(t)
	sealed := w.seal("4111")
	if err := w.open(sealed); err != nil {
		t.Fatal(err)
	}
	w.domain.AddKey("payments/other")
	w.domain.Revoke(w.key.Revocation)
	for n := range 4 {
		w.advance(15 * time.Second)
		if _, err := w.client.Encrypt(t.Context(), "payments/other", nil, EncryptOptions{Partition: []byte{byte(n)}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, denied := errors.AsType[*DeniedError](w.open(sealed)); !denied {
		t.Error("a revoked key is in use after a minute in which the server was asked four times")
	}
}

// mute is a route on which statements get lost.
type mute struct{ faked }

func (mute) Statements(context.Context) ([][]byte, error) { return nil, errDown }

// TestHeldStatements: answers about other keys say nothing of what is revoked, so
// they don't stand in for statements that somebody holds back.
func TestHeldStatements(t *testing.T) {
	w := newWorld(t)
	sealed := w.seal("4111")
	if err := w.open(sealed); err != nil {
		t.Fatal(err)
	}
	w.domain.AddKey("payments/other")
	w.domain.Revoke(w.key.Revocation)
	reroute(w.client, &ways.Way{Address: "mute", Carrier: mute{faked{w.server}}})
	for n := range 61 {
		w.advance(15 * time.Second)
		if _, err := w.client.Encrypt(t.Context(), "payments/other", nil, EncryptOptions{Partition: []byte{byte(n)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.open(sealed); err == nil {
		t.Error("a key is used beyond its staleness bound")
	}
}
