// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestAskPassphrase(t *testing.T) {
	long := strings.Repeat("x", maxPassphrase)
	cases := []struct {
		name, keys, want, err string
	}{
		{"plain", "hunter2\r", "hunter2", ""},
		{"line feed", "hunter2\n", "hunter2", ""},
		{"blanks count", " a b \r", " a b ", ""},
		{"backspace", "abx\x7fc\r", "abc", ""},
		{"other backspace", "abx\x08c\r", "abc", ""},
		{"backspace takes a whole character", "aß\x7f鍵\x7fb\r", "ab", ""},
		{"backspace at the start", "\x7f\x7fa\r", "a", ""},
		{"kill line", "wrong\x15right\r", "right", ""},
		{"longest", long + "\r", long, ""},
		{"too long", long + "x\r", "", "longer than"},
		{"empty", "\r", "", "empty"},
		{"interrupt", "abc\x03", "", "context canceled"},
		{"end of input", "abc\x04", "", "context canceled"},
		{"hang-up", "abc", "", "EOF"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			term := typing(c.keys)
			s := &session{terminal: term}
			got, err := s.env().askPassphrase(t.Context(), "Passphrase")
			if !term.typedRaw || term.raw || term.restores != 1 || !term.closed {
				t.Errorf("echo: typed with echo off %v, still off %v, restored %d times", term.typedRaw, term.raw, term.restores)
			}
			want(t, "standard output", s.out.String(), "")
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer got.Wipe()
			want(t, "passphrase", string(got.Expose()), c.want)
			want(t, "shown", term.shown.String(), "Passphrase: \n")
		})
	}
}

func TestNobodyToAsk(t *testing.T) {
	_, err := (&session{}).env().askPassphrase(t.Context(), "Passphrase")
	if !errors.Is(err, errNobody) {
		t.Errorf("without a terminal: %v", err)
	}
	e := (&session{}).env()
	e.Terminal = func() (Terminal, error) { return nil, errors.New("no such device") }
	if _, err = e.askPassphrase(t.Context(), "Passphrase"); !errors.Is(err, errNobody) {
		t.Errorf("with a terminal that can't be opened: %v", err)
	}
	broken := typing("seen by everyone\r")
	broken.rawErr = errors.New("not a terminal")
	if _, err = (&session{terminal: broken}).env().askPassphrase(t.Context(), "Passphrase"); err == nil {
		t.Error("a passphrase was read although echo could not be turned off")
	}
}

func TestPromptEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	term := typing("never finished")
	ended := make(chan struct{})
	term.onEnd = func() { close(ended) }
	term.onReading = func() { cancel(); <-ended }
	_, err := (&session{terminal: term}).env().askPassphrase(ctx, "Passphrase")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	want(t, "restored", term.restores, 1)
}

func TestNewPassphrase(t *testing.T) {
	for keys, err := range map[string]string{"one\rone\r": "", "one\rtwo\r": "differ", "one\r\r": "empty", "\r": "empty", "one\r\x03": "canceled"} {
		got, e := (&session{terminal: typing(keys)}).env().newPassphrase(t.Context(), "New passphrase")
		if err == "" {
			if e != nil {
				t.Fatal(e)
			}
			want(t, "passphrase", string(got.Expose()), "one")
			continue
		}
		if e == nil || !strings.Contains(e.Error(), err) {
			t.Errorf("%q: got %v, want %q", keys, e, err)
		}
	}
}

func TestConfirm(t *testing.T) {
	cases := []struct {
		name, in string
		tty, yes bool
		ok       bool
	}{
		{"typed", "cards\n", true, false, true},
		{"typed without line feed", "cards", true, false, true},
		{"something else", "yes\n", true, false, false},
		{"nothing", "", true, false, false},
		{"--yes", "", false, true, true},
		{"nobody there", "cards\n", false, false, false},
	}
	for _, c := range cases {
		err := (&session{in: c.in, tty: c.tty}).env().confirm(t.Context(), "destroy cards:", "cards", c.yes)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil {
			want(t, c.name, asFailure(err).Code, ExitUsage)
		}
	}
}

