// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"claviger/internal/wire"
)

// ways runs a test over a relay and over a directory, which differ in nothing
// that either side sees.
func ways(t *testing.T, test func(t *testing.T, w way, as func(*Mailbox) owner)) {
	t.Run("relay", func(t *testing.T) {
		_, r := newDouble(t)
		test(t, r, func(m *Mailbox) owner { return r.As(m) })
	})
	t.Run("directory", func(t *testing.T) {
		d, _ := directoryAt(t)
		test(t, d, func(m *Mailbox) owner { return d.As(m) })
	})
}

func directoryAt(t *testing.T) (*Directory, string) {
	t.Helper()
	dir := t.TempDir()
	a, err := ParseAddress((&Address{Kind: KindDirectory, Path: filepath.ToSlash(dir)}).String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDirectory(a, domain, Options{Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return d, dir
}

// must fails the test at an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// receiving starts a receiver and gives what it hears.
func receiving(t *testing.T, o owner) (<-chan *wire.Delivery, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	heard, ended := make(chan *wire.Delivery, 100), make(chan struct{})
	go func() {
		defer close(ended)
		for d, err := range o.Receive(ctx) {
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("receive: %v", err)
				}
				return
			}
			heard <- d
		}
	}()
	stop := func() { cancel(); <-ended }
	t.Cleanup(stop)
	return heard, stop
}

// exchange asks until the receiver is there.
func exchange(t *testing.T, w way, to Peer, sealed []byte) ([]byte, error) {
	t.Helper()
	for {
		answer, err := w.Exchange(t.Context(), to, sealed)
		if statusOf(err) != http.StatusServiceUnavailable {
			return answer, err
		}
	}
}

func TestBoard(t *testing.T) {
	ways(t, func(t *testing.T, w way, as func(*Mailbox) owner) {
		ctx := t.Context()
		for what, list := range map[string]func(context.Context) ([][]byte, error){"introductions": w.Introductions, "statements": w.Statements} {
			if got, err := list(ctx); err != nil || len(got) != 0 {
				t.Errorf("%s of an empty board: %d, %v", what, len(got), err)
			}
		}
		one, two := newVoice(), newVoice()
		for _, v := range []*voice{one, two} {
			must(t, as(v.mailbox).PutIntroduction(ctx, v.introduction()))
			must(t, as(v.mailbox).PutStatement(ctx, v.statement(1)))
		}
		newest := one.statement(2)
		must(t, as(one.mailbox).PutStatement(ctx, newest))
		if got, err := w.Introductions(ctx); err != nil || len(got) != 2 {
			t.Errorf("%d introductions, %v", len(got), err)
		}
		got, err := w.Statements(ctx)
		if err != nil || len(got) != 2 || !contains(got, newest) {
			t.Errorf("%d statements, %v", len(got), err)
		}
	})
}

// TestFollow: the newest of each server, then each new one.
func TestFollow(t *testing.T) {
	ways(t, func(t *testing.T, w way, as func(*Mailbox) owner) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		v := newVoice()
		o := as(v.mailbox)
		must(t, o.PutStatement(ctx, v.statement(1)))
		next, stop := iter.Pull2(w.Follow(ctx))
		defer stop()
		for position := uint64(1); position < 5; position++ {
			data, err, ok := next()
			if !ok || err != nil {
				t.Fatalf("statement %d: %v", position, err)
			}
			if s, err := wire.PeekStatement(data); err != nil || s.Epoch.Position != position {
				t.Fatalf("statement %d: %+v, %v", position, s, err)
			}
			must(t, o.PutStatement(ctx, v.statement(position+1)))
		}
		cancel()
		for {
			_, err, ok := next()
			if !ok {
				t.Error("a stream ended without an error")
			}
			if err != nil {
				break
			}
		}
	})
}

func TestExchange(t *testing.T) {
	ways(t, func(t *testing.T, w way, as func(*Mailbox) owner) {
		ctx := t.Context()
		v := newVoice()
		o := as(v.mailbox)
		token, second := random(wire.SendTokenSize), random(wire.SendTokenSize)
		to := Peer{Mailbox: v.mailbox.ID(), Token: token}
		sealed := message(wire.TypeRequest)
		if _, err := w.Exchange(ctx, to, sealed); statusOf(err) != http.StatusServiceUnavailable {
			t.Errorf("nobody listens: %v", err)
		}
		must(t, o.PutTokens(ctx, []wire.Hash{wire.SendTokenHash(token), wire.SendTokenHash(second)}))
		heard, stop := receiving(t, o)
		go func() {
			for d := range heard {
				switch {
				case len(d.Correlation) != 32 || d.Number != 0 || !bytes.Equal(d.Data, sealed):
					t.Errorf("delivered %x %d, %d bytes", d.Correlation, d.Number, len(d.Data))
				default:
					if err := o.Answer(ctx, d.Correlation, message(wire.TypeRelease)); err != nil {
						t.Errorf("answer: %v", err)
					}
				}
			}
		}()
		for _, token := range [][]byte{token, second} {
			answer, err := exchange(t, w, Peer{Mailbox: to.Mailbox, Token: token}, sealed)
			if err != nil || !bytes.Equal(answer, message(wire.TypeRelease)) {
				t.Fatalf("%d bytes, %v", len(answer), err)
			}
		}
		for _, token := range [][]byte{nil, random(wire.SendTokenSize)} {
			if _, err := w.Exchange(ctx, Peer{Mailbox: to.Mailbox, Token: token}, sealed); statusOf(err) != http.StatusForbidden {
				t.Errorf("a stranger: %v", err)
			}
		}
		must(t, o.PutTokens(ctx, []wire.Hash{wire.SendTokenHash(second)}))
		if _, err := w.Exchange(ctx, to, sealed); statusOf(err) != http.StatusForbidden {
			t.Errorf("an old token: %v", err)
		}
		if _, err := w.Exchange(ctx, Peer{Token: token}, sealed); !errors.Is(err, ErrNoMailbox) {
			t.Errorf("no mailbox: %v", err)
		}
		stop()
		// A relay may take a moment to see that the receiver has gone.
		for {
			if _, err := w.Exchange(ctx, Peer{Mailbox: to.Mailbox, Token: second}, sealed); statusOf(err) == http.StatusServiceUnavailable {
				break
			}
		}
	})
}

