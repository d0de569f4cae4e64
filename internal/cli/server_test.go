// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"claviger/internal/keyserver/api"
)

// lines is output that several goroutines write and the test waits for.
type lines struct {
	mu    sync.Mutex
	text  bytes.Buffer
	grown chan struct{}
}

func newLines() *lines { return &lines{grown: make(chan struct{}, 1)} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.grown <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// liveServer is a server in a test's process.
type liveServer struct {
	out, err *lines
	stop     func() int
}

// serve runs `claviger server` until it says that it serves, or has ended.
func (s *session) serve(t *testing.T, args ...string) *liveServer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &liveServer{out: newLines(), err: newLines()}
	st := s.streams()
	st.Out, st.Err = r.out, r.err
	ended := make(chan int, 1)
	go func() { ended <- Main(ctx, append([]string{"server", "--dir", s.path("server")}, args...), st) }()
	r.stop = sync.OnceValue(func() int { cancel(); return <-ended })
	t.Cleanup(func() { r.stop() })
	late := time.After(time.Minute)
	for !strings.Contains(r.out.String(), "Serving ") {
		select {
		case <-r.out.grown:
		case code := <-ended:
			ended <- code
			return r
		case <-late:
			t.Fatal("the server neither serves nor ends")
		}
	}
	return r
}

