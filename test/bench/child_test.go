// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/api"
	"claviger/internal/relay/relaycmd"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/testkit"
	"claviger/internal/wire"
)

// serverProfile names a file for the processor profile of the newest server that
// was started, beside -cpuprofile for that of the load.
var serverProfile = flag.String("serverprofile", "", "write the server's processor profile to this file")

// TestMain is also the main of the server's process, and of a relay's.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "relay" {
		os.Exit(relaycmd.Main(context.Background(), []string{"--config", os.Args[2]}, relaycmd.System()))
	}
	if len(os.Args) == 6 && os.Args[1] == "serve" {
		if err := profiled(os.Args[5], func() error { return serve(os.Args[2], os.Args[3], os.Args[4]) }); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// profiled runs f and writes what it spends its processor's time on to a file,
// unless that has no name.
func profiled(file string, f func() error) error {
	if file == "" {
		return f()
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return err
	}
	err = f()
	pprof.StopCPUProfile()
	return errors.Join(err, out.Close())
}

// serve serves a data directory until it is interrupted, and prints its address
// once it answers.
func serve(dir, domain, keyFile string) error {
	id, err := hex.DecodeString(domain)
	if err != nil {
		return err
	}
	key, err := root.ReadKey(keyFile)
	if err != nil {
		return err
	}
	r, err := root.Open(filepath.Join(dir, "root"), root.Unlock{Key: key})
	if err != nil {
		return err
	}
	s, err := api.New(keyserver.Options{Dir: dir, Domain: wire.DomainID(id), Clock: clock.System()}, nil)
	if err != nil {
		return err
	}
	if err := s.Unseal(context.Background(), r); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	fmt.Println(l.Addr())
	return s.Serve(ctx, api.Listeners{API: l})
}

// world is a domain whose server runs as a process of its own, so that its time
// and memory are its own too.
type world struct {
	*testkit.Domain
	b       *testing.B
	keyFile string
	server  *exec.Cmd // nil while none runs
}

// newWorld founds a domain and stops the server that did it.
func newWorld(b *testing.B, prepare func(*testkit.Domain)) *world {
	b.Helper()
	file := filepath.Join(b.TempDir(), "root.key")
	raw := secret.Random(32)
	defer raw.Wipe()
	must(b, os.WriteFile(file, []byte(hex.EncodeToString(raw.Expose())), 0o600))
	key, err := root.ReadKey(file)
	must(b, err)
	d := testkit.New(b, testkit.Options{
		Clock: clock.System(), Sealing: root.Sealing{Key: key}, Unlock: func() root.Unlock { return root.Unlock{Key: key} },
	})
	prepare(d)
	d.Stop()
	w := &world{Domain: d, b: b, keyFile: file}
	b.Cleanup(func() {
		if w.server != nil {
			w.down()
		}
	})
	return w
}

// up starts the server on so many processors, 0 for all, and returns when it
// answers.
func (w *world) up(processors int) {
	w.b.Helper()
	self, err := os.Executable()
	must(w.b, err)
	cmd := exec.Command(self, "serve", w.Dir, w.Founded.Domain.String(), w.keyFile, *serverProfile)
	cmd.Stderr = os.Stderr
	if processors > 0 {
		cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(processors))
	}
	out, err := cmd.StdoutPipe()
	must(w.b, err)
	must(w.b, cmd.Start())
	w.server = cmd
	address, err := bufio.NewReader(out).ReadString('\n')
	must(w.b, err)
	w.Adopt(strings.TrimSpace(address))
	if answer := w.Send(nil, testkit.Message{Method: "GET", Path: "/v1/ready"}); answer.Status != 200 {
		w.b.Fatalf("not ready: %d %s", answer.Status, answer.Body)
	}
}

// down ends the server in order.
func (w *world) down() {
	w.b.Helper()
	cmd := w.server
	w.server = nil
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		w.b.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		w.b.Errorf("the server's process: %v", err)
	}
}

// processorTime is what the server has spent so far, in it and in the kernel for
// it, on all processors together. The kernel counts it in hundredths of a second.
func (w *world) processorTime() time.Duration {
	w.b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.server.Process.Pid))
	must(w.b, err)
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime: proc_pid_stat(5)
		n, err := strconv.ParseInt(field, 10, 64)
		must(w.b, err)
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100)
}

// memory is a figure of the server's resident memory, in MiB.
func (w *world) memory(name string) float64 {
	w.b.Helper()
	return memoryOf(w.b, w.server.Process.Pid, name)
}

func memoryOf(b *testing.B, pid int, name string) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(b, err)
	for line := range strings.Lines(string(text)) {
		if kib, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.Atoi(strings.Fields(kib)[0])
			must(b, err)
			return float64(n) / 1024
		}
	}
	b.Fatalf("the kernel gives no %s", name)
	return 0
}
