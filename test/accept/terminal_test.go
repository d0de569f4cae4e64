// SPDX-License-Identifier: Apache-2.0

package accept

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal opens a pseudo-terminal: the side of who sits there, and the one
// of programs.
func openTerminal(t *testing.T) (keyboard, tty *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keyboard.Close() })
	conn, err := keyboard.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	var unlocked, numbered error
	err = conn.Control(func(fd uintptr) {
		unlocked = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0)
		number, numbered = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
	})
	if err = errors.Join(err, unlocked, numbered); err != nil {
		t.Fatal(err)
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	return keyboard, tty
}

// answer is what is typed when the screen asks; with always, at every passphrase.
type answer struct {
	asked, typed string
	always       bool
}

// anyPassphrase is how a question for a passphrase ends.
var anyPassphrase = regexp.MustCompile(`(assphrase of [^\n]*|Once more): $`)

func (a answer) fits(screen string) bool {
	if a.always {
		return anyPassphrase.MatchString(screen)
	}
	return strings.Contains(screen, a.asked)
}

// seated runs claviger on a terminal where somebody gives these answers, in this
// order.
type seated struct {
	*running
	keyboard *os.File
	read     chan struct{} // closed when the screen was read to its end
}

func (p *person) sit(args []string, answers ...answer) *seated {
	p.t.Helper()
	return p.sitAt(p.command("claviger", args...), answers...)
}

// sitAt is sit for a command that was prepared.
func (p *person) sitAt(cmd *exec.Cmd, answers ...answer) *seated {
	p.t.Helper()
	keyboard, tty := openTerminal(p.t)
	defer tty.Close()
	r := &running{t: p.t, cmd: cmd}
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = tty, tty, tty
	r.cmd.SysProcAttr.Setctty = true
	r.launch()
	read := make(chan struct{})
	go func() {
		defer close(read)
		r.converse(keyboard, answers)
	}()
	return &seated{running: r, keyboard: keyboard, read: read}
}

// converse reads the screen until the program closes it.
func (r *running) converse(keyboard *os.File, answers []answer) {
	var unanswered strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := keyboard.Read(buf)
		r.screen.Write(buf[:n])
		unanswered.Write(buf[:n])
		if len(answers) > 0 && answers[0].fits(unanswered.String()) {
			keyboard.WriteString(answers[0].typed + "\r")
			if !answers[0].always {
				answers = answers[1:]
			}
			unanswered.Reset()
		}
		if err != nil {
			return // EIO: nobody has the other side open
		}
	}
}

// ends waits for the program and fails unless it ended so.
func (s *seated) ends(code int) *seated {
	s.t.Helper()
	eventually(s.t, func() error {
		select {
		case <-s.done:
			return nil
		default:
			return fmt.Errorf("%v still runs:\n%s", s.cmd.Args, s.String())
		}
	})
	select { // or what it said last would be missing now and then
	case <-s.read:
	case <-time.After(time.Minute): // somebody else holds the terminal
	}
	if got := s.cmd.ProcessState.ExitCode(); got != code {
		s.t.Fatalf("%v\nexit status %d, want %d\n%s", s.cmd.Args, got, code, s.String())
	}
	return s
}
