// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"claviger/envelope"
	"claviger/internal/root"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// keyResult stands for the result of some verb.
type keyResult struct {
	Name string   `json:"name"`
	Tags []string `json:"tags,omitempty"`
}

func (k keyResult) human(p *printer) {
	p.table([]string{"NAME", "TAGS"}, [][]string{{k.Name, strings.Join(k.Tags, ",")}})
}

func TestShow(t *testing.T) {
	cases := []struct {
		name        string
		r           keyResult
		text, jason string
	}{
		{"plain", keyResult{"payments/cards", []string{"eu"}},
			"NAME            TAGS\npayments/cards  eu\n", `{"schema":1,"name":"payments/cards","tags":["eu"]}` + "\n"},
		{"empty cell", keyResult{"a", nil}, "NAME  TAGS\na     -\n", `{"schema":1,"name":"a"}` + "\n"},
		{"escape sequence", keyResult{"a\x1b[2Jb\nc\td", nil}, "NAME                 TAGS\na\\x1b[2Jb\\x0ac\\x09d  -\n",
			`{"schema":1,"name":"a\u001b[2Jb\nc\td"}` + "\n"},
		{"html stays", keyResult{"<a&b>", nil}, "NAME   TAGS\n<a&b>  -\n", `{"schema":1,"name":"<a&b>"}` + "\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := &session{}
			if err := s.env().show(c.r); err != nil {
				t.Fatal(err)
			}
			want(t, "text", s.out.String(), c.text)
			s = &session{}
			e := s.env()
			e.json = true
			if err := e.show(c.r); err != nil {
				t.Fatal(err)
			}
			want(t, "JSON", s.out.String(), c.jason)
		})
	}
}

type pairsResult struct{}

func (pairsResult) human(p *printer) { p.pairs("name", "a\nb", "longer name", "", "odd one out") }

func TestPairs(t *testing.T) {
	s := &session{}
	if err := s.env().show(pairsResult{}); err != nil {
		t.Fatal(err)
	}
	want(t, "text", s.out.String(), "name         a\\x0ab\nlonger name  -\n")
}

type listResult []string

func (listResult) human(*printer) {}

type emptyResult struct{}

func (emptyResult) human(*printer) {}

type schemaResult struct {
	Schema int `json:"schema"`
}

func (schemaResult) human(*printer) {}

type nothingResult map[string]int

func (nothingResult) human(*printer) {}

func TestResultsAreObjectsWithOurSchema(t *testing.T) {
	got, err := encodeResult(emptyResult{})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "empty", string(got), "{\"schema\":1}\n")
	for _, r := range []result{listResult{"a"}, schemaResult{7}, nothingResult(nil)} {
		if out, err := encodeResult(r); err == nil {
			t.Errorf("%T was shown as %s", r, out)
		}
	}
}

func TestClean(t *testing.T) {
	cases := map[string]string{
		"plain":               "plain",
		"zwei\nZeilen":        "zwei\nZeilen",
		"Schlüssel 鍵":         "Schlüssel 鍵",
		"a\x1b]0;title\x07b":  `a\x1b]0;title\x07b`,
		"\u202Egnp.exe":       `\u202egnp.exe`,
		"a\u200bb\u2066c":     `a\u200bb\u2066c`,
		"\x9b31m":             `\x9b31m`,
		"c1 \u009b31m":        `c1 \u009b31m`,
		"tag \U000E0041":      `tag \U000e0041`,
		"bad \xff\xfe utf-8":  `bad \xff\xfe utf-8`,
		"carriage\rreturn":    `carriage\x0dreturn`,
		"line\u2028separator": `line\u2028separator`,
	}
	for in, out := range cases {
		want(t, fmt.Sprintf("clean(%q)", in), clean(in), out)
	}
	want(t, "oneLine", oneLine("a\nb"), `a\x0ab`)
}

func FuzzCleanPrintsOnlyPrintable(f *testing.F) {
	for _, seed := range []string{"", "plain", "\x1b[2J", "\u202e", "\xff", "a\nb\tc", "\U000E0041", "\ufffd"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		out := oneLine(in)
		if strings.ContainsAny(out, "\x1b\n\r\t\x00\u202e\u2066\u2028") {
			t.Errorf("oneLine(%q) = %q", in, out)
		}
		if again := oneLine(out); again != out {
			t.Errorf("cleaning twice differs: %q, %q", out, again)
		}
	})
}

