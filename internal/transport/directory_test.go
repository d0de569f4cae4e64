// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"claviger/internal/wire"
)

// plant makes a file, and the directories above it, as a stranger would.
func plant(t *testing.T, data []byte, parts ...string) string {
	t.Helper()
	name := filepath.Join(parts...)
	must(t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(t, os.WriteFile(name, data, 0o644))
	return name
}

// TestHostileBoard: pipes, links, directories, huge files and odd names stand
// beside one statement, which is found.
func TestHostileBoard(t *testing.T) {
	d, dir := directoryAt(t)
	board := filepath.Join(dir, "board", domain.String(), "statements")
	outside := plant(t, []byte("secret"), t.TempDir(), "outside")
	plant(t, []byte("good"), board, strings.Repeat("5", 32))
	must(t, syscall.Mkfifo(filepath.Join(board, strings.Repeat("0", 32)), 0o644))
	must(t, os.Symlink(outside, filepath.Join(board, strings.Repeat("1", 32))))
	must(t, os.Mkdir(filepath.Join(board, strings.Repeat("2", 32)), 0o755))
	must(t, os.Truncate(plant(t, nil, board, strings.Repeat("3", 32)), 1<<40))
	for _, odd := range []string{"x", "..x", strings.Repeat("A", 32), strings.Repeat("5", 31), strings.Repeat("5", 33), "." + strings.Repeat("5", 31), "\xff\n"} {
		plant(t, []byte("odd"), board, odd)
	}
	got, err := d.Statements(t.Context())
	if err != nil || len(got) != 1 || string(got[0]) != "good" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestHostileTree: what stands in the place of a directory or of the file that is
// asked for neither blocks nor leads out.
func TestHostileTree(t *testing.T) {
	_, dir := directoryAt(t)
	tr, err := openTree(dir)
	must(t, err)
	defer tr.Close()
	outside := t.TempDir()
	plant(t, []byte("secret"), outside, "file")
	must(t, os.Symlink(outside, filepath.Join(dir, "out")))
	must(t, os.Symlink(filepath.Join(outside, "file"), filepath.Join(dir, "link")))
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644))
	must(t, os.Truncate(plant(t, nil, dir, "huge"), 1<<40))
	for _, name := range []string{"out/file", "link", "pipe", "huge", "out", ".", "../" + filepath.Base(outside) + "/file", filepath.Join(outside, "file")} {
		if data, err := tr.read(name, 100); err == nil {
			t.Errorf("%s reads %q", name, data)
		}
		if names, err := tr.list(name, 4, 10); len(names) > 0 || err == nil && name != "." {
			t.Errorf("%s lists %v, %v", name, names, err)
		}
		if err := tr.write(name+"/new", []byte("x"), true); err == nil && name != "." {
			t.Errorf("%s/new was written", name)
		}
	}
	if entries, _ := os.ReadDir(outside); len(entries) != 1 {
		t.Errorf("something was written outside: %v", entries)
	}
	if _, err := openTree(filepath.Join(dir, "pipe")); err == nil {
		t.Error("a pipe is taken for a directory")
	}
}

// TestCrowd: more than will ever be looked at is cut, and lists are bounded.
func TestCrowd(t *testing.T) {
	d, dir := directoryAt(t)
	board := filepath.Join(dir, "board", domain.String(), "introductions")
	for i := range 100 {
		plant(t, []byte{1}, board, hex.EncodeToString(append(make([]byte, 15), byte(i))))
	}
	if got, err := d.Introductions(t.Context()); err != nil || len(got) != wire.MaxBoardServers {
		t.Errorf("%d introductions, %v", len(got), err)
	}
}

