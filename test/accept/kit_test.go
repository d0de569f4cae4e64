// SPDX-License-Identifier: Apache-2.0

// Package accept holds Claviger to what its users were promised, through the
// program itself: it is built once, and each test drives it as people do, as
// processes with streams, files, terminals and exit statuses. Nothing is
// replaced and no package of the product is imported.
//
// What one process can show is tested elsewhere and faster: command lines in
// test/script, attacks on protocols in test/scenario. Here stands what needs
// several users, signals, terminals, full disks, other programs (age, openssl)
// or a process's own memory.
//
// The commands of docs/quorum.md and the first ones of README.md are read from
// those pages and run.
//
// The sizes of the streams are set by -bytes:
//
//	go test ./test/accept -run TestStreamsNeedLittleMemory -bytes 10737418240
package accept

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// streamBytes is how long the streams are that TestStreamsNeedLittleMemory sends.
var streamBytes = flag.Int64("bytes", 256<<20, "size of the streams, in bytes")

// program builds claviger once, where every user can run it. TestMain removes it.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "claviger-accept-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "claviger")
	out, err := exec.Command("go", "build", "-trimpath", "-o", path, "claviger/cmd/claviger").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build claviger: %w\n%s", err, out)
	}
	return path, cmp.Or(err, os.Chmod(dir, 0o755))
})

func TestMain(m *testing.M) {
	flag.Parse()
	path, err := program()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	os.RemoveAll(filepath.Dir(path))
	os.Exit(status)
}

// interrupt is Ctrl-C.
var interrupt os.Signal = os.Interrupt

// patience is how long a test waits for what has to happen soon.
const patience = 30 * time.Second

// What people type where they are asked.
const (
	rootPhrase  = "correct horse battery staple"
	adminPhrase = "another six words to remember"
)

// person is a user of the machine: a home, a working directory, perhaps an id of
// their own.
type person struct {
	t    *testing.T
	home string
	env  []string            // besides HOME and PATH
	as   *syscall.Credential // nil: who runs the test
}

// newPerson makes a home that is also the working directory, with the passphrases
// in the files root.pass and admin.pass.
func newPerson(t *testing.T) *person {
	t.Helper()
	p := &person{t: t, home: t.TempDir()}
	p.write("root.pass", rootPhrase+"\n")
	p.write("admin.pass", adminPhrase+"\n")
	return p
}

// user makes a person with a user id of their own if the test may do so.
func user(t *testing.T, id uint32) *person {
	t.Helper()
	p := newPerson(t)
	if os.Getuid() != 0 {
		return p
	}
	p.as = &syscall.Credential{Uid: id, Gid: id}
	for dir := p.home; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil { // t.TempDir is for its owner alone
			t.Fatal(err)
		}
	}
	for _, name := range []string{"", "root.pass", "admin.pass"} {
		if err := os.Chown(p.path(name), int(id), int(id)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(p.home, 0o700); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *person) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(p.home, name)
}

// write makes a file that its owner alone can read.
func (p *person) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(p.path(name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *person) read(name string) string {
	p.t.Helper()
	data, err := os.ReadFile(p.path(name))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(data)
}

// absent fails if a file is there.
func (p *person) absent(name string) {
	p.t.Helper()
	if _, err := os.Lstat(p.path(name)); !errors.Is(err, os.ErrNotExist) {
		p.t.Errorf("%s is there (%v)", name, err)
	}
}

// result is how a command ended.
type result struct {
	line     string
	code     int
	out, err string
	peak     int64 // resident memory at its highest, in KiB
	took     time.Duration
}

// command prepares a command of this person; name "claviger" is the program under
// test.
func (p *person) command(name string, args ...string) *exec.Cmd {
	p.t.Helper()
	bin, err := program()
	if err != nil {
		p.t.Fatal(err)
	}
	path := filepath.Dir(bin) + ":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
	if name == "claviger" {
		name = bin
	}
	cmd := exec.CommandContext(p.t.Context(), name, args...)
	cmd.Dir, cmd.Env = p.home, append([]string{"HOME=" + p.home, "PATH=" + path, "USER=alice", "NO_COLOR=1"}, p.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: p.as} // no terminal, whatever the test has
	return cmd
}

// finish runs a prepared command to its end.
func (p *person) finish(cmd *exec.Cmd) result {
	p.t.Helper()
	var out, complaint bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &complaint
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatalf("%v: %v", cmd.Args, err)
	}
	begin := time.Now()
	peak, ended := make(chan int64, 1), make(chan struct{})
	go func() { peak <- watchPeak(cmd.Process.Pid, ended) }()
	err := cmd.Wait()
	took := time.Since(begin)
	close(ended)
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		p.t.Fatalf("%v: %v", cmd.Args, err)
	}
	r := result{line: strings.Join(cmd.Args, " "), code: cmd.ProcessState.ExitCode(), out: out.String(), err: complaint.String(), took: took}
	r.peak = <-peak
	return r
}

// watchPeak reads a process's high-water mark of resident memory, in KiB, until
// it has ended. The kernel's own figure for an ended child (ru_maxrss) starts at
// the size of the process that made it, which says nothing about the program.
func watchPeak(pid int, ended <-chan struct{}) (peak int64) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // gone once it ended
		name, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if _, rest, ok := strings.Cut(string(status), "VmHWM:"); ok && filepath.Base(name) == "claviger" {
			var now int64
			if _, err := fmt.Sscan(rest, &now); err == nil {
				peak = max(peak, now)
			}
		}
		select {
		case <-ended:
			return peak
		case <-tick.C:
		}
	}
}

