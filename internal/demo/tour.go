// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Names of the tour.
const (
	tourKey  = "payments/cards"
	heldKey  = "payments/tokens" // of a workload that runs all the time
	tourText = "4929 4212 3456 7890  VALID THRU 11/29\n"
)

// Result is one step of a tour: what was run and what it showed.
type Result struct {
	Title    string `json:"title"`
	Command  string `json:"command"`   // as a person would type it
	ExitCode int    `json:"exit_code"` // as it ended
	Want     int    `json:"want"`      // as it had to end
	Output   string `json:"output,omitempty"`
	Evidence string `json:"evidence"` // what was checked, or what was wrong
	Held     bool   `json:"held"`
}

// step is one command line and what has to be true after it.
type step struct {
	title   string
	profile string
	args    []string
	want    int
	check   func(out, err string) (evidence string, failed error)
	before  func(ctx context.Context) error // nil: nothing is to be done before
}

// Tour runs the steps in order and reports each. It stops at the first that does
// not hold. Afterwards the key of the tour is enabled, unless a step failed.
func (d *Demo) Tour(ctx context.Context, report func(Result)) (held bool, err error) {
	if err := os.WriteFile(d.path("cards.txt"), []byte(tourText), 0o600); err != nil {
		return false, err
	}
	for _, s := range d.steps() {
		r := d.take(ctx, s)
		report(r)
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if !r.Held {
			return false, nil
		}
	}
	return true, nil
}

// take runs one step.
func (d *Demo) take(ctx context.Context, s step) Result {
	var out, complaint bytes.Buffer
	r := Result{Title: s.title, Command: d.line(s), Want: s.want}
	if s.before != nil {
		if err := s.before(ctx); err != nil {
			r.Evidence = err.Error()
			return r
		}
	}
	r.ExitCode = d.o.Run(ctx, d.path(s.profile), s.args, &out, &complaint)
	r.Output = strings.TrimSpace(out.String() + complaint.String())
	if r.ExitCode != s.want {
		r.Evidence = fmt.Sprintf("exit status %d, not %d", r.ExitCode, s.want)
		return r
	}
	evidence, err := s.check(out.String(), complaint.String())
	if err != nil {
		r.Evidence = err.Error()
		return r
	}
	r.Evidence, r.Held = evidence, true
	return r
}

// line is what a person would type after `. env.sh`.
func (d *Demo) line(s step) string {
	words := []string{"claviger"}
	if s.profile != dirApp {
		words = append(words, "--profile", Quote(d.path(s.profile)))
	}
	for _, a := range s.args {
		words = append(words, Quote(a))
	}
	return strings.Join(words, " ")
}

