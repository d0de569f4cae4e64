// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/term"
)

// terminal is the controlling terminal of this process. On Windows it is two
// files, elsewhere one.
type terminal struct{ in, out *os.File }

// openTerminal opens the controlling terminal, which is there even when all
// three standard streams are redirected.
func openTerminal() (Terminal, error) {
	if runtime.GOOS == "windows" {
		return openFiles("CONIN$", "CONOUT$")
	}
	return openFiles("/dev/tty", "")
}

// openFiles opens a terminal by name; one file serves both ways when out is "".
func openFiles(in, out string) (*terminal, error) {
	f, err := os.OpenFile(in, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open terminal: %w", err)
	}
	t := &terminal{in: f, out: f}
	if out == "" {
		return t, nil
	}
	if t.out, err = os.OpenFile(out, os.O_RDWR, 0); err != nil {
		f.Close()
		return nil, fmt.Errorf("open terminal: %w", err)
	}
	return t, nil
}

func (t *terminal) Read(p []byte) (int, error)  { return t.in.Read(p) }
func (t *terminal) Write(p []byte) (int, error) { return t.out.Write(p) }

func (t *terminal) Close() error {
	if t.out != t.in {
		t.out.Close()
	}
	return t.in.Close()
}

// Interrupt sets a deadline that is long past. A system that can't poll its
// terminals refuses that, and the read ends with the next key.
func (t *terminal) Interrupt() { _ = t.in.SetReadDeadline(time.Unix(1, 0)) }

// Raw goes through SyscallConn and not Fd, which would make the file blocking
// and a read impossible to interrupt.
func (t *terminal) Raw() (func() error, error) {
	conn, err := t.in.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("open terminal: %w", err)
	}
	var state *term.State
	var failed error
	err = conn.Control(func(fd uintptr) { state, failed = term.MakeRaw(int(fd)) })
	if err == nil {
		err = failed
	}
	if err != nil {
		return nil, fmt.Errorf("turn off echo: %w", err)
	}
	return func() error {
		var failed error
		if err := conn.Control(func(fd uintptr) { failed = term.Restore(int(fd), state) }); err != nil {
			return err
		}
		return failed
	}, nil
}
