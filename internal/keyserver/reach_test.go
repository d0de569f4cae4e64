// SPDX-License-Identifier: Apache-2.0

package keyserver_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/keyservertest"
	"claviger/internal/wire"
)

// TestSendTokens: another each day, each good for two weeks and after a restart,
// none of another domain, and none without a mailbox.
func TestSendTokens(t *testing.T) {
	m := clock.NewManual(time.Now())
	mailbox := wire.Hash{1}
	setup := keyservertest.Setup{Serve: func(o *keyserver.Options) { o.Clock, o.Mailbox = m, mailbox }}
	r := keyservertest.NewWith(t, setup)
	tokens := func(r *keyservertest.Rig) (out []wire.Hash) {
		if err := r.Server.With(t.Context(), func(_ context.Context, c *keyserver.Core) error { out = c.SendTokens(); return nil }); err != nil {
			t.Fatal(err)
		}
		return out
	}
	r.CreateKey("payments/cards", authority.AES256)
	r.Allow(keyservertest.AllowApp1)
	w := r.Enroll("app1")
	_, rel := r.Release(w, "payments/cards", "encrypt")
	if len(rel.SendToken) != wire.SendTokenSize || r.Desc.Mailbox != mailbox {
		t.Fatalf("token %x, mailbox %s", rel.SendToken, r.Desc.Mailbox)
	}
	first := wire.SendTokenHash(rel.SendToken)
	now := tokens(r)
	if len(now) != wire.MaxSendTokens || now[1] != first || slices.Contains(now[2:], now[0]) {
		t.Errorf("%v", now)
	}
	if other := tokens(keyservertest.NewWith(t, setup)); slices.Contains(now, other[1]) {
		t.Error("two domains have the same token")
	}
	r.Restart()
	if again := tokens(r); !slices.Equal(again, now) {
		t.Error("a restart changed the tokens")
	}
	m.Advance(24 * time.Hour)
	if next := tokens(r); next[1] != now[0] || next[2] != first {
		t.Error("tomorrow's token is not the one that was announced")
	}
	m.Advance(13 * 24 * time.Hour)
	if !slices.Contains(tokens(r), first) {
		t.Error("a token ended within two weeks")
	}
	m.Advance(24 * time.Hour)
	if slices.Contains(tokens(r), first) {
		t.Error("a token is good for longer than two weeks")
	}
	none := keyservertest.New(t)
	none.CreateKey("payments/cards", authority.AES256)
	none.Allow(keyservertest.AllowApp1)
	if _, rel = none.Release(none.Enroll("app1"), "payments/cards", "encrypt"); len(rel.SendToken) != 0 || !none.Desc.Mailbox.IsZero() {
		t.Error("a token for no mailbox")
	}
}
