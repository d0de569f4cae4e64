// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// readFile reads a file of the profile, of at most limit bytes.
func (p *Profile) readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(filepath.Join(p.dir, name))
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read profile: %s is larger than %d bytes", name, limit)
	}
	return data, nil
}

// writeFile replaces a file of the profile: whole and durable, or not at all.
func (p *Profile) writeFile(name string, data []byte) error {
	f, err := os.CreateTemp(p.dir, "."+name+".*.new") // 0600
	if err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	defer os.Remove(f.Name()) // fails, as it should, once renamed
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(p.dir, name))
	}
	if err == nil {
		err = syncDir(p.dir)
	}
	if err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	return nil
}

// emptyDir makes a directory of mode 0700, or takes an empty one as it is.
func emptyDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o700)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(list) > 0 {
		return fmt.Errorf("%w: %s holds something already", fs.ErrExist, dir)
	}
	return os.Chmod(dir, 0o700)
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // it can't open a directory, and orders renames itself
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
