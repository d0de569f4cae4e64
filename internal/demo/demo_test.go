// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"errors"
	"os/exec"
	"testing"
)

// The tour is tested with the command line that it runs, in package cli. Here is
// what needs none.

func TestQuote(t *testing.T) {
	for _, word := range []string{
		"", "a", "/tmp/d/app", "payments/cards", "a b", "a'b", `a"b`, "$HOME", "`id`", "a;b", "*", "~", "a\nb", "ü", "-o", "#a", "\\",
	} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s "+Quote(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("the shell makes %q of %q (%v)", out, word, err)
		}
	}
}

func TestCommandError(t *testing.T) {
	for log, want := range map[string]CommandError{
		`{"schema":1,"error":{"code":1,"name":"failure","message":"the port is taken","hint":"end it"}}` + "\n": {"no", "the port is taken", "end it"},
		"{\"level\":\"INFO\"}\nx\n{\"schema\":1,\"error\":{\"code\":2,\"name\":\"usage\",\"message\":\"y\"}}\n": {"no", "y", ""},
		"":          {"no", "it ended without a word", ""},
		"panic: x ": {"no", "it ended without a word", ""},
		"{}":        {"no", "it ended without a word", ""},
	} {
		got, ok := errors.AsType[*CommandError](commandError("no", []byte(log)))
		if !ok || *got != want {
			t.Errorf("%q: %+v", log, got)
		}
	}
}

func TestFirstLine(t *testing.T) {
	f := &firstLine{line: make(chan []byte, 1)}
	for _, part := range []string{"ab", "c", "\nde", "f\n", "ghi"} {
		if n, err := f.Write([]byte(part)); n != len(part) || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
	}
	if got := <-f.line; string(got) != "abc" {
		t.Errorf("first line %q", got)
	}
	if len(f.line) > 0 {
		t.Error("more than one line")
	}
}
