// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/term"
)

// Streams is what a command line talks to. [System] gives the process's own;
// tests give buffers. Getenv is part of it, so that commands under test run
// side by side in one process.
type Streams struct {
	In  io.Reader
	Out io.Writer // what was asked for, nothing else
	Err io.Writer // messages, progress, hints

	InTTY  bool // In is a terminal: a person may be asked
	OutTTY bool // Out is a terminal: tables for people, no binary
	ErrTTY bool // Err is a terminal: progress bars and colour

	// Getenv looks up one variable of the environment; "" when unset. Nil is
	// an empty environment.
	Getenv func(name string) string

	// Exec runs this program anew, as its own process, with the given arguments
	// and standard input, and returns its standard output. Nil can't.
	Exec func(ctx context.Context, args []string, in *os.File) ([]byte, error)

	// Terminal opens the controlling terminal for a prompt. Nil, or an error,
	// means that nobody can be asked.
	Terminal func() (Terminal, error)
}

// Terminal is the controlling terminal, opened for one question.
type Terminal interface {
	io.ReadWriteCloser
	// Raw turns off echo and line editing until restore is called.
	Raw() (restore func() error, err error)
	// Interrupt ends a Read that waits, where the system can do that.
	Interrupt()
}

// System returns the streams, environment and terminal of this process.
func System() Streams {
	return Streams{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		InTTY:    term.IsTerminal(int(os.Stdin.Fd())),
		OutTTY:   term.IsTerminal(int(os.Stdout.Fd())),
		ErrTTY:   term.IsTerminal(int(os.Stderr.Fd())),
		Getenv:   os.Getenv,
		Terminal: openTerminal,
		Exec:     execSelf,
	}
}

// execSelf is Exec of a process.
func execSelf(ctx context.Context, args []string, in *os.File) ([]byte, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stdin = in
	out, err := cmd.Output()
	if bad, ok := errors.AsType[*exec.ExitError](err); ok {
		_, message, _ := strings.Cut(string(bad.Stderr), " ") // without its "error:"
		return nil, errors.New(strings.TrimSpace(message))
	}
	return out, err
}

// getenv is Getenv that works for the zero Streams.
func (s *Streams) getenv(name string) string {
	if s.Getenv == nil {
		return ""
	}
	return s.Getenv(name)
}

// colour says whether standard error may be coloured: only a terminal that
// isn't dumb, never under NO_COLOR, always under CLICOLOR_FORCE.
func (s *Streams) colour() bool {
	switch {
	case s.getenv("NO_COLOR") != "":
		return false
	case s.getenv("CLICOLOR_FORCE") != "" && s.getenv("CLICOLOR_FORCE") != "0":
		return true
	}
	return s.ErrTTY && s.getenv("TERM") != "dumb"
}

// labelColours are the SGR sequences of the labels; a colour repeats what the
// word says and never says anything alone.
func labelColour(name string) string {
	switch name {
	case "error":
		return "\x1b[1;31m"
	case "warning":
		return "\x1b[1;33m"
	}
	return "\x1b[1;36m"
}

// paint returns "name:", coloured where colour is wanted.
func (s *Streams) paint(name string) string {
	if !s.colour() {
		return name + ":"
	}
	return labelColour(name) + name + ":\x1b[0m"
}
