// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"claviger/internal/admin"
)

func sprint(v any) string { return fmt.Sprint(v) }

// ground is a home directory with a key file and a passphrase, in which
// installations can be made.
func ground(t *testing.T) *session {
	t.Helper()
	s := home(t)
	s.exec = inProcess
	for name, text := range map[string]string{"root.key": strings.Repeat("k", 32), "pass": "six words are better than one\n"} {
		if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// path is a name in the session's home.
func (s *session) path(name string) string { return filepath.Join(s.vars["HOME"], name) }

// inProcess runs the program again without a process.
func inProcess(ctx context.Context, args []string, in *os.File) ([]byte, error) {
	var out, complaint bytes.Buffer
	if Main(ctx, args, Streams{In: in, Out: &out, Err: &complaint}) != 0 {
		return nil, errors.New(complaint.String())
	}
	return out.Bytes(), nil
}

// initArgs founds a domain under a key file.
func (s *session) initArgs(more ...string) []string {
	return append([]string{
		"init", "--dir", s.path("server"), "--name", "example.org", "--as", "alice", "--root", "keyfile", "--key-file", s.path("root.key"),
		"--passphrase-file", s.path("pass"), "--listen", "127.0.0.1:0", "--metrics", "",
	}, more...)
}

func TestInit(t *testing.T) {
	s := ground(t)
	want(t, "exit status", s.run(t, s.initArgs("--json")...), 0)
	var got struct {
		Schema int
		initResult
	}
	if err := json.Unmarshal(s.out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want(t, "drilled", got.Drilled, true)
	want(t, "quorum", got.Quorum, 1)
	wantIn(t, "standard error", s.err.String(), "there is no recovery quorum")
	c, err := readServerConfig(s.path("server"))
	if err != nil {
		t.Fatal(err)
	}
	want(t, "domain", c.Domain, got.Domain)
	want(t, "demo", c.Demo, false)
	p, err := admin.OpenProfile(got.Profile)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "pin of the profile", p.Domain.String(), got.Domain)
	filepath.WalkDir(s.path("server"), func(path string, d os.DirEntry, err error) error {
		if d.Name() == admin.KeyFileName {
			t.Errorf("an authority key lies in the server's directory: %s", path)
		}
		if info, err := d.Info(); err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others", path)
		}
		return err
	})
	s.out.Reset()
	want(t, "config check", s.run(t, "config", "check", "--dir", s.path("server")), 0)
	wantIn(t, "config check", s.out.String(), "it unseals itself")
	want(t, "root check", s.run(t, "root", "check", "--dir", s.path("server"), "--key-file", s.path("root.key")), 0)
	wantIn(t, "root check", s.out.String(), "The root secret opens")
	want(t, "root check with another key", s.run(t, "root", "check", "--dir", s.path("server"), "--key-file", s.path("pass")), int(ExitFailure))
}

func TestInitRefuses(t *testing.T) {
	cases := []struct {
		name    string
		more    []string
		message string
	}{
		{"the profile in the data directory", []string{"--profile", "$/server/alice"}, "the profile would lie in the server's directory"},
		{"a quorum without admins", []string{"--quorum", "2of3"}, "does not fit 1 admins"},
		{"admins without a quorum", []string{"--admin", "bob=clvpub1_MCowBQYDK2VwAyEA11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}, "such as 2of2"},
		{"an admin without a key", []string{"--admin", "bob"}, "NAME=PUBKEY"},
		{"custodians without shares", []string{"--custodian", "age1x"}, "only shares have custodians"},
		{"a threshold without shares", []string{"--threshold", "2"}, "only shares have custodians"},
		{"shares without custodians", []string{"--root", "shares", "--key-file", ""}, "shares need custodians"},
		{"a key file without one", []string{"--key-file", ""}, "go together"},
		{"another root", []string{"--root", "hsm", "--key-file", ""}, "--root is passphrase"},
		{"a bad name", []string{"--name", "Example.org"}, "name: "},
		{"open metrics", []string{"--metrics", "0.0.0.0:1"}, "not a loopback address"},
		{"a CA that is not there", []string{"--ca", "$/none.pem"}, "no such file"},
		{"a CA that is none", []string{"--ca", "$/pass"}, "--ca: "},
		{"a short key", []string{"--key-file", "$/pass"}, "key file"},
		{"a recovery quorum without keys", []string{"--recovery-quorum", "1of1"}, "a recovery quorum needs keys"},
		{"a recovery key without a key", []string{"--recovery", "rex"}, "NAME=PUBKEY"},
		{"a recovery key under your name", []string{"--recovery", "alice=clvpub1_MCowBQYDK2VwAyEA11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}, "a recovery key is one of its own"},
		{"a recovery at once", []string{"--recovery", "rex=clvpub1_MCowBQYDK2VwAyEA11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "--recovery-wait", "0s"}, "the waiting time is a second to a year"},
		{"a recovery quorum of others", []string{"--recovery", "rex=clvpub1_MCowBQYDK2VwAyEA11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "--recovery-quorum", "1of2"}, "does not fit 1 recovery keys"},
		{"no directory", []string{"--dir", ""}, "--dir is missing"},
		{"no passphrase", []string{"--passphrase-file", ""}, "there is no terminal to ask on"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := ground(t)
			for i, a := range c.more {
				c.more[i] = strings.Replace(a, "$", s.vars["HOME"], 1)
			}
			if s.run(t, s.initArgs(c.more...)...) == 0 {
				t.Error("it was done")
			}
			wantIn(t, "standard error", s.err.String(), c.message)
			s.wantNothing(t)
		})
	}
}

// wantNothing: neither a data directory nor a profile is left.
func (s *session) wantNothing(t *testing.T) {
	t.Helper()
	for _, path := range []string{s.path("server"), s.path(".config/claviger/alice")} {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is left", path)
		}
	}
}

func TestInitNeverReplaces(t *testing.T) {
	s := ground(t)
	if err := os.MkdirAll(s.path("server/photos"), 0o755); err != nil {
		t.Fatal(err)
	}
	want(t, "exit status", s.run(t, s.initArgs()...), int(ExitUsage))
	wantIn(t, "message", s.err.String(), "the directory is not empty")
	if _, err := os.Stat(s.path("server/photos")); err != nil {
		t.Error(err)
	}
}

// What a person types: each new passphrase twice, the root's first.
func TestInitAsks(t *testing.T) {
	const long, other = "six words are better than one\r", "seven words are better than six\r"
	for _, c := range []struct {
		name, keys, message string
		code                ExitCode
	}{
		{"all right", long + long + other + other, "next: claviger server", ExitOK},
		{"a slip", long + other, "the two passphrases differ", ExitUsage},
		{"a slip at the authority key", long + long + other + long, "the two passphrases differ", ExitUsage},
		{"too short", "abc\rabc\r" + other + other, "passphrase", ExitFailure},
		{"too short for the authority key", long + long + "abc\rabc\r", "passphrase", ExitFailure},
		{"given up", "\x03", "interrupted", ExitFailure},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := ground(t)
			s.terminal = typing(c.keys)
			want(t, "exit status", s.run(t, s.initArgs("--root", "passphrase", "--key-file", "", "--passphrase-file", "")...), int(c.code))
			wantIn(t, "standard error", s.err.String(), c.message)
			want(t, "typed without echo", s.terminal.typedRaw, true)
			if c.code != ExitOK {
				s.wantNothing(t)
			}
		})
	}
	s := ground(t)
	s.terminal = typing(long)
	want(t, "in use", s.run(t, s.initArgs("--dir", s.vars["HOME"], "--passphrase-file", "")...), int(ExitUsage))
	want(t, "nobody was asked first", s.terminal.shown.String(), "")
}

// A drill that fails, or that finds another secret, leaves nothing.
func TestInitDrills(t *testing.T) {
	fails := func(context.Context, []string, *os.File) ([]byte, error) { return nil, errors.New("the disk lied") }
	other := func(context.Context, []string, *os.File) ([]byte, error) {
		return []byte(strings.Repeat("00", 32)), nil
	}
	short := func(context.Context, []string, *os.File) ([]byte, error) { return []byte("00"), nil }
	for name, exec := range map[string]func(context.Context, []string, *os.File) ([]byte, error){
		"the disk lied": fails, "restore drill failed": other, "something else than a fingerprint": short, "no process": nil,
	} {
		s := ground(t)
		s.exec = exec
		want(t, name, s.run(t, s.initArgs()...), int(ExitFailure))
		wantIn(t, name, s.err.String(), name)
		s.wantNothing(t)
	}
}

func TestInitWithShares(t *testing.T) {
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
	want(t, "exit status", s.run(t, args...), 0)
	wantIn(t, "result", s.out.String(), "sealed under 2 of 3 shares; recovered in a drill")
	wantIn(t, "advice", s.err.String(), "have custodian 3 test the share")
	s.out.Reset()
	want(t, "share", s.run(t, "root", "share", "--dir", s.path("server"), "2"), 0)
	sealed := s.out.String()
	s.out.Reset()
	s.in = sealed
	want(t, "sealed share", s.run(t, "root", "check", "--dir", s.path("server"), "--share", "-"), int(ExitUsage))
	wantIn(t, "hint", s.err.String(), "the share is still encrypted")
	s.in = openShare(t, sealed, ids[1])
	want(t, "share", s.run(t, "root", "check", "--dir", s.path("server"), "--share", "-"), 0)
	wantIn(t, "share", s.out.String(), "Share 2 is whole")
	s.in = strings.Replace(s.in, "index: 2", "index: 3", 1)
	if s.run(t, "root", "check", "--dir", s.path("server"), "--share", "-") == 0 {
		t.Error("a changed share passed")
	}
}

// TestInitWithKeygen takes a profile that has no domain yet.
func TestInitTakesAProfileOfKeygen(t *testing.T) {
	s := ground(t)
	pass, err := readBounded(strings.NewReader("six words are better than one"))
	if err != nil {
		t.Fatal(err)
	}
	dir := s.path("alice")
	if _, _, err := admin.CreateProfile(dir, admin.NewProfile{Name: "alice2", Unlock: admin.Unlock{Passphrase: pass}}); err != nil {
		t.Fatal(err)
	}
	want(t, "exit status", s.run(t, s.initArgs("--profile", dir)...), 0)
	wantIn(t, "result", s.out.String(), "alice2")
	s.err.Reset()
	want(t, "again", s.run(t, s.initArgs("--profile", dir, "--dir", s.path("other"))...), int(ExitUsage))
	wantIn(t, "message", s.err.String(), "belongs to a domain already")
}

func openShare(t *testing.T, sealed string, id age.Identity) string {
	t.Helper()
	r, err := age.Decrypt(armor.NewReader(strings.NewReader(sealed)), id)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
