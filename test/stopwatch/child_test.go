// SPDX-License-Identifier: Apache-2.0

package stopwatch

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"claviger/client"
	"claviger/internal/relay/natsbus/natstest"
	"claviger/internal/relay/relaycmd"
)

// TestMain is also the main of clients', relays' and NATS's processes.
func TestMain(m *testing.M) {
	var err error
	switch {
	case len(os.Args) == 5 && os.Args[1] == "hold":
		err = hold(os.Args[2], os.Args[3], os.Args[4])
	case len(os.Args) == 3 && os.Args[1] == natstest.NodeRole:
		err = natstest.Node(os.Args[2])
	case len(os.Args) == 3 && os.Args[1] == "relay":
		os.Exit(relaycmd.Main(context.Background(), []string{"--config", os.Args[2]}, relaycmd.System()))
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// hold takes a lease and uses it, and says at each line that it reads when that was
// possible last and whether it still is: profile, file of an object, file of the
// clock.
func hold(dir, object, clockFile string) error {
	p, err := client.OpenProfile(dir)
	if err != nil {
		return err
	}
	h := &holder{truth: written(clockFile), every: 2 * time.Millisecond}
	if h.object, err = os.ReadFile(object); err != nil {
		return err
	}
	if h.client, err = client.Dial(context.Background(), p, client.Options{Clock: h.truth}); err != nil {
		return err
	}
	if _, _, err := h.client.Decrypt(context.Background(), h.object, expect); err != nil {
		return err
	}
	go h.run(context.Background(), 0)
	fmt.Println("leased")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		for before := h.count(); h.count() < before+2; {
			pause(time.Millisecond)
		}
		h.mu.Lock()
		fmt.Println(h.last.UnixNano(), h.dark.IsZero())
		h.mu.Unlock()
	}
	return nil
}

// child is such a process.
type child struct {
	rig   *rig
	clock string // its file
	cmd   *exec.Cmd
	in    io.Writer
	out   *bufio.Scanner
}

func (r *rig) child(t *testing.T, by *hop) *child {
	t.Helper()
	p, err := r.enrol("child", r.invite("child", by.address))
	r.must(err)
	object := filepath.Join(t.TempDir(), "object")
	r.must(os.WriteFile(object, r.object, 0o600))
	self, err := os.Executable()
	r.must(err)
	clockFile := filepath.Join(t.TempDir(), "clock")
	r.must(r.clock.write(clockFile))
	c := &child{rig: r, clock: clockFile, cmd: exec.Command(self, "hold", p.Dir, object, clockFile)}
	c.cmd.Stderr = os.Stderr
	c.in, err = c.cmd.StdinPipe()
	r.must(err)
	out, err := c.cmd.StdoutPipe()
	r.must(err)
	c.out = bufio.NewScanner(out)
	following := by.following()
	r.must(c.cmd.Start())
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill() // stopped or not
		_ = c.cmd.Wait()         // says that it was killed
	})
	if line := c.line(t); line != "leased" {
		t.Fatalf("the process says %q", line)
	}
	r.until("the process follows", func() bool { return by.following() > following })
	return c
}

func (c *child) line(t *testing.T) string {
	t.Helper()
	if !c.out.Scan() {
		t.Fatalf("the process ended: %v", c.cmd.Wait())
	}
	return c.out.Text()
}

// ask returns when the process could use the key last, and whether it still can.
func (c *child) ask(t *testing.T) (last time.Time, still bool) {
	t.Helper()
	fmt.Fprintln(c.in) // if it has ended, the next line says so
	text, state, _ := strings.Cut(c.line(t), " ")
	ns, err := strconv.ParseInt(text, 10, 64)
	c.rig.must(err)
	return time.Unix(0, ns), state == "true"
}

// stop stops the process while it can use the key.
func (c *child) stop(t *testing.T) {
	t.Helper()
	if _, still := c.ask(t); !still {
		t.Error("the process can't use the key before it is stopped")
	}
	c.rig.must(c.cmd.Process.Signal(syscall.SIGSTOP))
	c.rig.until("the process is stopped", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
		c.rig.must(err)
		_, rest, _ := strings.Cut(string(stat), ") ")
		return strings.HasPrefix(rest, "T")
	})
}

// goOn continues it and returns when it used the key last.
func (c *child) goOn(t *testing.T) (last time.Time) {
	t.Helper()
	c.rig.must(c.rig.clock.write(c.clock))
	c.rig.must(c.cmd.Process.Signal(syscall.SIGCONT))
	last, still := c.ask(t)
	if still {
		t.Error("the process uses the key after it was stopped through its bound")
	}
	return last
}