func TestFailuresKeepTheirCode(t *testing.T) {
	sentinel := errors.New("gone")
	cases := []struct {
		name    string
		err     error
		code    ExitCode
		message string
		hint    string
	}{
		{"unknown error", sentinel, ExitFailure, "gone", ""},
		{"failure", &Failure{Code: ExitDenied, Message: "no", Hint: "ask"}, ExitDenied, "no", "ask"},
		{"wrapped failure", fmt.Errorf("key create: %w", &Failure{Code: ExitPending, Message: "waits", Hint: "approve list"}),
			ExitPending, "key create: waits", "approve list"},
		{"missing file", fmt.Errorf("open: %w", fs.ErrNotExist), ExitNotFound, "open: file does not exist", ""},
		{"usage", usagef("%d is odd", 3).withHint("take %d", 4), ExitUsage, "3 is odd", "take 4"},
		{"no slot", store.ErrNotFound, ExitNotFound, "store: no such slot", ""},
		{"wrong passphrase", fmt.Errorf("open root: %w", root.ErrWrongPassphrase), ExitDenied, "open root: wrong passphrase", ""},
		{"damaged ciphertext", fmt.Errorf("decrypt: %w", envelope.ErrIntegrity), ExitIntegrity, "decrypt: " + envelope.ErrIntegrity.Error(), "--context and --partition have to be those of the encryption"},
		{"no ciphertext", envelope.ErrFormat, ExitIntegrity, envelope.ErrFormat.Error(), ""},
		{"forged message", fmt.Errorf("%w: body", wire.ErrSignature), ExitIntegrity, "signature missing or wrong: body", ""},
		{"line break", errors.New("a\nhint: run this"), ExitFailure, `a\x0ahint: run this`, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := &session{}
			want(t, "exit status", s.env().report(c.err), int(c.code))
			lines := "error: " + c.message + "\n"
			if c.hint != "" {
				lines += "hint: " + c.hint + "\n"
			}
			want(t, "standard error", s.err.String(), lines)
			if f := asFailure(c.err); c.name != "failure" && c.name != "usage" && !errors.Is(f, c.err) {
				t.Errorf("the cause is lost")
			}
		})
	}
}

func TestExitCodesAreDistinct(t *testing.T) {
	seen := map[ExitCode]bool{}
	for i, row := range exitCodes {
		if seen[row.code] || int(row.code) != i || row.code.String() != row.name {
			t.Errorf("row %d: code %d, name %s", i, row.code, row.name)
		}
		seen[row.code] = true
	}
	want(t, "unknown code", ExitCode(9).String(), "exit-9")
}

func TestColour(t *testing.T) {
	cases := []struct {
		name string
		tty  bool
		vars map[string]string
		want bool
	}{
		{"pipe", false, nil, false},
		{"terminal", true, nil, true},
		{"NO_COLOR", true, map[string]string{"NO_COLOR": "1"}, false},
		{"dumb terminal", true, map[string]string{"TERM": "dumb"}, false},
		{"forced", false, map[string]string{"CLICOLOR_FORCE": "1"}, true},
		{"not forced", false, map[string]string{"CLICOLOR_FORCE": "0"}, false},
		{"NO_COLOR goes first", true, map[string]string{"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, false},
	}
	for _, c := range cases {
		s := &session{tty: c.tty, vars: c.vars}
		e := s.env()
		want(t, c.name, e.colour(), c.want)
		e.warn("mind the %s", "gap")
		want(t, c.name, strings.Contains(s.err.String(), "\x1b["), c.want)
		wantIn(t, c.name, s.err.String(), "warning:")
	}
	zero := &Streams{}
	want(t, "zero streams", zero.colour(), false)
}

func TestMessages(t *testing.T) {
	s := &session{}
	e := s.env()
	e.warn("old %s", "file")
	e.next("claviger key create NAME")
	want(t, "text", s.err.String(), "warning: old file\nnext: claviger key create NAME\n")
	s = &session{}
	e = s.env()
	e.json = true
	e.warn(`say "hi"`)
	e.next("claviger key create NAME")
	want(t, "JSON", s.err.String(), `{"schema":1,"warning":{"message":"say \"hi\""}}`+"\n")
	want(t, "standard output", s.out.String(), "")
}

func TestProgress(t *testing.T) {
	s := &session{}
	p := s.env().progress("file\x1b", 1000)
	for range 1000 {
		p.Write([]byte{0})
	}
	p.Add(5000) // more than was announced
	p.Close()
	lines := strings.Split(strings.TrimSpace(s.err.String()), "\n")
	want(t, "lines", len(lines), 10)
	want(t, "first", lines[0], `file\x1b: 10%`)
	want(t, "last", lines[9], `file\x1b: 100%`)

	s = &session{tty: true}
	p = s.env().progress("f", 4)
	p.Add(1)
	p.Add(0)
	p.Add(1)
	p.Close()
	want(t, "drawn", strings.Count(s.err.String(), "\r"), 3)
	wantIn(t, "bar", s.err.String(), "f [###############...............]  50%")
	if !strings.HasSuffix(s.err.String(), "\r\x1b[K") {
		t.Error("the bar stays on the terminal")
	}

	s = &session{}
	e := s.env()
	e.json = true
	p = e.progress("f", 10)
	p.Add(10)
	p.Close()
	p = s.env().progress("f", 0)
	p.Add(10)
	want(t, "silence", s.err.String(), "")
}