// TestTrouble: what a server says instead of an answer looks as it does at its
// native API.
func TestTrouble(t *testing.T) {
	ways(t, func(t *testing.T, w way, as func(*Mailbox) owner) {
		ctx := t.Context()
		v := newVoice()
		o := as(v.mailbox)
		token := random(wire.SendTokenSize)
		must(t, o.PutTokens(ctx, []wire.Hash{wire.SendTokenHash(token)}))
		heard, _ := receiving(t, o)
		go func() {
			for d := range heard {
				_ = o.Answer(ctx, d.Correlation, wire.Marshal(wire.Trouble{
					Type: wire.TypeTrouble, Status: 429, Code: "busy", Message: "later\x1b[2J", RetryAfter: 2,
				}))
			}
		}()
		_, err := exchange(t, w, Peer{Mailbox: v.mailbox.ID(), Token: token}, message(wire.TypeRequest))
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Status != 429 || e.Code != "busy" || e.Message != "later[2J" || e.RetryAfter != 2*time.Second || e.Address == "" {
			t.Errorf("%+v, %v", e, err)
		}
	})
}

// TestUnanswered: an answer that doesn't come costs a bounded time.
func TestUnanswered(t *testing.T) {
	ways(t, func(t *testing.T, w way, as func(*Mailbox) owner) {
		if d, ok := w.(*Directory); ok {
			d.options.Timeout = 200 * time.Millisecond
		}
		v := newVoice()
		o := as(v.mailbox)
		token := random(wire.SendTokenSize)
		must(t, o.PutTokens(t.Context(), []wire.Hash{wire.SendTokenHash(token)}))
		receiving(t, o)
		to := Peer{Mailbox: v.mailbox.ID(), Token: token}
		if _, err := exchange(t, w, to, message(wire.TypeRequest)); statusOf(err) != http.StatusGatewayTimeout {
			t.Errorf("no answer: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := w.Exchange(ctx, to, message(wire.TypeRequest)); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	})
}

func TestParcels(t *testing.T) {
	ways(t, func(t *testing.T, w way, as func(*Mailbox) owner) {
		ctx := t.Context()
		v, client := newVoice(), NewMailbox()
		must(t, as(v.mailbox).PutParcel(ctx, client.ID(), time.Now().Add(time.Hour), message(wire.TypeRelease)))
		must(t, as(v.mailbox).PutParcel(ctx, client.ID(), time.Now().Add(-time.Hour), message(wire.TypeStatement)))
		heard, stop := receiving(t, as(client))
		d := <-heard
		if d.Number == 0 || len(d.Correlation) != 0 || !bytes.Equal(d.Data, message(wire.TypeRelease)) {
			t.Errorf("delivered %x %d", d.Correlation, d.Number)
		}
		stop()
		heard, stop = receiving(t, as(client)) // it stays until it is deleted
		if again := <-heard; again.Number != d.Number {
			t.Errorf("delivered %d, then %d", d.Number, again.Number)
		}
		must(t, as(client).DeleteParcel(ctx, d.Number))
		stop()
		heard, stop = receiving(t, as(client))
		must(t, as(v.mailbox).PutParcel(ctx, client.ID(), time.Now().Add(time.Hour), message(wire.TypeGrant)))
		stop()
		heard2, _ := receiving(t, as(client))
		select {
		case d = <-heard:
		case d = <-heard2:
		}
		if !bytes.Equal(d.Data, message(wire.TypeGrant)) {
			t.Error("a deleted parcel came again")
		}
	})
}

// TestNothingThere: an address that leads nowhere is an error, not an empty board.
func TestNothingThere(t *testing.T) {
	d, dir := directoryAt(t)
	must(t, os.Remove(dir))
	if _, err := d.Introductions(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("directory: %v", err)
	}
	if _, err := d.Exchange(t.Context(), Peer{Mailbox: wire.Hash{1}}, message(wire.TypeRequest)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("directory: %v", err)
	}
	r := relayAt(t, Address{Kind: KindRelay, Host: "127.0.0.1:1"})
	if _, err := r.Introductions(t.Context()); err == nil {
		t.Error("a relay that isn't there")
	}
}
