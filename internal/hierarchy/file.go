// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// File is an open file or directory of an [FS].
type File interface {
	io.ReadWriteCloser
	// Sync returns when all written before is durable; for a directory, its
	// entries.
	Sync() error
}

// FS is the one directory that holds epoch files. Names have no separators,
// except "." for the directory itself, which is opened to be synced. The
// discipline of erasing lies in this package; FS only has to do what it is told,
// in place, so an implementation over a log-structured or copy-on-write medium
// doesn't erase.
type FS interface {
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	Remove(name string) error
	Names() ([]string, error)
}

// dirFS is an FS on a directory of the operating system.
type dirFS struct{ root *os.Root }

func openDir(dir string) (*dirFS, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open root directory: %w", err)
	}
	return &dirFS{root: root}, nil
}

func (d *dirFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	return d.root.OpenFile(name, flag, perm)
}

func (d *dirFS) Remove(name string) error { return d.root.Remove(name) }

func (d *dirFS) Names() ([]string, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// maxEpochFile bounds what is read of an epoch file.
const maxEpochFile = 4 << 10

// File names: a .key file holds an EEK and the private epoch key, a .join file
// the private epoch key of a server that still waits for its EEK.
const (
	keySuffix  = ".key"
	joinSuffix = ".join"
	filePrefix = "epoch-"
)

func fileName(epoch uint64, suffix string) string {
	return filePrefix + strconv.FormatUint(epoch, 10) + suffix
}

// localFile is the name of one epoch file, taken apart.
type localFile struct {
	name   string
	epoch  uint64
	suffix string
}

// localFiles lists the epoch files; other names in the directory are none of
// this package's business.
func localFiles(fsys FS) ([]localFile, error) {
	names, err := fsys.Names()
	if err != nil {
		return nil, fmt.Errorf("list epoch files: %w", err)
	}
	var files []localFile
	for _, name := range names {
		for _, suffix := range []string{keySuffix, joinSuffix} {
			digits, ok := strings.CutSuffix(name, suffix)
			if !ok {
				continue
			}
			digits, ok = strings.CutPrefix(digits, filePrefix)
			epoch, err := strconv.ParseUint(digits, 10, 64)
			if ok && err == nil && fileName(epoch, suffix) == name {
				files = append(files, localFile{name, epoch, suffix})
			}
		}
	}
	return files, nil
}

// writeFile creates a file that must not exist, durably. A crash in the middle
// leaves a file that doesn't open; the seal of its content tells.
func writeFile(fsys FS, name string, content []byte) error {
	f, err := fsys.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("create epoch file: %w", err)
	}
	if err := writeSync(f, content); err != nil {
		return fmt.Errorf("write epoch file: %w", err)
	}
	return syncDir(fsys)
}

// readFile returns the whole content of a file, and refuses one that is too long.
func readFile(fsys FS, name string) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("open epoch file: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxEpochFile+1))
	if err != nil {
		return nil, fmt.Errorf("read epoch file: %w", err)
	}
	if len(content) > maxEpochFile {
		return nil, errors.New("read epoch file: longer than any epoch file")
	}
	return content, nil
}

// eraseFile destroys a file: overwrite in place, make that durable, only then
// unlink, and make that durable too. In any other order a crash could leave the
// old bytes on the medium without a name that leads to them. A file that is gone
// already is erased. The random bytes defeat media that compress or deduplicate.
func eraseFile(fsys FS, name string) error {
	old, err := readFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return syncDir(fsys)
	}
	if err != nil {
		return fmt.Errorf("erase: %w", err)
	}
	noise := make([]byte, len(old))
	rand.Read(noise)
	f, err := fsys.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("erase epoch file: %w", err)
	}
	if err := writeSync(f, noise); err != nil {
		return fmt.Errorf("overwrite epoch file: %w", err)
	}
	now, err := readFile(fsys, name)
	if err != nil {
		return fmt.Errorf("overwrite epoch file: %w", err)
	}
	if !bytes.Equal(now, noise) {
		return errors.New("overwrite epoch file: it does not hold what was written over it")
	}
	if err := fsys.Remove(name); err != nil {
		return fmt.Errorf("remove epoch file: %w", err)
	}
	return syncDir(fsys)
}

// writeSync writes all content, syncs and closes.
func writeSync(f File, content []byte) error {
	_, err := f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(fsys FS) error {
	d, err := fsys.OpenFile(".", os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("open root directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync root directory: %w", err)
	}
	return nil
}
