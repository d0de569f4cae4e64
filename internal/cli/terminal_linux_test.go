// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// duplicate gives the test a descriptor of its own, which nothing else closes.
func duplicate(t *testing.T, fd int) int {
	t.Helper()
	n, err := unix.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// pty opens a pseudo-terminal: the person's side and the name of the other.
func pty(t *testing.T) (*os.File, string) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	conn, err := person.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number uint32
	var failed error
	err = conn.Control(func(fd uintptr) {
		failed = errors.Join(unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0))
		n, err := unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		number, failed = uint32(n), errors.Join(failed, err)
	})
	if err = errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	return person, fmt.Sprintf("/dev/pts/%d", number)
}

func TestTerminalHidesWhatIsTyped(t *testing.T) {
	person, name := pty(t)
	e := (&session{}).env()
	e.Terminal = func() (Terminal, error) { return openFiles(name, "") }
	screen := make(chan string)
	go func() {
		var seen []byte
		buf := make([]byte, 256)
		for len(seen) < len("Passphrase: ") {
			n, err := person.Read(buf)
			if err != nil {
				break
			}
			seen = append(seen, buf[:n]...)
		}
		person.WriteString("hunter3\x7f2\r") // typed as soon as it was asked for
		n, _ := person.Read(buf)
		screen <- string(append(seen, buf[:n]...))
	}()
	got, err := e.askPassphrase(t.Context(), "Passphrase")
	if err != nil {
		t.Fatal(err)
	}
	defer got.Wipe()
	want(t, "passphrase", string(got.Expose()), "hunter2")
	want(t, "screen", <-screen, "Passphrase: \r\n")
}

func TestTerminalReadEndsWithItsContext(t *testing.T) {
	person, name := pty(t)
	e := (&session{}).env()
	e.Terminal = func() (Terminal, error) { return openFiles(name, "") }
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		person.Read(make([]byte, 64)) // the prompt
		cancel()
	}()
	if _, err := e.askPassphrase(ctx, "Passphrase"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	again, err := openFiles(name, "")
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	state, err := unix.IoctlGetTermios(int(again.in.Fd()), unix.TCGETS)
	if err != nil || state.Lflag&unix.ECHO == 0 || state.Lflag&unix.ICANON == 0 {
		t.Errorf("the terminal stays without echo (%v)", err)
	}
}

func TestTerminalThatIsNone(t *testing.T) {
	if _, err := openFiles(t.TempDir()+"/none", ""); err == nil {
		t.Error("a file that does not exist was opened")
	}
	file := t.TempDir() + "/file"
	os.WriteFile(file, nil, 0o600)
	if _, err := openFiles(file, file+"/none"); err == nil {
		t.Error("an output that does not exist was opened")
	}
	two, err := openFiles(file, file)
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	if _, err := two.Raw(); err == nil {
		t.Error("echo of a plain file was turned off")
	}
}

func TestReadSecretFromDescriptor(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w.WriteString("piped\n")
	w.Close()
	conn, err := r.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var fd int
	if err := conn.Control(func(n uintptr) { fd = duplicate(t, int(n)) }); err != nil {
		t.Fatal(err)
	}
	r.Close()
	got, err := (&session{}).env().readSecret(t.Context(), secretSource{FD: fd})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Wipe()
	want(t, "secret", string(got.Expose()), "piped")
	if _, err := (&session{}).env().readSecret(t.Context(), secretSource{FD: fd}); err == nil {
		t.Error("a descriptor that was read is still open")
	}
}
