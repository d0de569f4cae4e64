// SPDX-License-Identifier: Apache-2.0

package authn_test

import (
	"errors"
	"testing"
	"time"

	"claviger/internal/authn"
	"claviger/internal/clock"
	"claviger/internal/pki/pkitest"
	"claviger/internal/wire"
)

func TestReplay(t *testing.T) {
	o := newOffice(t)
	r := o.send(o.signer(o.alice), "POST", "/v1/bodies", nil)
	if _, err := o.verify(r); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		c, err := o.verify(r)
		wantRefused(t, c, err)
		o.clk.Advance(31 * time.Second)
	}
	// The wall clock is set back to when the request was new: what was forgotten
	// is still refused.
	o.clk.SetWall(pkitest.Now)
	c, err := o.verify(r)
	wantRefused(t, c, err)
	// Another server has another TLS key, and after a restart this one too.
	o.verifier = authn.NewAdminVerifier(o.domain, wire.Hash{3}, o.clk)
	c, err = o.verify(r)
	wantRefused(t, c, err)
}

// TestReplayAtTheEdge: a request from a clock that is a minute ahead stays
// acceptable by its time for two minutes, so its nonce is kept for as long.
func TestReplayAtTheEdge(t *testing.T) {
	for _, wait := range []time.Duration{0, 59 * time.Second, 119 * time.Second, 2 * time.Minute} {
		o := newOffice(t)
		// A bucket whose generation is anywhere in its life.
		if _, err := o.verify(o.send(o.signer(o.alice), "GET", "/", nil)); err != nil {
			t.Fatal(err)
		}
		o.clk.Advance(wait)
		ahead := o.signer(o.alice)
		ahead.Clock = clock.NewManual(o.clk.Now().Add(authn.Skew))
		r := o.send(ahead, "POST", "/v1/bodies", nil)
		if _, err := o.verify(r); err != nil {
			t.Fatal(err)
		}
		for range 120 {
			o.clk.Advance(time.Second)
			c, err := o.verify(r)
			wantRefused(t, c, err)
		}
	}
}

// TestForgettingRefusesNobody: an admin with two machines, one a minute ahead
// and one a minute behind, works with both all the time.
func TestForgettingRefusesNobody(t *testing.T) {
	o := newOffice(t)
	for range 100 {
		for _, off := range []time.Duration{authn.Skew, -authn.Skew} {
			s := o.signer(o.alice)
			s.Clock = clock.NewManual(o.clk.Now().Add(off))
			if _, err := o.verify(o.send(s, "GET", "/", nil)); err != nil {
				t.Fatalf("%v off, after %v: %v", off, o.clk.Now().Sub(pkitest.Now), err)
			}
		}
		o.clk.Advance(7 * time.Second)
	}
}

// TestRefusedRequestsTakeNoRoom: only what is otherwise good is remembered, so a
// refused request can still be sent right.
func TestRefusedRequestsTakeNoRoom(t *testing.T) {
	o := newOffice(t)
	r := o.send(o.signer(o.alice), "POST", "/v1/bodies", []byte("body"))
	broken := r
	broken.Body = nil
	c, err := o.verify(broken)
	wantRefused(t, c, err)
	if _, err := o.verify(r); err != nil {
		t.Errorf("the right request after a wrong one: %v", err)
	}
}

// TestNonceMemoryIsBounded: who floods with a stolen session key is stopped, and
// stops nobody else, not even that admin's authority key.
func TestNonceMemoryIsBounded(t *testing.T) {
	o := newOffice(t)
	stolen := o.session(o.alice, time.Hour)
	count, full := o.verifier.FillNonces(wire.KeyHash(o.alice.Public()), true)
	if !errors.Is(full, authn.ErrBusy) || count < 1000 || count > 10_000 {
		t.Fatalf("after %d requests: %v", count, full)
	}
	_, err := o.verify(o.send(stolen, "GET", "/", nil))
	if !errors.Is(err, authn.ErrBusy) || !errors.Is(err, authn.ErrRefused) {
		t.Errorf("with a full memory: %v", err)
	}
	if _, err := o.verify(o.send(o.session(o.alice, time.Hour), "GET", "/", nil)); !errors.Is(err, authn.ErrBusy) {
		t.Errorf("a second session escapes the bound: %v", err)
	}
	if _, err := o.verify(o.send(o.signer(o.alice), "POST", "/v1/bodies", nil)); err != nil {
		t.Errorf("alice herself: %v", err)
	}
	if _, err := o.verify(o.send(o.session(o.bob, time.Hour), "GET", "/", nil)); err != nil {
		t.Errorf("bob's session: %v", err)
	}
	o.clk.Advance(2 * authn.Skew)
	if _, err := o.verify(o.send(stolen, "GET", "/", nil)); err != nil {
		t.Errorf("two minutes later: %v", err)
	}
}
