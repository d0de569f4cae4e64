// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

// session is the test twin of the process's streams: buffers, a map for the
// environment, a scripted terminal. Its zero value is a pipe to nowhere with
// nobody at the terminal.
type session struct {
	in       string
	tty      bool // all three streams are a terminal
	vars     map[string]string
	terminal *fakeTerminal
	exec     func(context.Context, []string, *os.File) ([]byte, error)

	out, err bytes.Buffer
}

func (s *session) streams() Streams {
	st := Streams{
		In: strings.NewReader(s.in), Out: &s.out, Err: &s.err,
		InTTY: s.tty, OutTTY: s.tty, ErrTTY: s.tty,
		Getenv: func(name string) string { return s.vars[name] },
		Exec:   s.exec,
	}
	if s.terminal != nil {
		st.Terminal = func() (Terminal, error) { return s.terminal, nil }
	}
	return st
}

// env is the session as a verb sees it.
func (s *session) env() *env { return &env{Streams: s.streams()} }

// run is Main over the session.
func (s *session) run(t *testing.T, args ...string) int {
	t.Helper()
	return Main(t.Context(), args, s.streams())
}

// fakeTerminal is a person who types what keys holds.
type fakeTerminal struct {
	keys      io.Reader
	shown     bytes.Buffer
	raw       bool // echo is off
	typedRaw  bool // every read happened with echo off
	closed    bool
	ended     bool // interrupted
	restores  int
	rawErr    error
	onReading func()
	onEnd     func()
}

func typing(keys string) *fakeTerminal {
	return &fakeTerminal{keys: strings.NewReader(keys), typedRaw: true}
}

func (f *fakeTerminal) Read(p []byte) (int, error) {
	if f.onReading != nil {
		f.onReading()
	}
	if f.closed || f.ended {
		return 0, errors.New("nobody reads here any more")
	}
	f.typedRaw = f.typedRaw && f.raw
	return f.keys.Read(p)
}

func (f *fakeTerminal) Write(p []byte) (int, error) { return f.shown.Write(p) }

func (f *fakeTerminal) Close() error {
	f.closed = true
	return nil
}

func (f *fakeTerminal) Interrupt() {
	f.ended = true
	if f.onEnd != nil {
		f.onEnd()
	}
}

func (f *fakeTerminal) Raw() (func() error, error) {
	if f.rawErr != nil {
		return nil, f.rawErr
	}
	f.raw, f.closed = true, false
	return func() error {
		f.raw = false
		f.restores++
		return nil
	}, nil
}

// fullDisk refuses every write.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// want fails the test when got is not what was wanted.
func want[T comparable](t *testing.T, what string, got, wanted T) {
	t.Helper()
	if got != wanted {
		t.Errorf("%s:\n got %#v\nwant %#v", what, got, wanted)
	}
}

// wantIn fails the test when text lacks part.
func wantIn(t *testing.T, what, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%s: %q is not in\n%s", what, part, text)
	}
}
