// SPDX-License-Identifier: Apache-2.0

package localrpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestCall(t *testing.T) {
	path := start(t, &Server{Methods: map[string]Method{"/s/Echo": echo}})
	for _, want := range []string{"", "x", strings.Repeat("y", 1<<10)} {
		got, err := Call(t.Context(), path, "/s/Echo", []byte(want))
		if err != nil || string(got) != want {
			t.Errorf("Call = %d bytes, %v", len(got), err)
		}
	}
}

// TestRefusals: what a method says reaches the caller as it is; what isn't meant for
// it, doesn't.
func TestRefusals(t *testing.T) {
	fails := errors.New("canary")
	var log bytes.Buffer
	path := start(t, &Server{
		Log:     slog.New(slog.NewTextHandler(&log, nil)),
		Methods: map[string]Method{"/s/Fail": func(context.Context, []byte) ([]byte, error) { return []byte("x"), fails }},
	})
	for _, c := range []struct {
		err  error
		code Code
		text string
	}{
		{Errorf(PermissionDenied, "50 %% no,\nnö"), PermissionDenied, "50 % no,\nnö"},
		{errors.New("canary"), Internal, "this could not be done"},
		{context.DeadlineExceeded, DeadlineExceeded, "the call took too long"},
		{ErrMessage, InvalidArgument, "message is malformed"},
	} {
		fails = c.err
		_, err := Call(t.Context(), path, "/s/Fail", nil)
		if got, ok := errors.AsType[*Error](err); !ok || got.Code != c.code || got.Text != c.text {
			t.Errorf("Call = %v, want %d %q", err, c.code, c.text)
		}
	}
	if _, err := Call(t.Context(), path, "/s/None", nil); err == nil || err.(*Error).Code != NotOffered {
		t.Errorf("a method that isn't there: %v", err)
	}
	if !strings.Contains(log.String(), "canary") {
		t.Error("the log doesn't say what the caller wasn't told")
	}
}

// TestBadRequests sends what no gRPC client sends.
func TestBadRequests(t *testing.T) {
	called := false
	path := start(t, &Server{Methods: map[string]Method{"/s/Echo": func(ctx context.Context, m []byte) ([]byte, error) {
		called = true
		return echo(ctx, m)
	}}})
	for name, c := range map[string]struct {
		body    string
		headers []string
		want    string // grpc-status, or the HTTP status
	}{
		"nothing":         {"", nil, "3"},
		"half a prefix":   {"\x00\x00", nil, "3"},
		"half a message":  {"\x00\x00\x00\x00\x05abc", nil, "3"},
		"two messages":    {"\x00\x00\x00\x00\x01a\x00\x00\x00\x00\x01b", nil, "3"},
		"compressed":      {"\x01\x00\x00\x00\x01a", nil, "12"},
		"too large":       {"\x00\x00\x00\x04\x01" + strings.Repeat("a", 1025), nil, "8"},
		"announced large": {"\x00\xff\xff\xff\xffabc", nil, "8"},
		"bad timeout":     {"\x00\x00\x00\x00\x01a", []string{"Grpc-Timeout", "soon"}, "3"},
		"no unit":         {"\x00\x00\x00\x00\x01a", []string{"Grpc-Timeout", "5"}, "3"},
		"no time left":    {"\x00\x00\x00\x00\x01a", []string{"Grpc-Timeout", "0n"}, "4"},
		"JSON":            {"\x00\x00\x00\x00\x01a", []string{"Content-Type", "application/grpc+json"}, "415"},
		"not gRPC":        {"{}", []string{"Content-Type", "application/json"}, "415"},
		"for browsers":    {"\x00\x00\x00\x00\x01a", []string{"Content-Type", "application/grpc-web"}, "415"},
	} {
		t.Run(name, func(t *testing.T) {
			answer, _ := post(t, path, request(t, "/s/Echo", strings.NewReader(c.body), c.headers...))
			got := answer.Trailer.Get("Grpc-Status")
			if answer.StatusCode != http.StatusOK {
				got = "415"
			}
			if got != c.want {
				t.Errorf("status %q (HTTP %d), want %q", got, answer.StatusCode, c.want)
			}
		})
	}
	if called {
		t.Error("one of them reached the method")
	}
}

// TestSlow: a caller that doesn't send its message, and a method that doesn't end, cost
// no more than their time.
func TestSlow(t *testing.T) {
	path := start(t, &Server{Timeout: 50 * time.Millisecond, Methods: map[string]Method{
		"/s/Echo": echo,
		"/s/Hang": func(ctx context.Context, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
	}})
	if _, err := Call(t.Context(), path, "/s/Hang", nil); err == nil || err.(*Error).Code != DeadlineExceeded {
		t.Errorf("a method that hangs: %v", err)
	}
	body, writer := io.Pipe()
	defer writer.Close()
	go writer.Write([]byte{0, 0, 0, 0, 9, 'a'})
	answer, _ := post(t, path, request(t, "/s/Echo", body))
	if got := answer.Trailer.Get("Grpc-Status"); got == "" || got == "0" {
		t.Errorf("a message that doesn't come: status %q", got)
	}
}

// TestEnd: a call that runs when the server ends is answered.
func TestEnd(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s := &Server{MaxMessage: 10, Timeout: time.Minute, Log: slog.New(slog.DiscardHandler), Methods: map[string]Method{"/s/Wait": func(context.Context, []byte) ([]byte, error) {
		close(entered)
		<-leave
		return []byte("done"), nil
	}}}
	path := t.TempDir() + "/s"
	l, err := Listen(Socket{Address: path, Group: -1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended, answered := make(chan error, 1), make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	go func() {
		got, err := Call(context.Background(), path, "/s/Wait", nil)
		if string(got) != "done" && err == nil {
			err = errors.New("another answer")
		}
		answered <- err
	}()
	<-entered
	stop()
	close(leave)
	if err := <-answered; err != nil {
		t.Errorf("Call = %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve = %v", err)
	}
}

func FuzzTimeout(f *testing.F) {
	for _, s := range []string{"1S", "99999999H", "0n", "x", "-1S", "+1S", "1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if s == "" {
			return
		}
		if d, err := parseTimeout(s); err == nil && d < 0 {
			t.Errorf("%q is %v", s, d)
		}
	})
}
