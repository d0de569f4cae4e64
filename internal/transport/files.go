// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// maxScanned is how many names of one directory are looked at: beyond it somebody
// has filled it, and what is wanted may not be found.
const maxScanned = 1 << 14

var errNotRegular = errors.New("not a regular file")

// tree is a directory that strangers may write to. Names are relative and have
// slashes. Nothing it opens leads out of it, blocks or has no bound.
type tree struct{ *os.Root }

func openTree(at string) (tree, error) {
	if runtime.GOOS == "windows" {
		at = strings.TrimPrefix(at, "/") // /C:/share
	}
	at = filepath.FromSlash(at)
	// A pipe in its place must not hold us up.
	if info, err := os.Stat(at); err != nil || !info.IsDir() {
		return tree{}, fmt.Errorf("open directory %s: %w", at, errors.Join(err, fs.ErrNotExist))
	}
	root, err := os.OpenRoot(at)
	if err != nil {
		return tree{}, fmt.Errorf("open directory: %w", err)
	}
	return tree{root}, nil
}

// read returns a regular file of at most limit bytes.
func (t tree) read(name string, limit int) ([]byte, error) {
	f, err := t.OpenFile(name, os.O_RDONLY|dontBlock, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: %w", name, errNotRegular)
	}
	if info.Size() > int64(limit) {
		return nil, fmt.Errorf("read %s: %w", name, errTooLarge)
	}
	out, err := readAtMost(f, limit)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return out, nil
}

// write makes or replaces a file as a whole: whoever reads it sees all of it.
// The directory has to be there. Only what has to outlive a crash is durable: the
// rest is sent again, or made again.
func (t tree) write(name string, data []byte, durable bool) error {
	temporary := path.Join(path.Dir(name), "."+hex.EncodeToString(random(16)))
	f, err := t.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = t.Rename(temporary, name)
	}
	if err != nil {
		_ = t.Remove(temporary) // the error before says more
		return err
	}
	if durable {
		return t.syncDir(path.Dir(name))
	}
	return nil
}

func (t tree) syncDir(name string) error {
	if runtime.GOOS == "windows" {
		return nil // it has no such call
	}
	f, err := t.OpenFile(name, os.O_RDONLY|dontBlock, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// makeAndWrite makes the directory if it isn't there.
func (t tree) makeAndWrite(name string, data []byte, durable bool) error {
	if err := t.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	return t.write(name, data, durable)
}

// list returns at most most names of regular files in a directory that consist of
// digits hexadecimal digits, in the order of names. A directory that isn't there
// is empty.
func (t tree) list(dir string, digits, most int) ([]string, error) {
	f, err := t.OpenFile(dir, os.O_RDONLY|dontBlock, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []string
	for scanned := 0; scanned < maxScanned; {
		entries, err := f.ReadDir(256)
		for _, e := range entries {
			if e.Type().IsRegular() && isHex(e.Name(), digits) {
				out = append(out, e.Name())
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", dir, err)
		}
		scanned += len(entries)
	}
	slices.Sort(out)
	return out[:min(len(out), most)], nil
}

// sweep removes the files among names that are older than age by the file
// system's own clock.
func (t tree) sweep(dir string, digits int, age time.Duration) error {
	probe := path.Join(dir, "."+hex.EncodeToString(random(16)))
	f, err := t.OpenFile(probe, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	now, err := f.Stat()
	if err = errors.Join(err, f.Close(), t.Remove(probe)); err != nil {
		return err
	}
	names, err := t.list(dir, digits, maxScanned)
	for _, name := range names {
		if info, err := t.Lstat(path.Join(dir, name)); err == nil && now.ModTime().Sub(info.ModTime()) > age {
			_ = t.Remove(path.Join(dir, name)) // somebody else may have
		}
	}
	return err
}

// isHex reports whether a name is digits lower-case hexadecimal digits.
func isHex(name string, digits int) bool {
	return len(name) == digits && strings.Trim(name, "0123456789abcdef") == ""
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
