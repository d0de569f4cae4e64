// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"errors"
	"iter"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"claviger/internal/authority"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/api"
	"claviger/internal/keyserver/keyservertest"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// following follows a server, and pulls statements one by one.
func following(t *testing.T, r *keyservertest.Rig) (next func() *wire.Statement, last func() error) {
	t.Helper()
	d, err := transport.NewDirect(r.Addr, transport.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d.Pin(r.Desc.TLS)
	pull, stop := iter.Pull2(d.Follow(t.Context()))
	t.Cleanup(stop)
	next = func() *wire.Statement {
		t.Helper()
		data, err, ok := pull()
		if !ok || err != nil {
			t.Fatalf("the stream ended: %v", err)
		}
		s, err := wire.ParseStatement(data, r.ServerKey())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	last = func() error {
		for {
			if _, err, _ := pull(); err != nil {
				return err
			}
		}
	}
	return next, last
}

// TestFollow: the newest statement at first, one at once when the log moves, and
// one at every interval.
func TestFollow(t *testing.T) {
	r := keyservertest.NewWith(t, keyservertest.Setup{Serve: func(o *keyserver.Options) { o.StatementEvery = time.Hour }})
	r.CreateKey("payments/cards", authority.AES256)
	next, _ := following(t, r)
	first := next()
	if first.Epoch != r.Replay().Epoch || len(first.Revoked) != 0 {
		t.Errorf("first: %+v", first)
	}
	k := r.KeyOf("payments/cards")
	r.Propose(authority.KindKeyDisable, authority.KeyRef{ID: k.ID})
	if s := next(); s.Epoch.Compare(first.Epoch) <= 0 || len(s.Revoked) != 1 || s.Revoked[0] != k.Revocation {
		t.Errorf("after a revocation: %+v", s)
	}
	often := keyservertest.NewWith(t, keyservertest.Setup{Serve: func(o *keyserver.Options) { o.StatementEvery = 20 * time.Millisecond }})
	next, _ = following(t, often)
	if one, two := next(), next(); one.Epoch != two.Epoch || one.Issued >= two.Issued {
		t.Errorf("%+v, then %+v", one, two)
	}
}

// TestFollowEnds: a seal and a stop end streams instead of waiting for them, and a
// sealed server has none.
func TestFollowEnds(t *testing.T) {
	r := keyservertest.New(t)
	next, last := following(t, r)
	next()
	start := time.Now()
	if err := r.Server.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := last(); err == nil {
		t.Error("a sealed server goes on")
	}
	// A seal gives what runs three seconds, which streams would always use up. A
	// machine under load may take as long for once.
	for try := 0; time.Since(start) > 2*time.Second; try++ {
		if try == 3 {
			t.Fatal("seals wait for streams")
		}
		if err := r.Server.Unseal(t.Context(), r.Open()); err != nil {
			t.Fatal(err)
		}
		next, _ = following(t, r)
		next()
		start = time.Now()
		if err := r.Server.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_, last = following(t, r)
	if e, ok := errors.AsType[*transport.Error](last()); !ok || e.Code != "sealed" {
		t.Errorf("of a sealed server: %v", e)
	}
	if err := r.Server.Unseal(t.Context(), r.Open()); err != nil {
		t.Fatal(err)
	}
	next, last = following(t, r)
	next()
	start = time.Now()
	r.Halt()
	if err := last(); err == nil || time.Since(start) > 8*time.Second { // the grace for requests is ten
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

// TestFollowersAreBounded: one too many is told so, and requests go on.
func TestFollowersAreBounded(t *testing.T) {
	r := keyservertest.New(t)
	r.Server.FillFollows()
	_, last := following(t, r)
	if e, ok := errors.AsType[*transport.Error](last()); !ok || e.Status != http.StatusTooManyRequests {
		t.Errorf("one more than %d: %v", api.MaxFollowers, e)
	}
	if status, _ := r.Do(r.Client(nil), "GET", "/v1/statement", nil, ""); status != 200 {
		t.Errorf("a request beside them: %d", status)
	}
}

// TestSlowFollower: who takes nothing is cut after 15 s.
func TestSlowFollower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		ended := make(chan time.Duration, 1)
		start := time.Now()
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			api.SendFrames(w, make([]byte, 1<<10))
			ended <- time.Since(start)
		})}
		l := &single{conn: theirs, closed: make(chan struct{})}
		go func() { _ = server.Serve(l) }()
		if _, err := ours.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if took := <-ended; took < 15*time.Second || took > 16*time.Second {
			t.Errorf("cut after %v", took)
		}
		ours.Close()
		_ = server.Close()
	})
}

// single is a listener with one connection.
type single struct {
	conn   net.Conn
	closed chan struct{}
}

func (s *single) Accept() (net.Conn, error) {
	if c := s.conn; c != nil {
		s.conn = nil
		return c, nil
	}
	<-s.closed
	return nil, net.ErrClosed
}

func (s *single) Close() error {
	close(s.closed)
	return nil
}

func (s *single) Addr() net.Addr { return &net.UnixAddr{} }