// TestHostileMailbox: what strangers leave in a mailbox is taken away and not
// delivered; an honest request beside it is.
func TestHostileMailbox(t *testing.T) {
	d, dir := directoryAt(t)
	m := NewMailbox()
	o := d.As(m)
	token := random(wire.SendTokenSize)
	must(t, o.PutTokens(t.Context(), []wire.Hash{wire.SendTokenHash(token)}))
	in := filepath.Join(dir, "mailbox", m.ID().String(), "in")
	name := func(c string) string { return strings.Repeat(c, 64) }
	plant(t, []byte("no CBOR"), in, name("1"))
	plant(t, wire.Marshal(posted{Token: []byte("wrong"), Sealed: []byte("s")}), in, name("2"))
	plant(t, append(wire.Marshal(posted{Token: token, Sealed: []byte("s")}), 0), in, name("3"))
	must(t, os.Truncate(plant(t, nil, in, name("4")), 1<<40))
	must(t, syscall.Mkfifo(filepath.Join(in, name("5")), 0o644))
	must(t, os.Symlink("/dev/zero", filepath.Join(in, name("6"))))
	plant(t, wire.Marshal(posted{Token: token, Sealed: make([]byte, wire.MaxSealedSize+1)}), in, name("7"))
	plant(t, wire.Marshal(posted{Token: token, Sealed: []byte("good")}), in, name("8"))
	heard, stop := receiving(t, o)
	got := <-heard
	if string(got.Data) != "good" || hex.EncodeToString(got.Correlation) != name("8") {
		t.Errorf("heard %q", got.Data)
	}
	// Each was removed before the good one was delivered, so a second look finds
	// none of them again.
	for _, c := range []string{"1", "2", "3", "4", "7", "8"} {
		if _, err := os.Lstat(filepath.Join(in, name(c))); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", c, err)
		}
	}
	answer, err := os.ReadFile(filepath.Join(dir, answersDir, name("2")))
	if trouble, perr := wire.ParseTrouble(answer); err != nil || perr != nil || trouble.Status != http.StatusForbidden {
		t.Errorf("the stranger got %q, %v", answer, err)
	}
	stop()
	if len(heard) != 0 {
		t.Errorf("%d more deliveries", len(heard))
	}
	if _, err := os.Lstat(in); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the mailbox is still there: %v", err)
	}
}

// TestStuckRequest: what can't be taken away isn't delivered, or it would be
// answered for ever.
func TestStuckRequest(t *testing.T) {
	d, dir := directoryAt(t)
	m := NewMailbox()
	o := d.As(m)
	token := random(wire.SendTokenSize)
	must(t, o.PutTokens(t.Context(), []wire.Hash{wire.SendTokenHash(token)}))
	in := filepath.Join(dir, "mailbox", m.ID().String(), "in")
	file := plant(t, wire.Marshal(posted{Token: token, Sealed: []byte("s")}), in, strings.Repeat("1", 64))
	tr, err := openTree(dir)
	must(t, err)
	defer tr.Close()
	r := reception{o: o, t: tr, dir: "mailbox/" + m.ID().String(), remove: func(string) error { return os.ErrPermission }}
	if found, err := r.look(t.Context()); len(found) != 0 || !errors.Is(err, os.ErrPermission) {
		t.Errorf("%d deliveries, %v", len(found), err)
	}
	if _, err := os.Lstat(file); err != nil {
		t.Error(err)
	}
}

