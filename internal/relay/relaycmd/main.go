// SPDX-License-Identifier: Apache-2.0

package relaycmd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"claviger/internal/pki/certfile"
	"claviger/internal/relay"
)

// Exit codes.
const (
	ok      = 0
	failure = 1
	usage   = 2
)

// Streams are what the program talks through.
type Streams struct {
	Out, Err io.Writer
	ErrTTY   bool // Err is a terminal: logs are text instead of JSON
}

// System returns the process's own streams.
func System() Streams {
	info, err := os.Stderr.Stat()
	return Streams{os.Stdout, os.Stderr, err == nil && info.Mode()&os.ModeCharDevice != 0}
}

const help = `Carry sealed messages between workloads and key servers that open no inbound port.

Usage:
  claviger-relay --config FILE            run until SIGTERM or SIGINT
  claviger-relay --config FILE --check    check the configuration and the files that it names
  claviger-relay version

A relay holds no key and can open nothing. What it has and saw, claviger relay-dump
shows. docs/relay.md is the reference of the configuration; the least one is

  schema = 1
  dir = "/var/lib/claviger-relay"
  domains = ["<domain id: claviger status shows it>"]

Exit status: 0 stopped as asked, 1 failure, 2 wrong usage or configuration.
`

// Main runs one command line, without the program's name, and returns its exit
// status.
func Main(ctx context.Context, args []string, s Streams) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, stop)() // a second signal kills
	flags := flag.NewFlagSet("claviger-relay", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	path := flags.String("config", "", "configuration file")
	check := flags.Bool("check", false, "check it and end")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp) || err == nil && flags.Arg(0) == "help":
		return s.say(help)
	case err != nil:
		return s.fail(usage, err, "claviger-relay --help")
	case flags.NArg() == 1 && flags.Arg(0) == "version" && *path == "":
		return s.say("claviger-relay " + relay.Version() + "\n")
	case flags.NArg() > 0:
		return s.fail(usage, fmt.Errorf("unexpected argument %q", flags.Arg(0)), "claviger-relay --help")
	case *path == "":
		return s.fail(usage, errors.New("--config is missing"), "claviger-relay --help")
	}
	c, err := readConfig(*path)
	if err != nil {
		return s.fail(usage, err, "docs/relay.md lists the settings")
	}
	if *check {
		return s.check(c)
	}
	if err := run(ctx, c, s); err != nil {
		return s.fail(failure, err, "")
	}
	return ok
}

// check says what a configuration would do, and whether its files are there.
func (s Streams) check(c config) int {
	if c.TLS.Certificate != "" {
		if _, err := certfile.Open(c.TLS.Certificate, c.TLS.Key, clk(), s.logger()); err != nil {
			return s.fail(usage, err, "")
		}
	}
	dir := c.Dir
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		dir = filepath.Dir(dir) // a start makes it
	}
	for _, path := range []string{dir, c.NATS.Credentials, c.NATS.CA} {
		if path == "" {
			continue
		}
		if _, err := os.Stat(path); err != nil {
			return s.fail(usage, err, "")
		}
	}
	behind := "NATS inside, data in " + c.Dir
	if c.NATS.URL != "" {
		behind = fmt.Sprintf("NATS at %s, %d replicas", withoutPassword(c.NATS.URL), c.NATS.replicas())
	}
	return s.say(fmt.Sprintf("The configuration is good: listen on %s for %d domains, %s.\n", c.Listen, len(c.Domains), behind))
}

func (s Streams) say(text string) int {
	if _, err := io.WriteString(s.Out, text); err != nil {
		return s.fail(failure, fmt.Errorf("write standard output: %w", err), "")
	}
	return ok
}

func (s Streams) fail(code int, err error, hint string) int {
	fmt.Fprintf(s.Err, "error: %s\n", clean(err.Error()))
	if hint != "" {
		fmt.Fprintf(s.Err, "hint: %s\n", hint)
	}
	return code
}

func (s Streams) logger() *slog.Logger {
	if s.ErrTTY {
		return slog.New(slog.NewTextHandler(s.Err, nil))
	}
	return slog.New(slog.NewJSONHandler(s.Err, nil))
}
