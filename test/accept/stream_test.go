// SPDX-License-Identifier: Apache-2.0

package accept

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// mostMemory is what a command may have resident at once, in KiB, however long
// its input is.
const mostMemory = 64 << 10

// noise is n bytes that no compression or deduplication can make less of.
func noise(n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{'a', 'c', 'c', 'e', 'p', 't'}), n)
}

func sumOf(t *testing.T, r io.Reader) [sha256.Size]byte {
	t.Helper()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		t.Fatal(err)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func (p *person) sumFile(name string) [sha256.Size]byte {
	p.t.Helper()
	f, err := os.Open(p.path(name))
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	return sumOf(p.t, f)
}

func TestStreamsNeedLittleMemory(t *testing.T) {
	t.Parallel()
	d := enrolled(t)
	want := sumOf(t, noise(*streamBytes))
	plain, err := os.Create(d.path("plain"))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := io.Copy(plain, noise(*streamBytes)); err != nil {
		t.Fatal(err)
	}
	small := func(r result) {
		t.Helper()
		if r.ends(t, 0).peak == 0 {
			t.Errorf("%s\nits memory was not measured", r.line)
		}
		if r.peak > mostMemory {
			t.Errorf("%s\nneeded %d KiB, more than %d", r.line, r.peak, mostMemory)
		}
		t.Logf("%s: %d MiB in %.1f s, %.1f MiB resident at most", r.line, *streamBytes>>20, r.took.Seconds(), float64(r.peak)/1024)
	}
	t.Run("files", func(t *testing.T) {
		small(d.run("encrypt", "--key", tourKey, "-o", "file.clv", "plain"))
		small(d.run("decrypt", "--key", tourKey, "-o", "file.out", "file.clv"))
		if d.sumFile("file.out") != want {
			t.Error("what was decrypted differs")
		}
	})
	t.Run("pipes", func(t *testing.T) {
		sealed, err := os.Create(d.path("pipe.clv"))
		if err != nil {
			t.Fatal(err)
		}
		defer sealed.Close()
		cmd := d.command("claviger", "encrypt", "--key", tourKey)
		cmd.Stdin, cmd.Stdout = noise(*streamBytes), io.MultiWriter(sealed) // not *os.File: a pipe
		small(d.finish(cmd))
		if _, err := sealed.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		opened := sha256.New()
		cmd = d.command("claviger", "decrypt", "--key", tourKey)
		cmd.Stdin, cmd.Stdout = io.MultiReader(sealed), struct{ hash.Hash }{opened}
		small(d.finish(cmd))
		if [sha256.Size]byte(opened.Sum(nil)) != want {
			t.Error("what was decrypted differs")
		}
	})
}

// chunk is how many bytes of an object's body are one chunk (docs/spec/envelope.md).
const chunk = 16<<10 + 16

func TestChangedCiphertextLeavesNoFile(t *testing.T) {
	t.Parallel()
	d := enrolled(t)
	one, two := make([]byte, 1<<20), make([]byte, 1<<20)
	io.ReadFull(noise(1<<20), one)
	d.write("one", string(one))
	d.write("two", string(two))
	for _, name := range []string{"one", "two"} {
		d.do("encrypt", "--key", tourKey, "-o", name+".clv", name)
	}
	sealed, other := []byte(d.read("one.clv")), []byte(d.read("two.clv"))
	middle := len(sealed) - 20*chunk
	changed := map[string][]byte{
		"cut in a chunk":        sealed[:len(sealed)-5000],
		"cut between chunks":    sealed[:middle],
		"cut in the header":     sealed[:50],
		"empty":                 {},
		"a bit of the body":     flipped(sealed, middle+7),
		"a bit of the header":   flipped(sealed, 60),
		"a bit of the start":    flipped(sealed, 0),
		"a bit of the last":     flipped(sealed, len(sealed)-1),
		"another's second half": slices.Concat(sealed[:middle], other[middle:]),
		"two chunks exchanged":  slices.Concat(sealed[:middle], sealed[middle+chunk:middle+2*chunk], sealed[middle:middle+chunk], sealed[middle+2*chunk:]),
		"a chunk twice":         slices.Concat(sealed[:middle+chunk], sealed[middle:]),
		"bytes after the end":   append(slices.Clone(sealed), "more"...),
		"two objects":           slices.Concat(sealed, sealed),
	}
	for name, data := range changed {
		t.Run(name, func(t *testing.T) {
			d := &domain{person: &person{t: t, home: d.home}}
			d.write("bad.clv", string(data))
			d.run("decrypt", "--key", tourKey, "-o", "out", "bad.clv").oneError(t, 6)
			d.absent("out")
			piped := d.feed(bytes.NewReader(data), "decrypt", "--key", tourKey)
			piped.oneError(t, 6)
			if !strings.HasPrefix(string(one), piped.out) {
				t.Errorf("%d bytes came out that nobody encrypted", len(piped.out))
			}
			d.feed(bytes.NewReader(data), "decrypt", "--key", tourKey, "-o", "out").oneError(t, 6)
			d.absent("out")
		})
	}
	leftovers(t, d.home)
	d.do("decrypt", "--key", tourKey, "-o", "out", "one.clv")
	if d.read("out") != string(one) {
		t.Error("the unchanged one does not open")
	}
}

// flipped is data with one bit changed.
func flipped(data []byte, at int) []byte {
	out := slices.Clone(data)
	out[at] ^= 0x10
	return out
}

// leftovers fails if files in the making are still there.
func leftovers(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".part") {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}
