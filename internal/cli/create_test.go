// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func files(t *testing.T, dir string) int {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func create(t *testing.T, o outputOptions) *outputFile {
	t.Helper()
	out, err := (&session{}).env().create(o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestOutputAppearsWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	out := create(t, outputOptions{Path: path})
	out.Write([]byte("half"))
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("the final name exists before Commit")
	}
	out.Write([]byte(" and half"))
	if err := out.Commit(); err != nil {
		t.Fatal(err)
	}
	out.Abort() // after Commit: nothing
	want(t, "content", read(t, path), "half and half")
	want(t, "files", files(t, dir), 1)
}

// TestSync: only a new file that can be made again may be lost by a power cut.
func TestSync(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	synced := func(remakeable bool) bool {
		out := create(t, outputOptions{Path: path, Remakeable: remakeable})
		defer out.Abort()
		return out.Synced()
	}
	if !synced(false) || synced(true) {
		t.Error("a new file is synced when it needn't be, or the other way round")
	}
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !synced(false) || !synced(true) {
		t.Error("a file replaces another without a sync")
	}
	in := &input{name: "in"}
	if (&cipherFlags{fsync: true}).output(in, true).Remakeable || !(&cipherFlags{}).output(in, true).Remakeable {
		t.Error("--fsync is not what decides")
	}
}

func TestAbortLeavesTheOldContent(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	os.WriteFile(path, []byte("old"), 0o600)
	out := create(t, outputOptions{Path: path})
	out.Write([]byte("new"))
	out.Abort()
	out.Abort()
	want(t, "content", read(t, path), "old")
	want(t, "files", files(t, dir), 1)
	if err := out.Commit(); err != nil || read(t, path) != "old" {
		t.Errorf("Commit after Abort: %v, %q", err, read(t, path))
	}
}

func TestOutputModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // there are no modes to keep
	}
	dir := t.TempDir()
	kept := filepath.Join(dir, "kept")
	os.WriteFile(kept, nil, 0o600)
	os.Chmod(kept, 0o640)
	cases := []struct {
		name string
		o    outputOptions
		want os.FileMode
	}{
		{"new file", outputOptions{Path: filepath.Join(dir, "new")}, 0o600},
		{"new file for others", outputOptions{Path: filepath.Join(dir, "open"), Mode: 0o444}, 0o444},
		{"replaced file", outputOptions{Path: kept, Mode: 0o444}, 0o640},
	}
	for _, c := range cases {
		out := create(t, c.o)
		parts, _ := filepath.Glob(filepath.Join(dir, ".*.part"))
		if len(parts) != 1 {
			t.Fatalf("%s: %d files in the making", c.name, len(parts))
		}
		if st, err := os.Stat(parts[0]); err != nil || c.name != "new file for others" && st.Mode().Perm() != 0o600 {
			t.Errorf("%s: others can read the file in the making", c.name)
		}
		if err := out.Commit(); err != nil {
			t.Fatal(err)
		}
		st, _ := os.Stat(c.o.Path)
		want(t, c.name, st.Mode().Perm(), c.want)
	}
}

func TestOutputFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	other := t.TempDir()
	target, link := filepath.Join(other, "target"), filepath.Join(dir, "link")
	os.WriteFile(target, []byte("old"), 0o600)
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	out := create(t, outputOptions{Path: link})
	out.Write([]byte("new"))
	if err := out.Commit(); err != nil {
		t.Fatal(err)
	}
	want(t, "target", read(t, target), "new")
	if st, _ := os.Lstat(link); st.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced by a file")
	}
}

func TestOutputRefusals(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "in")
	os.WriteFile(in, []byte("input"), 0o600)
	link := filepath.Join(dir, "link")
	os.Symlink(in, link)
	hard := filepath.Join(dir, "hard")
	os.Link(in, hard)
	cases := []struct {
		name string
		tty  bool
		o    outputOptions
		code ExitCode
	}{
		{"input is output", false, outputOptions{Path: in, Inputs: []string{in}}, ExitUsage},
		{"input by another link", false, outputOptions{Path: link, Inputs: []string{in}}, ExitUsage},
		{"input by another name", false, outputOptions{Path: hard, Inputs: []string{in}}, ExitUsage},
		{"directory", false, outputOptions{Path: dir}, ExitUsage},
		{"no such directory", false, outputOptions{Path: filepath.Join(dir, "no", "out")}, ExitNotFound},
		{"binary to a terminal", true, outputOptions{Binary: true}, ExitUsage},
		{"binary to a terminal by name", true, outputOptions{Path: "-", Binary: true}, ExitUsage},
	}
	for _, c := range cases {
		out, err := (&session{tty: c.tty}).env().create(c.o)
		if err == nil {
			out.Abort()
			t.Errorf("%s: allowed", c.name)
			continue
		}
		want(t, c.name, asFailure(err).Code, c.code)
	}
	want(t, "input", read(t, in), "input")
}

func TestOutputToStreams(t *testing.T) {
	s := &session{}
	out, err := s.env().create(outputOptions{Binary: true})
	if err != nil {
		t.Fatal(err)
	}
	out.Write([]byte{1, 2})
	if err := out.Commit(); err != nil {
		t.Fatal(err)
	}
	out.Abort()
	want(t, "standard output", s.out.String(), "\x01\x02")
	if out.Places() {
		t.Error("standard output has no places to write at")
	}

	text := &session{tty: true}
	if _, err := text.env().create(outputOptions{}); err != nil {
		t.Errorf("text to a terminal: %v", err)
	}

	null, err := s.env().create(outputOptions{Path: os.DevNull})
	if err != nil {
		t.Fatal(err)
	}
	null.Write([]byte("x"))
	if err := null.Commit(); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(os.DevNull); err != nil || st.Mode().IsRegular() {
		t.Fatal("the null device was replaced by a file")
	}
	if null, err = s.env().create(outputOptions{Path: os.DevNull}); err != nil {
		t.Fatal(err)
	}
	null.Abort()
}