// Ctrl-C ends the question although the read of the terminal goes on.
func TestConfirmIsInterrupted(t *testing.T) {
	in, typed := io.Pipe()
	defer typed.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	s := &session{tty: true}
	e := s.env()
	e.In = in
	interrupt()
	err := e.confirm(ctx, "destroy cards:", "cards", false)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	want(t, "exit status", e.report(err), int(ExitFailure))
}

func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	big := strings.Repeat("x", maxSecretFile)
	cases := []struct {
		name string
		src  secretSource
		want string
		code ExitCode
	}{
		{"file", secretSource{File: write("a", "hush\n"), FD: -1}, "hush", 0},
		{"only one line feed goes", secretSource{File: write("b", "hush\n\n"), FD: -1}, "hush\n", 0},
		{"windows line end", secretSource{File: write("c", "hush\r\n"), FD: -1}, "hush", 0},
		{"largest", secretSource{File: write("d", big), FD: -1}, big, 0},
		{"too large", secretSource{File: write("e", big+"x"), FD: -1}, "", ExitUsage},
		{"empty", secretSource{File: write("f", "\n"), FD: -1}, "", ExitUsage},
		{"missing", secretSource{File: filepath.Join(dir, "none"), FD: -1}, "", ExitNotFound},
		{"directory", secretSource{File: dir, FD: -1}, "", ExitFailure},
		{"two sources", secretSource{File: "x", FD: 3}, "", ExitUsage},
		{"credential", secretSource{FD: -1, Credential: "a", Prompt: "Ask"}, "hush", 0},
		{"no such credential: ask", secretSource{FD: -1, Credential: "none", Prompt: "Ask"}, "typed", 0},
		{"empty credential: don't ask", secretSource{FD: -1, Credential: "f", Prompt: "Ask"}, "", ExitUsage},
		{"prompt", secretSource{FD: -1, Prompt: "Ask"}, "typed", 0},
		{"nothing", secretSource{FD: -1}, "", ExitFailure},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := &session{terminal: typing("typed\r"), vars: map[string]string{"CREDENTIALS_DIRECTORY": dir}}
			got, err := s.env().readSecret(t.Context(), c.src)
			if c.code != 0 {
				if err == nil {
					t.Fatal("no error")
				}
				want(t, "exit code", asFailure(err).Code, c.code)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer got.Wipe()
			want(t, "secret", string(got.Expose()), c.want)
			want(t, "standard error", s.err.String(), "")
		})
	}
}

func TestSecretFlags(t *testing.T) {
	for line, wanted := range map[string]secretSource{
		"":                         {FD: -1},
		"--passphrase-file /run/p": {File: "/run/p", FD: -1},
		"--passphrase-fd 3":        {FD: 3},
	} {
		var src secretSource
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		secretFlags(flags, &src, "passphrase", "the passphrase")
		if err := flags.Parse(strings.Fields(line)); err != nil {
			t.Fatal(err)
		}
		want(t, line, src, wanted)
		flags.VisitAll(func(f *pflag.Flag) {
			if takesSecret(f) {
				t.Errorf("--%s takes a secret as its value", f.Name)
			}
		})
	}
}

func TestReadableSecretFileIsMentioned(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // modes say nothing there
	}
	path := filepath.Join(t.TempDir(), "open")
	os.WriteFile(path, []byte("hush"), 0o600)
	os.Chmod(path, 0o644)
	s := &session{}
	got, err := s.env().readSecret(t.Context(), secretSource{File: path, FD: -1})
	if err != nil {
		t.Fatal(err)
	}
	got.Wipe()
	wantIn(t, "warning", s.err.String(), "can be read by others (mode 0644)")
	if strings.Contains(s.err.String(), "hush") {
		t.Error("the warning repeats the secret")
	}
}
