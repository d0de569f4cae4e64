// SPDX-License-Identifier: Apache-2.0

// Package script runs the command line as people and scripts do: each file of
// testdata is a session in a directory of its own, with claviger as a command.
// It is cli.Main in this test binary, so coverage counts it.
//
// Commands besides testscript's own:
//
//	status N command…      runs the command and wants exit status N
//	eventually command…    runs the command until its exit status is 0
//	edit FILE OLD NEW      replaces the first OLD in FILE, which must be there
//
// $PORT and $PORT2 are ports of 127.0.0.1 that were free when the script began.
package script

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"claviger/internal/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"claviger": func() { os.Exit(cli.Main(context.Background(), os.Args[1:], cli.System())) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"status": status, "eventually": eventually, "edit": edit},
		Setup:               freePorts,
	})
}

// freePorts finds ports that nobody listens on. Somebody may take one before the
// script does; then the server of the script says so.
func freePorts(e *testscript.Env) error {
	for _, name := range []string{"PORT", "PORT2"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close() // together, so that the two differ
		e.Setenv(name, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return nil
}

// edit changes a file.
func edit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: edit FILE OLD NEW")
	}
	path := ts.MkAbs(args[0])
	text := ts.ReadFile(args[0])
	changed := strings.Replace(text, args[1], args[2], 1)
	if changed == text {
		ts.Fatalf("%s holds no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(path, []byte(changed), 0o600))
}

// patience is how long eventually tries.
const patience = 30 * time.Second

// eventually runs a command again and again until it succeeds.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: eventually command…")
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		err := ts.Exec(args[0], args[1:]...)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			ts.Fatalf("not within %v: %v", patience, err)
		}
	}
}

// status runs a command and compares its exit status; the streams are there
// for the stdout and stderr commands afterwards.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command…")
	}
	want, err := strconv.Atoi(args[0])
	if err != nil {
		ts.Fatalf("usage: status N command…")
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}
