// SPDX-License-Identifier: Apache-2.0

package limits_test

import (
	"errors"
	"net"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/keyserver/limits"
	"claviger/internal/wire"
)

// TestReplayMemory: genuine requests are remembered by the boot clock, others not
// at all; its bounds hold.
func TestReplayMemory(t *testing.T) {
	m := clock.NewManual(time.Now())
	r := limits.NewReplaysOf(m, 3, 10)
	at := wire.Epoch{Generation: 1, Position: 5}
	id := func(n byte) wire.Hash { return wire.Hash{n} }
	begin := func(n byte, e wire.Epoch) ([]byte, error) { return r.Begin(id(n), e) }
	if _, err := begin(1, at); err != nil {
		t.Fatal(err)
	}
	if _, err := begin(1, at); !errors.Is(err, limits.ErrBusy) {
		t.Errorf("while it runs: %v", err)
	}
	r.Finish(id(1), nil, at)
	if _, err := begin(1, at); err != nil {
		t.Errorf("after it failed: %v", err)
	}
	r.Verified(id(1), time.Minute)
	r.Finish(id(1), []byte("answer"), at)
	if a, err := begin(1, at); err != nil || string(a) != "answer" {
		t.Errorf("a repeat: %q %v", a, err)
	}
	if _, err := begin(1, wire.Epoch{Generation: 1, Position: 6}); !errors.Is(err, limits.ErrRepeat) {
		t.Errorf("a repeat after the head moved: %v", err)
	}
	for _, n := range []byte{2, 3} {
		if _, err := begin(n, at); err != nil {
			t.Fatal(err)
		}
		r.Verified(id(n), time.Minute)
		r.Finish(id(n), []byte("answer"), at)
	}
	if _, err := begin(4, at); !errors.Is(err, limits.ErrBusy) {
		t.Errorf("one more than it holds: %v", err)
	}
	if seen, answers, size := r.Remembered(); seen != 3 || answers != 1 || size != 6 {
		t.Errorf("holds %d requests, %d answers of %d bytes", seen, answers, size)
	}
	if _, err := begin(1, at); !errors.Is(err, limits.ErrRepeat) {
		t.Errorf("a repeat whose answer is gone: %v", err)
	}
	m.SetWall(time.Now().Add(time.Hour))
	m.Advance(59 * time.Second)
	if _, err := begin(1, at); err == nil {
		t.Error("setting the wall clock makes the server forget")
	}
	m.Advance(10 * time.Second)
	if seen, answers, size := r.Remembered(); seen != 0 || answers != 0 || size != 0 {
		t.Errorf("after all expired: %d, %d, %d", seen, answers, size)
	}
}

// TestEnrolmentRate: one address can't have the server open messages without end.
func TestEnrolmentRate(t *testing.T) {
	m := clock.NewManual(time.Now())
	s := limits.NewSources(m)
	refused := 0
	for range 200 {
		if s.Take("192.0.2.1:1000") != nil {
			refused++
		}
	}
	if refused != 100 {
		t.Errorf("of 200 at once, %d were refused", refused)
	}
	if s.Take("192.0.2.2:1000") != nil {
		t.Error("another address is refused too")
	}
	if s.Take("[2001:db8::1]:5") != nil || s.Take("@") != nil {
		t.Error("an address of another family is refused")
	}
	for range 99 {
		s.Take("[2001:db8::2]:5")
	}
	if s.Take("[2001:db8:0:0:ffff::3]:5") == nil {
		t.Error("one IPv6 host has more than one rate")
	}
	m.SetWall(time.Now().Add(24 * time.Hour))
	if s.Take("192.0.2.1:1") == nil {
		t.Error("setting the wall clock frees an address")
	}
	m.Advance(time.Second)
	if s.Take("192.0.2.1:1") != nil {
		t.Error("a second later it is still refused")
	}
}

// TestConnectionsAreBounded: beyond the bound connections wait, and closing one
// lets the next in.
func TestConnectionsAreBounded(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := limits.Listener(inner, 1)
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	for range 2 {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	first := <-accepted
	select {
	case <-accepted:
		t.Fatal("a second connection got in")
	case <-time.After(20 * time.Millisecond):
	}
	first.Close()
	first.Close() // twice gives back one place
	second := <-accepted
	l.Close()
	second.Close()
	for range accepted {
		t.Error("a third connection got in")
	}
}
