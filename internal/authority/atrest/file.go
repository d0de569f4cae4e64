// SPDX-License-Identifier: Apache-2.0

package atrest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxFile bounds a file before it is read.
const maxFile = 64 << 10

// File is one sealed value in a file of mode 0600.
type File struct {
	Path string
	Box  Box
}

// Write replaces the file whole and durably: written beside, synced, renamed,
// directory synced. After an error the file is the old one or the new one.
func (f File) Write(plaintext, aad []byte) error {
	sealed := f.Box.Seal(plaintext, aad)
	err := Replace(f.Path, func(w io.Writer) error {
		_, err := w.Write(sealed)
		return err
	})
	if err != nil {
		return fmt.Errorf("replace sealed file: %w", err)
	}
	return nil
}

// Read returns what Write wrote; nil without an error if there is no file.
// ErrSeal: the file was changed, or is another installation's.
func (f File) Read(aad []byte) ([]byte, error) {
	file, err := os.Open(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	sealed, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(sealed) > maxFile {
		return nil, ErrSeal
	}
	return f.Box.Open(sealed, aad)
}

// Replace replaces a file by what write writes, whole and durably. After an
// error, or a crash, the file is the old one or the new one; what was half
// written lies beside it, under the name with ".new", until the next time.
func Replace(path string, write func(io.Writer) error) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