// TestParcelBounds: a mailbox holds 64 parcels and 4 MiB, of at most so much each.
func TestParcelBounds(t *testing.T) {
	d, dir := directoryAt(t)
	client := NewMailbox()
	o := d.As(NewMailbox())
	later := time.Now().Add(time.Hour)
	for i := range maxParcels {
		if err := o.PutParcel(t.Context(), client.ID(), later, []byte{1}); err != nil {
			t.Fatalf("parcel %d: %v", i, err)
		}
	}
	if err := o.PutParcel(t.Context(), client.ID(), later, []byte{1}); statusOf(err) != http.StatusTooManyRequests {
		t.Errorf("one more: %v", err)
	}
	if err := o.PutParcel(t.Context(), wire.Hash{1}, later, make([]byte, wire.MaxParcel+1)); !errors.Is(err, errTooLarge) {
		t.Errorf("too large: %v", err)
	}
	large := make([]byte, wire.MaxParcel)
	var err error
	n := 0
	for ; err == nil && n < maxParcels; n++ {
		err = o.PutParcel(t.Context(), wire.Hash{2}, later, large)
	}
	if statusOf(err) != http.StatusTooManyRequests || n != maxParcelBytes/len(large)+1 {
		t.Errorf("%d large parcels, then %v", n, err)
	}
	// What a stranger leaves there, or what has expired, isn't delivered.
	in := filepath.Join(dir, "mailbox", client.ID().String(), "parcels")
	must(t, os.RemoveAll(in))
	plant(t, []byte("no CBOR"), in, strings.Repeat("1", 16))
	plant(t, wire.Marshal(parcel{Expires: later.UnixMilli(), Sealed: []byte("zero")}), in, strings.Repeat("0", 16))
	old := plant(t, wire.Marshal(parcel{Expires: 1, Sealed: []byte("old")}), in, strings.Repeat("2", 16))
	must(t, syscall.Mkfifo(filepath.Join(in, strings.Repeat("3", 16)), 0o644))
	plant(t, wire.Marshal(parcel{Expires: later.UnixMilli(), Sealed: []byte("good")}), in, strings.Repeat("4", 16))
	heard, stop := receiving(t, d.As(client))
	if got := <-heard; string(got.Data) != "good" || got.Number != 0x4444444444444444 {
		t.Errorf("heard %q, %x", got.Data, got.Number)
	}
	stop()
	if _, err := os.Lstat(old); !errors.Is(err, os.ErrNotExist) {
		t.Error("an expired parcel stays")
	}
}

// TestForgottenAnswers: answers that nobody fetched are swept away, by the file
// system's clock; new ones and what others put there stay.
func TestForgottenAnswers(t *testing.T) {
	_, dir := directoryAt(t)
	old := plant(t, []byte("old"), dir, answersDir, strings.Repeat("1", 64))
	fresh := plant(t, []byte("new"), dir, answersDir, strings.Repeat("2", 64))
	other := plant(t, []byte("other"), dir, answersDir, "README")
	for _, f := range []string{old, other} {
		before := time.Now().Add(-answersKept - time.Minute)
		must(t, os.Chtimes(f, before, before))
	}
	tr, err := openTree(dir)
	must(t, err)
	defer tr.Close()
	must(t, tr.sweep(answersDir, hashDigits, answersKept))
	entries, err := os.ReadDir(filepath.Join(dir, answersDir))
	if err != nil || len(entries) != 2 || entries[0].Name() != filepath.Base(fresh) {
		t.Errorf("%v, %v", entries, err)
	}
}

// TestLastMailbox: a server that comes back removes the mailbox of its last run,
// and nobody else's.
func TestLastMailbox(t *testing.T) {
	d, dir := directoryAt(t)
	v, other := newVoice(), newVoice()
	boxes := func() (out []string) {
		entries, _ := os.ReadDir(filepath.Join(dir, "mailbox"))
		for _, e := range entries {
			out = append(out, e.Name())
		}
		return out
	}
	for _, s := range []*voice{v, other} {
		must(t, d.As(s.mailbox).PutIntroduction(t.Context(), s.introduction()))
		plant(t, []byte("x"), dir, "mailbox", s.mailbox.ID().String(), "in", strings.Repeat("1", 64))
	}
	must(t, d.As(v.mailbox).PutIntroduction(t.Context(), v.introduction())) // its renewal
	if len(boxes()) != 2 {
		t.Errorf("%v", boxes())
	}
	v.mailbox = NewMailbox()
	must(t, d.As(v.mailbox).PutIntroduction(t.Context(), v.introduction()))
	if got := boxes(); len(got) != 1 || got[0] != other.mailbox.ID().String() {
		t.Errorf("%v", got)
	}
	if err := d.As(v.mailbox).PutIntroduction(t.Context(), []byte("none")); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("no introduction: %v", err)
	}
	if err := d.As(v.mailbox).PutStatement(t.Context(), []byte("none")); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("no statement: %v", err)
	}
}

