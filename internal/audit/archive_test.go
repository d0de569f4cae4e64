// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// part is one file of an archive.
type part struct {
	name string
	data []byte
}

func unpack(t testing.TB, archive []byte) []part {
	t.Helper()
	var out []part
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, part{h.Name, data})
	}
}

func pack(t testing.TB, parts []part) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, p := range parts {
		if err := w.WriteHeader(&tar.Header{Name: p.name, Mode: 0o600, Size: int64(len(p.data)), Format: tar.FormatUSTAR}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(p.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// repack changes the parts of an archive.
func repack(t testing.TB, archive []byte, change func([]part) []part) []byte {
	t.Helper()
	return pack(t, change(unpack(t, archive)))
}

// bodiesOf changes the leaves of a log, and the names and hash tiles with them
// if tiles is set: as somebody would who can rewrite everything but signatures.
func bodiesOf(t testing.TB, archive []byte, log string, tiles bool, change func([][]byte) [][]byte) []byte {
	t.Helper()
	return repack(t, archive, func(parts []part) []part {
		var out []part
		var bodies [][]byte
		var oldTiles []part
		at := 0
		for _, p := range parts {
			switch {
			case strings.HasPrefix(p.name, log+"/tile/entries/"):
				b, err := splitBundle(p.data)
				if err != nil {
					t.Fatal(err)
				}
				bodies = append(bodies, b...)
				at = len(out)
			case strings.HasPrefix(p.name, log+"/tile/"):
				oldTiles = append(oldTiles, p)
				at = len(out)
			default:
				out = append(out, p)
			}
		}
		return slices.Insert(out, at, bundles(t, log, change(bodies), oldTiles, tiles)...)
	})
}

func bundles(t testing.TB, log string, bodies [][]byte, old []part, tiles bool) []part {
	t.Helper()
	e := &exporter{}
	var buf bytes.Buffer
	e.tar = tar.NewWriter(&buf)
	for _, b := range bodies {
		e.leaf(log+"/", b)
	}
	e.flush(log + "/")
	if err := errors.Join(e.err, e.tar.Close()); err != nil {
		t.Fatal(err)
	}
	made := unpack(t, buf.Bytes())
	if tiles {
		return made
	}
	// The signed hash tiles stay; each keeps a bundle of some name-giving width.
	var out []part
	for i, tile := range old {
		entries := part{name: strings.Replace(tile.name, "/tile/0/", "/tile/entries/", 1)}
		if 2*i+1 < len(made) {
			entries.data = made[2*i+1].data
		}
		out = append(out, tile, entries)
	}
	return out
}

func export(t testing.TB, l *Log) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := l.Export(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestVerifyArchiveForm: what isn't an archive is refused as a whole.
func TestVerifyArchiveForm(t *testing.T) {
	l, archive, _ := sample(t, newMem(34))
	defer mustClose(t, l)
	parts := unpack(t, archive)
	insert := func(i int, p part) []byte { return pack(t, slices.Insert(slices.Clone(parts), i, p)) }
	rename := func(i int, name string) []byte {
		c := slices.Clone(parts)
		c[i].name = name
		return pack(t, c)
	}
	o := testVerifyOptions()
	stranger := testVerifyOptions()
	stranger.Keys = nil
	elsewhere := testVerifyOptions()
	elsewhere.Domain[0] ^= 1
	for name, c := range map[string]struct {
		o    VerifyOptions
		data []byte
	}{
		"empty":            {o, nil},
		"text":             {o, []byte("hello")},
		"no first entry":   {o, pack(t, parts[1:])},
		"another version":  {o, pack(t, append([]part{{archiveName, []byte("claviger audit archive v2\n")}}, parts[1:]...))},
		"unknown name":     {o, insert(len(parts), part{"00000001/zzz", nil})},
		"unknown first":    {o, insert(1, part{"other/x", nil})},
		"log 0":            {o, insert(1, part{"00000000/vkey", nil})},
		"log twice":        {o, insert(len(parts), part{"00000001/vkey", nil})},
		"tile misplaced":   {o, rename(3, "00000001/tile/0/001")},
		"entries missing":  {o, pack(t, slices.Delete(slices.Clone(parts), 4, 5))},
		"bundle cut":       {o, pack(t, slices.Replace(slices.Clone(parts), 4, 5, part{parts[4].name, parts[4].data[:9]}))},
		"bundle one byte":  {o, pack(t, slices.Replace(slices.Clone(parts), 4, 5, part{parts[4].name, []byte{0}}))},
		"blob name":        {o, rename(len(parts)-1, "00000001/blob/"+strings.Repeat("A", 64))},
		"log not padded":   {o, insert(1, part{"1/vkey", nil})},
		"bundle too full":  {o, pack(t, slices.Replace(slices.Clone(parts), 4, 5, part{parts[4].name, make([]byte, 2*(2*tileWidth+1))}))},
		"trailing zeros":   {o, append(bytes.Clone(archive), make([]byte, 1024)...)},
		"link":             {o, linked(t, parts)},
		"trailing":         {o, append(bytes.Clone(archive), 1)},
		"trailing archive": {o, append(bytes.Clone(archive), archive...)},
		"cut":              {o, archive[:len(archive)/2]},
		"large checkpoint": {o, pack(t, slices.Replace(slices.Clone(parts), 2, 3, part{parts[2].name, make([]byte, maxNote+1)}))},
		"unknown server":   {stranger, archive},
		"another domain":   {elsewhere, archive},
	} {
		report, err := Verify(c.o, bytes.NewReader(c.data))
		if !errors.Is(err, ErrArchive) {
			t.Errorf("%s: %v", name, err)
		}
		if strings.HasPrefix(name, "log ") && name != "log twice" && len(report.Logs) > 0 {
			t.Errorf("%s: taken for log %d", name, report.Logs[0].Number)
		}
	}
}

// linked is an archive whose last file is a symbolic link.
func linked(t *testing.T, parts []part) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for i, p := range parts {
		h := &tar.Header{Name: p.name, Mode: 0o600, Size: int64(len(p.data)), Format: tar.FormatUSTAR}
		if i == len(parts)-1 {
			h.Typeflag, h.Linkname, h.Size, p.data = tar.TypeSymlink, "x", 0, nil
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(p.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestThirdPartyNote: the checkpoint and key in an archive are what tools for
// signed notes expect.
func TestThirdPartyNote(t *testing.T) {
	l, archive, _ := sample(t, newMem(39))
	defer mustClose(t, l)
	parts := unpack(t, archive)
	verifier, err := note.NewVerifier(strings.TrimSpace(string(parts[1].data)))
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(parts[2].data, note.VerifierList(verifier))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%s/%s/1\n301\n", testDomain, testServer); !strings.HasPrefix(n.Text, want) {
		t.Errorf("text %q", n.Text)
	}
	if binary.BigEndian.Uint16(parts[4].data) == 0 {
		t.Error("empty first entry")
	}
}