// run runs claviger.
func (p *person) run(args ...string) result {
	p.t.Helper()
	return p.finish(p.command("claviger", args...))
}

// feed runs claviger with something on standard input.
func (p *person) feed(in io.Reader, args ...string) result {
	p.t.Helper()
	cmd := p.command("claviger", args...)
	cmd.Stdin = in
	return p.finish(cmd)
}

// do runs a command that has to succeed and returns its standard output.
func (p *person) do(args ...string) string {
	p.t.Helper()
	return p.run(args...).ends(p.t, 0).out
}

// admin runs an admin's command, with the passphrase from a file.
func (p *person) admin(args ...string) result {
	p.t.Helper()
	return p.run(append(args, "--passphrase-file", "admin.pass")...)
}

// shell runs a line of a page as its reader would.
func (p *person) shell(line string) result {
	p.t.Helper()
	return p.finish(p.command("/bin/sh", "-c", line))
}

// ends fails unless the command ended so.
func (r result) ends(t *testing.T, code int) result {
	t.Helper()
	if r.code != code {
		t.Fatalf("%s\nexit status %d, want %d\n%s%s", r.line, r.code, code, r.out, r.err)
	}
	return r
}

// says fails unless standard error holds each part.
func (r result) says(t *testing.T, parts ...string) result {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(r.err, part) {
			t.Errorf("%s\nstandard error lacks %q:\n%s", r.line, part, r.err)
		}
	}
	return r
}

// oneError fails unless the complaint is one error line with this in it, and
// hints at most.
func (r result) oneError(t *testing.T, code int, parts ...string) {
	t.Helper()
	r.ends(t, code).says(t, parts...)
	n := 0
	for line := range strings.Lines(r.err) {
		switch {
		case strings.HasPrefix(line, "error: "):
			n++
		case strings.HasPrefix(line, "hint: "), strings.HasPrefix(line, "warning: "):
		default:
			t.Errorf("%s\nan unexpected line: %s", r.line, line)
		}
	}
	if n != 1 {
		t.Errorf("%s\n%d error lines:\n%s", r.line, n, r.err)
	}
}

// refuses fails unless the command failed with one error line with this in it.
func (r result) refuses(t *testing.T, parts ...string) {
	t.Helper()
	if r.code == 0 {
		t.Errorf("%s\nwas not refused", r.line)
	}
	r.oneError(t, r.code, parts...)
}

// screen collects what a running program writes.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// running is a program that stays.
type running struct {
	t   *testing.T
	cmd *exec.Cmd
	screen
	done chan struct{}
}

// start starts claviger. It is ended with the test, if not before.
func (p *person) start(args ...string) *running {
	p.t.Helper()
	r := &running{t: p.t, cmd: p.command("claviger", args...)}
	r.cmd.Stdout, r.cmd.Stderr = &r.screen, &r.screen
	r.launch()
	return r
}

func (r *running) launch() {
	r.t.Helper()
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.done = make(chan struct{})
	go func() { r.cmd.Wait(); close(r.done) }()
	r.t.Cleanup(func() { r.end(os.Interrupt) })
}

// end signals the program, waits for it and returns its exit status.
func (r *running) end(s os.Signal) int {
	r.t.Helper()
	r.cmd.Process.Signal(s) // gone already: its status is there
	select {
	case <-r.done:
	case <-time.After(patience):
		r.cmd.Process.Kill()
		<-r.done
		r.t.Errorf("%v did not end:\n%s", r.cmd.Args, r.String())
	}
	return r.cmd.ProcessState.ExitCode()
}

// shows waits until the program has written this.
func (r *running) shows(text string) *running {
	r.t.Helper()
	eventually(r.t, func() error {
		if seen := r.String(); !strings.Contains(seen, text) {
			return fmt.Errorf("it does not say %q:\n%s", text, seen)
		}
		return nil
	})
	return r
}

// eventually tries until there is no error.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not within %v: %v", patience, err)
		}
	}
}

// freePorts returns addresses where nobody listens.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // together, so that they differ
		out = append(out, l.Addr().String())
	}
	return out
}

// domain is an installation with one admin, a key and a client.
type domain struct {
	*person
	server *running
	listen string
}

// tourKey is the key that the client app1 of a domain may use.
const tourKey = "payments/cards"

// installed founds a domain and starts its server, unsealed.
func installed(t *testing.T, flags ...string) *domain {
	t.Helper()
	p, ports := newPerson(t), freePorts(t, 2)
	p.do(append([]string{"init", "--dir", "server", "--name", "example.org", "--as", "alice", "--root-passphrase-file", "root.pass",
		"--passphrase-file", "admin.pass", "--listen", ports[0], "--metrics", ports[1]}, flags...)...)
	d := &domain{person: p, listen: ports[0]}
	d.restart()
	return d
}

// restart starts the server and opens it.
func (d *domain) restart() {
	d.t.Helper()
	d.server = d.start("server", "--dir", "server").shows("Serving ")
	d.do("unseal", "--dir", "server", "--passphrase-file", "root.pass")
}

// enrolled is a domain with the client app1, which may use the key.
func enrolled(t *testing.T) *domain {
	t.Helper()
	d := installed(t)
	d.admin("key", "create", tourKey, "--allow", "app1").ends(t, 0)
	d.enroll("app1")
	return d
}

func (d *domain) enroll(name string) {
	d.t.Helper()
	d.admin("client", "invite", name, "-o", name+".invite").ends(d.t, 0)
	d.do("client", "enroll", name+".invite")
}