// steps is the tour.
func (d *Demo) steps() []step {
	text, sealed, opened, archive := d.path("cards.txt"), d.path("cards.clv"), d.path("cards.opened"), d.path("audit.archive")
	encrypt := []string{"encrypt", "--key", tourKey, "-o", sealed, text}
	decrypt := []string{"decrypt", "--key", tourKey, "-o", opened, sealed}
	return []step{
		{title: "an admin makes a key and lets app and detour use it", profile: dirAdmin,
			args: []string{"key", "create", tourKey, "--allow", dirApp, "--allow", dirDetour}, check: said("")},
		{title: "app encrypts a file; the key comes through the relay", profile: dirApp, args: encrypt, check: d.isSealed},
		{title: "anyone can see which key it needs, by id", profile: dirApp, args: []string{"inspect", sealed, "--json"}, check: d.showsIDs},
		{title: "app decrypts it", profile: dirApp, args: decrypt, check: d.isOpened},
		{title: "app2 may not use the key", profile: dirApp2, args: []string{"encrypt", "--key", tourKey, "-o", d.path("cards2.clv"), text}, want: 4,
			check: said("error: app2 may not encrypt with " + tourKey + " (no policy allows it)\nhint: an admin can run: claviger policy allow app2 " + tourKey)},
		{title: "detour may, but its relay changes a bit of each answer: no such answer is used", profile: dirDetour, args: decrypt, want: 6, check: d.isRefused},
		{title: "an admin disables the key", profile: dirAdmin, args: []string{"key", "disable", tourKey}, check: said("")},
		{title: "now app may not decrypt any more", profile: dirApp, args: decrypt, want: 4, check: said("(the key is disabled)")},
		{title: "an admin enables it again", profile: dirAdmin, args: []string{"key", "enable", tourKey}, check: said("")},
		{title: "and app can decrypt", profile: dirApp, args: decrypt, check: d.isOpened},
		{title: "an admin makes a key for a program of app's that runs all the time", profile: dirAdmin,
			args: []string{"key", "create", heldKey, "--allow", dirApp}, check: said("")},
		{title: "while that program holds the key, an admin revokes it and measures", profile: dirAdmin,
			args: []string{"revoke", heldKey, "--measure", "--timeout", "1m"}, check: d.isDark, before: d.hold},
		{title: "an admin takes that back", profile: dirAdmin, args: []string{"enable", heldKey}, check: said("")},
		{title: "all that the relay holds and saw", profile: dirApp, args: []string{"relay-dump", "--dir", d.path(dirRelay)}, check: d.sawNothing},
		{title: "an admin takes the audit log home", profile: dirAdmin, args: []string{"audit", "export", "-o", archive}, check: said("")},
		{title: "the log is verified offline, with app's receipts", profile: dirAdmin,
			args: []string{"audit", "verify", "--receipts", d.path(dirApp, "receipts"), archive}, check: said("")},
	}
}

// said checks that standard error holds a text.
func said(part string) func(out, err string) (string, error) {
	return func(out, err string) (string, error) {
		if !strings.Contains(err, part) {
			return "", fmt.Errorf("standard error lacks %q", part)
		}
		if part == "" {
			return strings.TrimSpace(out), nil
		}
		return strings.TrimSpace(err), nil
	}
}

// isSealed: the plaintext is in the file no more.
func (d *Demo) isSealed(string, string) (string, error) {
	data, err := os.ReadFile(d.path("cards.clv"))
	if err != nil {
		return "", err
	}
	if bytes.Contains(data, []byte(tourText[:9])) {
		return "", errors.New("the ciphertext holds the plaintext")
	}
	return fmt.Sprintf("%d bytes of plaintext became %d bytes that hold none of it", len(tourText), len(data)), nil
}

// showsIDs: the header names ids, neither the key's name nor the client's.
func (d *Demo) showsIDs(out, _ string) (string, error) {
	var seen struct {
		Slots []struct {
			KeyID   string `json:"key_id"`
			Version uint64 `json:"version"`
		}
	}
	if err := json.Unmarshal([]byte(out), &seen); err != nil || len(seen.Slots) != 1 || len(seen.Slots[0].KeyID) != 32 {
		return "", errors.New("the header does not show one key id")
	}
	data, err := os.ReadFile(d.path("cards.clv"))
	if err != nil {
		return "", err
	}
	for _, name := range []string{tourKey, "payments", "workload"} {
		if bytes.Contains(data, []byte(name)) || strings.Contains(out, name) {
			return "", fmt.Errorf("the ciphertext shows the name %q", name)
		}
	}
	return fmt.Sprintf("key %s version %d, and no name", seen.Slots[0].KeyID, seen.Slots[0].Version), nil
}

// isOpened: the plaintext is back, byte by byte. It is taken away again, so that
// the next step can't find this one's.
func (d *Demo) isOpened(string, string) (string, error) {
	data, err := os.ReadFile(d.path("cards.opened"))
	if err != nil {
		return "", err
	}
	if string(data) != tourText {
		return "", errors.New("what was decrypted is not what was encrypted")
	}
	return fmt.Sprintf("SHA-256 %x as before", sha256.Sum256(data)), os.Remove(d.path("cards.opened"))
}