// status asks a server's control socket.
func (s *session) status(t *testing.T) api.ControlStatus {
	t.Helper()
	var got api.ControlStatus
	if err := control(t.Context(), s.path("server"), "GET", "/status", nil, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// configure changes a line of claviger.toml.
func (s *session) configure(t *testing.T, old, changed string) {
	t.Helper()
	path := filepath.Join(s.path("server"), configFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("the configuration holds no %q", old)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), old, changed, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// passphraseGround has a domain whose root is sealed under a passphrase.
func passphraseGround(t *testing.T) *session {
	t.Helper()
	s := ground(t)
	want(t, "init", s.run(t, s.initArgs("--root", "passphrase", "--key-file", "", "--root-passphrase-file", s.path("pass"))...), 0)
	return s
}

const typed = "six words are better than one\r"

func TestServerAsks(t *testing.T) {
	s := passphraseGround(t)
	s.vars["NO_COLOR"] = "1"
	for _, c := range []struct {
		name, keys, message string
		tty, sealed         bool
		code                ExitCode
	}{
		{"nobody to ask", "", "the server is sealed", false, true, ExitOK},
		{"in the background", typed, "the server is sealed", false, true, ExitOK},
		{"typed", typed, "next: claviger key create", true, false, ExitOK},
		{"typed at the third attempt", "no\rnein\r" + typed, "that is not the passphrase", true, false, ExitOK},
		{"never right", "no\rnein\rnon\r" + typed, "error: ", true, false, ExitDenied},
		{"given up", "\x03", "interrupted", true, false, ExitFailure},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.tty, s.terminal = c.tty, typing(c.keys)
			r := s.serve(t)
			if c.code == ExitOK {
				want(t, "sealed", s.status(t).Sealed, c.sealed)
			}
			want(t, "exit status", r.stop(), int(c.code))
			wantIn(t, "standard error", r.err.String(), c.message)
			if c.sealed {
				for _, way := range []string{"claviger unseal --dir", "key_file", "credential"} {
					wantIn(t, "ways out", r.err.String(), way)
				}
			}
		})
	}
}

func TestServerStartsUnattended(t *testing.T) {
	s := passphraseGround(t)
	s.configure(t, `key_file = ""`, `key_file = "../pass"`)
	r := s.serve(t)
	want(t, "key file: sealed", s.status(t).Sealed, false)
	want(t, "exit status", r.stop(), 0)

	s.configure(t, `key_file = "../pass"`, `key_file = "../root.key"`)
	want(t, "a wrong one", s.serve(t).stop(), int(ExitDenied))
	s.configure(t, `key_file = "../root.key"`, `key_file = ""`)
	s.configure(t, `credential = ""`, `credential = "pass"`)
	r = s.serve(t)
	want(t, "no credentials", r.stop(), int(ExitNotFound))
	wantIn(t, "no credentials", r.err.String(), "LoadCredential=pass")
	s.vars["CREDENTIALS_DIRECTORY"] = s.vars["HOME"]
	r = s.serve(t)
	want(t, "credential: sealed", s.status(t).Sealed, false)
	want(t, "exit status", r.stop(), 0)
}

// TestUnsealFromKeyFile: a server that was sealed while it runs opens again with
// the file that its configuration names, as that file is then.
func TestUnsealFromKeyFile(t *testing.T) {
	s := ground(t)
	want(t, "init", s.run(t, s.initArgs()...), 0)
	s.serve(t)
	seal := func() {
		t.Helper()
		want(t, "seal", s.run(t, "seal", "--dir", s.path("server")), 0)
	}
	unseal := func() int { return s.run(t, "unseal", "--dir", s.path("server")) }
	seal()
	want(t, "unseal", unseal(), 0)
	want(t, "sealed", s.status(t).Sealed, false)
	seal()
	key := s.path("root.key")
	if err := os.Rename(key, key+".away"); err != nil {
		t.Fatal(err)
	}
	want(t, "without the file", unseal(), int(ExitFailure))
	wantIn(t, "without the file", s.err.String(), "[root] key_file")
	want(t, "sealed", s.status(t).Sealed, true)
	if err := os.Rename(key+".away", key); err != nil {
		t.Fatal(err)
	}
	want(t, "with the file again", unseal(), 0)
	want(t, "sealed", s.status(t).Sealed, false)
}

func TestUnsealWithShares(t *testing.T) {
	s := ground(t)
	args := s.initArgs("--root", "shares", "--key-file", "")
	var ids []*age.X25519Identity
	for range 3 {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
		args = append(args, "--custodian", id.Recipient().String())
	}
	want(t, "init", s.run(t, args...), 0)
	s.serve(t)
	bring := func(i int) int {
		s.out.Reset()
		s.err.Reset()
		want(t, "share", s.run(t, "root", "share", "--dir", s.path("server"), sprint(i+1)), 0)
		s.in = openShare(t, s.out.String(), ids[i])
		s.out.Reset()
		return s.run(t, "unseal", "--dir", s.path("server"), "--share", "-")
	}
	want(t, "without a share", s.run(t, "unseal", "--dir", s.path("server")), int(ExitUsage))
	want(t, "first", bring(2), 0)
	wantIn(t, "first", s.out.String(), "1 of 2 shares have been brought")
	want(t, "the same again", bring(2), int(ExitFailure))
	want(t, "still", s.status(t).Have, 1)
	want(t, "second", bring(0), 0)
	wantIn(t, "second", s.out.String(), "The server is unsealed")
	want(t, "unsealed already", s.run(t, "unseal", "--dir", s.path("server")), 0)
	s.out.Reset()
	want(t, "seal", s.run(t, "seal", "--dir", s.path("server"), "--json"), 0)
	var got struct{ Sealed bool }
	if err := json.Unmarshal(s.out.Bytes(), &got); err != nil || !got.Sealed {
		t.Errorf("seal --json: %s (%v)", s.out.String(), err)
	}
	want(t, "the shares are forgotten", s.status(t).Have, 0)
}

func TestControlSocket(t *testing.T) {
	s := passphraseGround(t)
	socket := filepath.Join(s.path("server"), controlSocket)
	old, err := net.Listen("unix", socket) // a server that was killed
	if err != nil {
		t.Fatal(err)
	}
	old.(*net.UnixListener).SetUnlinkOnClose(false)
	old.Close()
	r := s.serve(t)
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the socket %v, %v", info.Mode(), err)
	}
	second := s.serve(t)
	want(t, "a second server", second.stop(), int(ExitFailure))
	wantIn(t, "a second server", second.err.String(), "a server runs on this data directory already")
	want(t, "the first still answers", s.status(t).Sealed, true)
	want(t, "exit status", r.stop(), 0)
	want(t, "unseal", s.run(t, "unseal", "--dir", s.path("server")), int(ExitNotFound))
	want(t, "no --dir", s.run(t, "unseal"), int(ExitUsage))
}

func TestDirectoryThatCannotBeWritten(t *testing.T) {
	err := checkWritable(filepath.Join(t.TempDir(), "gone"))
	if err == nil {
		t.Fatal("it was taken for writable")
	}
	wantIn(t, "message", err.Error(), "the data directory can't be written")
	dir := t.TempDir()
	if err := checkWritable(dir); err != nil {
		t.Error(err)
	}
	wantEmpty(t, dir)
}
