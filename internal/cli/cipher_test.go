// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"claviger/internal/demo"
)

// ward is a running demo domain with the key "a/b", which app may use.
type ward struct {
	t   *testing.T
	d   *demo.Demo
	dir string // for the test's files
}

func newWard(t *testing.T) *ward {
	t.Helper()
	s := &session{}
	e := s.env()
	e.json = true
	d, err := demo.Open(t.Context(), e.demoOptions(""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &ward{t: t, d: d, dir: t.TempDir()}
	w.must("admin", "key", "create", "a/b", "--allow", "app")
	return w
}

// as is a session under one of the demo's profiles.
func (w *ward) as(profile string) *session {
	return &session{vars: map[string]string{"CLAVIGER_PROFILE": filepath.Join(w.d.Dir, profile)}}
}

// must runs a command line that has to work.
func (w *ward) must(profile string, args ...string) *session {
	w.t.Helper()
	s := w.as(profile)
	if code := s.run(w.t, args...); code != 0 {
		w.t.Fatalf("%s: exit status %d\n%s", strings.Join(args, " "), code, s.err.String())
	}
	return s
}

// fails runs a command line that has to end with a code and one line.
func (w *ward) fails(code ExitCode, message string, s *session, args ...string) {
	w.t.Helper()
	want(w.t, strings.Join(args, " "), s.run(w.t, args...), int(code))
	line, rest, _ := strings.Cut(s.err.String(), "\n")
	wantIn(w.t, strings.Join(args, " "), line, message)
	if rest != "" && !strings.HasPrefix(rest, "hint: ") {
		w.t.Errorf("more than an error and a hint:\n%s", s.err.String())
	}
}

func (w *ward) path(name string) string { return filepath.Join(w.dir, name) }

func (w *ward) write(name string, data []byte) string {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), data, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return w.path(name)
}

func (w *ward) read(name string) []byte {
	w.t.Helper()
	data, err := os.ReadFile(w.path(name))
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

// wantFiles: the test's directory holds these files and no others.
func (w *ward) wantFiles(names ...string) {
	w.t.Helper()
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	var have []string
	for _, e := range entries {
		have = append(have, e.Name())
	}
	want(w.t, "files", strings.Join(have, " "), strings.Join(names, " "))
}

func TestEncryptDecrypt(t *testing.T) {
	w := newWard(t)
	for _, size := range []int{0, 1, 16 << 10, 3<<20 + 7} {
		plain := make([]byte, size)
		rand.Read(plain)
		in := w.write("in", plain)
		w.must("app", "encrypt", "--key", "a/b", "--context", "c", "--partition", "p", "-o", w.path("clv"), in)
		if bytes.Contains(w.read("clv"), plain) && size > 1 {
			t.Error("the ciphertext holds the plaintext")
		}
		r := w.must("app", "decrypt", "--json", "--key", "a/b", "--context", "c", "-o", w.path("out"), w.path("clv"))
		if !bytes.Equal(w.read("out"), plain) {
			t.Errorf("%d bytes: another plaintext", size)
		}
		var got cipherResult
		if err := json.Unmarshal(r.out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		want(t, "result", got.Bytes, int64(size))
		want(t, "key", got.Key, "a/b")
		// the same through pipes, each read by the other's way
		s := w.as("app")
		s.in = string(plain)
		want(t, "pipe in", s.run(t, "encrypt", "--key", "a/b"), 0)
		sealed := s.out.String()
		s = w.as("app")
		s.in = sealed
		want(t, "pipe out", s.run(t, "decrypt", "--key", "a/b", "-"), 0)
		want(t, "plaintext of the pipe", s.out.String() == string(plain), true)
	}
	w.wantFiles("clv", "in", "out")
}

func TestDecryptOfWhatWasChanged(t *testing.T) {
	w := newWard(t)
	in := w.write("in", bytes.Repeat([]byte("secret "), 10000))
	w.must("app", "encrypt", "--key", "a/b", "--context", "c", "-o", w.path("clv"), in)
	whole := w.read("clv")
	for name, change := range map[string]func([]byte) []byte{
		"a bit of the body":   func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"a bit of the magic":  func(b []byte) []byte { b[0] ^= 1; return b },
		"a bit of the header": func(b []byte) []byte { b[60] ^= 1; return b },
		"cut":                 func(b []byte) []byte { return b[:len(b)-1] },
		"cut to chunks":       func(b []byte) []byte { return b[:len(b)-len(b)%(16<<10)] },
		"longer":              func(b []byte) []byte { return append(b, 0) },
		"empty":               func([]byte) []byte { return nil },
	} {
		w.write("bad", change(bytes.Clone(whole)))
		w.fails(ExitIntegrity, "error: ", w.as("app"), "decrypt", "--key", "a/b", "--context", "c", "-o", w.path("out"), w.path("bad"))
		s := w.as("app")
		s.in = string(w.read("bad"))
		want(t, name+" on a pipe", s.run(t, "decrypt", "--key", "a/b", "--context", "c"), int(ExitIntegrity))
	}
	w.fails(ExitIntegrity, "error: ", w.as("app"), "decrypt", "--key", "a/b", "--context", "d", "-o", w.path("out"), w.path("clv"))
	w.wantFiles("bad", "clv", "in")

	w.write("out", []byte("from before"))
	w.fails(ExitIntegrity, "error: ", w.as("app"), "decrypt", "--key", "a/b", "-o", w.path("out"), w.path("bad"))
	want(t, "the old file", string(w.read("out")), "from before")
}

func TestDecryptExpectsKeys(t *testing.T) {
	w := newWard(t)
	w.must("admin", "key", "create", "c/d", "--allow", "app")
	in := w.write("in", []byte("hello"))
	w.must("app", "encrypt", "--key", "a/b", "-o", w.path("clv"), in)
	w.fails(ExitIntegrity, "not one of the expected keys", w.as("app"), "decrypt", "--key", "c/d", w.path("clv"))
	s := w.must("app", "decrypt", "--key", "c/d", "--key", "a/b", w.path("clv"))
	want(t, "named: nothing to say", s.err.String(), "")
	s = w.must("app", "decrypt", w.path("clv"))
	want(t, "plaintext", s.out.String(), "hello")
	want(t, "not named", s.err.String(), "note: opened with a/b version 1\n")
	setExpected(t, filepath.Join(w.d.Dir, "app", "profile.json"), "c/d")
	w.fails(ExitIntegrity, "not one of the expected keys", w.as("app"), "decrypt", w.path("clv"))
	setExpected(t, filepath.Join(w.d.Dir, "app", "profile.json"), "a/b")
	s = w.must("app", "decrypt", w.path("clv"))
	want(t, "the profile's list: nothing to say", s.err.String(), "")
}

// setExpected changes the list of expected keys in a profile.
func setExpected(t *testing.T, path, key string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var p map[string]any
	if err := json.Unmarshal(data, &p); err != nil {
		t.Fatal(err)
	}
	p["keys"] = []map[string]string{{"name": key}}
	if data, err = json.Marshal(p); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPartitions(t *testing.T) {
	w := newWard(t)
	in := w.write("in", []byte("hello"))
	w.must("app", "encrypt", "--key", "a/b", "--partition", "eu", "-o", w.path("eu"), in)
	w.must("app", "encrypt", "--key", "a/b", "--partition", "us", "--hide-partition", "-o", w.path("us"), in)
	w.must("app", "decrypt", "--key", "a/b", w.path("eu"))
	w.must("app", "decrypt", "--key", "a/b", "--partition", "eu", w.path("eu"))
	w.must("app", "decrypt", "--key", "a/b", "--partition", "us", w.path("us"))
	w.fails(ExitIntegrity, "error: ", w.as("app"), "decrypt", "--key", "a/b", "--partition", "", w.path("eu"))
	w.fails(ExitIntegrity, "error: ", w.as("app"), "decrypt", "--key", "a/b", "--partition", "us", w.path("eu"))
	w.fails(ExitIntegrity, "error: ", w.as("app"), "decrypt", "--key", "a/b", "--partition", "eu", w.path("us"))
	s := w.must("app2", "inspect", w.path("eu"))
	wantIn(t, "inspect", s.out.String(), `"eu"`)
	s = w.must("app2", "inspect", w.path("us"))
	wantIn(t, "inspect", s.out.String(), "(hidden)")
	w.fails(ExitUsage, "there is no partition to hide", w.as("app"), "encrypt", "--key", "a/b", "--hide-partition", in)
}

func TestDenials(t *testing.T) {
	w := newWard(t)
	in := w.write("in", []byte("hello"))
	w.must("app", "encrypt", "--key", "a/b", "-o", w.path("clv"), in)
	s := w.as("app2")
	want(t, "denied", s.run(t, "encrypt", "--key", "a/b", "-o", w.path("out"), in), int(ExitDenied))
	want(t, "lines", s.err.String(), "error: app2 may not encrypt with a/b (no policy allows it)\nhint: an admin can run: claviger policy allow app2 a/b\n")
	s = w.as("app")
	want(t, "no such key", s.run(t, "encrypt", "--key", "no/such", "-o", w.path("out"), in), int(ExitDenied))
	wantIn(t, "no such key looks the same", s.err.String(), "error: app may not encrypt with no/such (no policy allows it)")
	w.must("admin", "key", "disable", "a/b")
	s = w.as("app")
	want(t, "disabled", s.run(t, "decrypt", "--key", "a/b", "-o", w.path("out"), w.path("clv")), int(ExitDenied))
	want(t, "lines", s.err.String(), "error: app may not decrypt with a/b (the key is disabled)\nhint: an admin can run: claviger enable a/b\n")
	w.wantFiles("clv", "in")
}

func TestCipherUsage(t *testing.T) {
	w := newWard(t)
	in := w.write("in", []byte("hello"))
	w.must("app", "encrypt", "--key", "a/b", "-o", w.path("clv"), in)
	app := func() *session { return w.as("app") }
	tty := func() *session { s := w.as("app"); s.tty, s.vars["NO_COLOR"] = true, "1"; return s }
	w.fails(ExitUsage, "--key is missing", app(), "encrypt", in)
	w.fails(ExitUsage, "standard output is a terminal", tty(), "encrypt", "--key", "a/b", in)
	w.fails(ExitUsage, "there is nothing to decrypt", tty(), "decrypt", "--key", "a/b")
	w.fails(ExitUsage, "input and output are the same file", app(), "encrypt", "--key", "a/b", "-o", in, in)
	w.fails(ExitUsage, "input and output are the same file", app(), "decrypt", "--key", "a/b", "-o", w.path("clv"), w.path("clv"))
	w.fails(ExitUsage, "the input is a directory", app(), "encrypt", "--key", "a/b", w.dir)
	w.fails(ExitNotFound, "no such file", app(), "encrypt", "--key", "a/b", w.path("none"))
	w.fails(ExitNotFound, "no such file", app(), "decrypt", "--key", "a/b", w.path("none"))
	w.fails(ExitIntegrity, "not a ciphertext", app(), "inspect", in)
	w.fails(ExitUsage, "of kind admin", w.as("admin"), "encrypt", "--key", "a/b", in)
	w.fails(ExitUsage, "is no name of a key", app(), "encrypt", "--key", "A B", in)
	s := tty()
	want(t, "a plaintext may go to a terminal", s.run(t, "decrypt", "--key", "a/b", w.path("clv")), 0)
	w.wantFiles("clv", "in")
}

func TestProgressOfLongFiles(t *testing.T) {
	w := newWard(t)
	in := w.write("in", make([]byte, longFile))
	s := w.as("app")
	st := s.streams()
	st.ErrTTY = true
	want(t, "exit status", Main(t.Context(), []string{"encrypt", "--key", "a/b", "-o", w.path("clv"), in}, st), 0)
	wantIn(t, "progress", s.err.String(), "100%")
	st.ErrTTY = false
	s.err.Reset()
	want(t, "exit status", Main(t.Context(), []string{"decrypt", "--key", "a/b", "-o", w.path("out"), w.path("clv")}, st), 0)
	want(t, "no terminal, no progress", s.err.String(), "")
}

func TestRewrap(t *testing.T) {
	w := newWard(t)
	in := w.write("in", bytes.Repeat([]byte("x"), 50000))
	w.must("app", "encrypt", "--key", "a/b", "--partition", "eu", "--context", "c", "-o", w.path("one"), in)
	w.must("app", "encrypt", "--key", "a/b", "--partition", "us", "--hide-partition", "-o", w.path("two"), in)
	before := w.read("one")
	s := w.must("app", "rewrap", "--key", "a/b", w.path("one"))
	wantIn(t, "nothing to do", s.out.String(), "current already")
	want(t, "untouched", bytes.Equal(w.read("one"), before), true)
	w.must("admin", "key", "rotate", "a/b")
	s = w.must("app", "rewrap", "--json", "--key", "a/b", w.path("one"))
	var got rewrapResult
	if err := json.Unmarshal(s.out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want(t, "rewrapped", got.Files[0], rewrapRow{File: w.path("one"), From: 1, Key: "a/b", Version: 2, Changed: true})
	after := w.read("one")
	want(t, "size", len(after), len(before))
	want(t, "the body stays", bytes.Equal(after[len(after)-40000:], before[len(before)-40000:]), true)
	w.must("app", "decrypt", "--key", "a/b", "--partition", "eu", "--context", "c", "-o", w.path("out"), w.path("one"))
	want(t, "plaintext", bytes.Equal(w.read("out"), w.read("in")), true)

	w.must("app", "rewrap", "--key", "a/b", "--partition", "us", w.path("two"))
	w.must("app", "decrypt", "--key", "a/b", "--partition", "us", "-o", w.path("out"), w.path("two"))

	w.must("admin", "key", "create", "c/d", "--allow", "app")
	w.must("app", "rewrap", "--key", "a/b", "--to", "c/d", w.path("one"))
	w.must("app", "decrypt", "--key", "c/d", "--context", "c", "-o", w.path("out"), w.path("one"))
	bad := after
	bad[70] ^= 1
	w.write("bad", bad)
	s = w.as("app")
	want(t, "changed", s.run(t, "rewrap", "--key", "a/b", "--key", "c/d", w.path("one"), w.path("bad")), int(ExitIntegrity))
	wantIn(t, "what was done is shown", s.out.String(), w.path("one"))
	want(t, "the bad file stays", bytes.Equal(w.read("bad"), bad), true)
}

func TestInspectOfAField(t *testing.T) {
	if _, err := inspect(strings.NewReader("")); err == nil {
		t.Error("an empty input is no ciphertext")
	}
	if _, err := inspect(io.LimitReader(rand.Reader, 1<<20)); err == nil {
		t.Error("noise is no ciphertext")
	}
}

// No demo domain is taken for a real one, and no real one for a demo.
func TestDemoAndRealDoNotMix(t *testing.T) {
	w := newWard(t)
	w.must("admin", "client", "invite", "app3", "-o", w.path("invite"))
	s := &session{vars: map[string]string{"HOME": w.dir}}
	w.fails(ExitDenied, "demo and real domains do not mix", s, "client", "enroll", w.path("invite"))
	for _, profile := range []string{"app", "admin"} {
		path := filepath.Join(w.d.Dir, profile, "profile.json")
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		honest := strings.Replace(string(data), `"demo": true`, `"demo": false`, 1)
		want(t, "the profile says demo", honest != string(data), true)
		if err := os.WriteFile(path, []byte(honest), 0o600); err != nil {
			t.Fatal(err)
		}
		s := w.as(profile)
		if s.run(t, "key", "list") == 0 {
			t.Errorf("%s: a profile that is no demo's took a demo domain", profile)
		}
		wantIn(t, profile, s.err.String(), "demo")
	}
	if _, err := os.Lstat(w.path(".config/claviger/app3")); err == nil {
		t.Error("a profile is left")
	}
}

func TestEnroll(t *testing.T) {
	w := newWard(t)
	home := &session{vars: map[string]string{"HOME": w.dir}}
	w.fails(ExitUsage, "is neither an invite nor a file", home, "client", "enroll", w.path("none"))
	w.fails(ExitIntegrity, "error: ", &session{vars: home.vars, in: "clv1_AAAA"}, "client", "enroll", "-")
	s := &session{vars: home.vars}
	want(t, "on the command line", s.run(t, "client", "enroll", "clv1_AAAA"), int(ExitIntegrity))
	wantIn(t, "on the command line", s.err.String(), "warning: an invite on the command line")
}