// TestHostileAnswer: an answer without bound or end is an error at once.
func TestHostileAnswer(t *testing.T) {
	for name, put := range map[string]func(string) error{
		"pipe": func(f string) error { return syscall.Mkfifo(f, 0o644) },
		"link": func(f string) error { return os.Symlink("/dev/zero", f) },
		"huge": func(f string) error { return errors.Join(os.WriteFile(f, nil, 0o644), os.Truncate(f, 1<<40)) },
	} {
		t.Run(name, func(t *testing.T) {
			d, dir := directoryAt(t)
			must(t, os.Mkdir(filepath.Join(dir, answersDir), 0o755))
			must(t, put(filepath.Join(dir, answersDir, "a")))
			tr, err := openTree(dir)
			must(t, err)
			defer tr.Close()
			if data, err := d.await(t.Context(), tr, answersDir+"/a"); err == nil || statusOf(err) != 0 {
				t.Errorf("%d bytes, %v", len(data), err)
			}
		})
	}
}

// TestNothingLeft: an exchange leaves no file behind, answered or not.
func TestNothingLeft(t *testing.T) {
	d, dir := directoryAt(t)
	d.options.Timeout = 50 * time.Millisecond
	m := NewMailbox()
	o := d.As(m)
	token := random(wire.SendTokenSize)
	must(t, o.PutTokens(t.Context(), []wire.Hash{wire.SendTokenHash(token)}))
	in := filepath.Join(dir, "mailbox", m.ID().String(), "in")
	must(t, os.MkdirAll(in, 0o755))
	to := Peer{Mailbox: m.ID(), Token: token}
	if _, err := d.Exchange(t.Context(), to, message(wire.TypeRequest)); statusOf(err) != http.StatusGatewayTimeout {
		t.Errorf("%v", err)
	}
	heard, stop := receiving(t, o)
	go func() {
		for r := range heard {
			_ = o.Answer(context.Background(), r.Correlation, []byte("answer"))
		}
	}()
	d.options.Timeout = 5 * time.Second
	if answer, err := d.Exchange(t.Context(), to, message(wire.TypeRequest)); err != nil || string(answer) != "answer" {
		t.Errorf("%q, %v", answer, err)
	}
	stop()
	must(t, filepath.Walk(dir, func(p string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			t.Errorf("%s is left", p)
		}
		return err
	}))
}

// FuzzMailbox: names and contents that strangers choose.
func FuzzMailbox(f *testing.F) {
	f.Add(strings.Repeat("1", 64), wire.Marshal(posted{Token: []byte("t"), Sealed: []byte("s")}), wire.Marshal(parcel{Expires: 1 << 50, Sealed: []byte("s")}))
	f.Add("1", []byte{}, []byte{0x82, 0, 0})
	f.Fuzz(func(t *testing.T, name string, request, rest []byte) {
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || len(name) > 200 {
			return
		}
		d, dir := directoryAt(t)
		m := NewMailbox()
		o := d.As(m)
		must(t, o.PutTokens(t.Context(), []wire.Hash{wire.SendTokenHash([]byte("t"))}))
		plant(t, request, dir, "mailbox", m.ID().String(), "in", name)
		plant(t, rest, dir, "mailbox", m.ID().String(), "parcels", strings.Repeat("7", 16))
		tr, err := openTree(dir)
		must(t, err)
		defer tr.Close()
		r := reception{o: o, t: tr, dir: "mailbox/" + m.ID().String(), remove: tr.Remove}
		found, err := r.look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range found {
			if _, err := wire.ParseDelivery(wire.Marshal(*d)); err != nil {
				t.Errorf("%+v is delivered: %v", d, err)
			}
			if d.Number == 0 && !bytes.Contains(request, d.Data) || d.Number != 0 && !bytes.Contains(rest, d.Data) {
				t.Error("something that nobody left")
			}
		}
	})
}

// FuzzLetters: what stands in files reads as what it renders as, or not at all.
func FuzzLetters(f *testing.F) {
	f.Add(wire.Marshal(posted{Token: []byte("t"), Sealed: []byte("s")}))
	f.Add(wire.Marshal(parcel{Expires: 1 << 50, Sealed: []byte("s")}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := parsePosted(data); err == nil && !bytes.Equal(wire.Marshal(*p), data) {
			t.Errorf("%x reads as %+v", data, p)
		}
		if p, err := parseParcel(data); err == nil && !bytes.Equal(wire.Marshal(*p), data) {
			t.Errorf("%x reads as %+v", data, p)
		}
	})
}
