// SPDX-License-Identifier: Apache-2.0

package root

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// FileName is the custody file's name in the root directory.
const FileName = "custody.json"

// maxFile bounds the custody file: 32 shares sealed to hybrid recipients take
// about 170 KB.
const maxFile = 512 << 10

const (
	formatName    = "claviger root custody"
	formatVersion = 1
)

var (
	// ErrDamaged says that the custody file, or a backup of it, is not as it
	// was written.
	ErrDamaged = errors.New("root custody file is damaged or was changed")
	// ErrVersion says that the custody file is of a version that only a newer
	// program reads.
	ErrVersion = errors.New("root custody file is of a newer version than this program knows")
)

// custodyFile is the file: indented JSON that must be byte for byte what
// encoding it again gives, which refuses unknown and doubled members, other
// orders and trailing bytes at once. Exactly one of the last three is there.
type custodyFile struct {
	Format      string          `json:"format"`
	Version     int             `json:"version"`
	Generation  uint64          `json:"generation"`
	Fingerprint hexBytes        `json:"fingerprint"`
	Passphrase  *passphraseSeal `json:"passphrase,omitempty"`
	KeyFile     *keyFileSeal    `json:"key_file,omitempty"`
	Shares      *shareSet       `json:"shares,omitempty"`
}

// hexBytes is lower-case hex in JSON.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

func (h *hexBytes) UnmarshalText(text []byte) error {
	decoded, err := hex.AppendDecode(nil, text)
	*h = decoded
	return err
}

// encode panics on nothing: the types above always encode.
func (f *custodyFile) encode() ([]byte, error) {
	data, err := json.MarshalIndent(f, "", "  ")
	return append(data, '\n'), err
}

// header is what the seal authenticates and the shares name by hash: the file
// without what depends on the seal itself.
func (f *custodyFile) header() ([]byte, error) {
	bare := *f
	if f.Passphrase != nil {
		seal := *f.Passphrase
		seal.Sealed = nil
		bare.Passphrase = &seal
	}
	if f.KeyFile != nil {
		seal := *f.KeyFile
		seal.Sealed = nil
		bare.KeyFile = &seal
	}
	if f.Shares != nil {
		bare.Shares = f.Shares.description()
	}
	return bare.encode()
}

// decode parses a custody file and checks every bound; what it returns can be
// used without further checks. Its errors wrap ErrDamaged or ErrVersion.
func decode(data []byte) (*custodyFile, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrDamaged, maxFile)
	}
	var start struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	err := json.Unmarshal(data, &start)
	if err != nil || start.Format != formatName {
		return nil, fmt.Errorf("%w: it is no custody file", ErrDamaged)
	}
	if start.Version > formatVersion {
		return nil, fmt.Errorf("%w: version %d, known is %d", ErrVersion, start.Version, formatVersion)
	}
	f := new(custodyFile)
	if err := json.Unmarshal(data, f); err != nil {
		return nil, fmt.Errorf("%w: a member has the wrong type", ErrDamaged)
	}
	again, err := f.encode()
	if err != nil || !bytes.Equal(data, again) {
		return nil, fmt.Errorf("%w: it is not in the form in which it is written", ErrDamaged)
	}
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return f, nil
}

func (f *custodyFile) check() error {
	kinds := 0
	var err error
	if f.Passphrase != nil {
		kinds++
		err = f.Passphrase.check()
	}
	if f.KeyFile != nil {
		kinds++
		err = f.KeyFile.check()
	}
	if f.Shares != nil {
		kinds++
		err = f.Shares.check()
	}
	switch {
	case f.Version != formatVersion:
		return errors.New("version below 1")
	case f.Generation == 0 || f.Generation > math.MaxInt64:
		return errors.New("generation out of range")
	case len(f.Fingerprint) != Size:
		return errors.New("fingerprint of a wrong size")
	case kinds != 1:
		return errors.New("not exactly one seal")
	}
	return err
}

// read returns the custody file of dir.
func read(dir string) (*custodyFile, error) {
	file, err := os.Open(filepath.Join(dir, FileName))
	if err != nil {
		return nil, fmt.Errorf("read root: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read root: %w", err)
	}
	f, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("read root %s: %w", file.Name(), err)
	}
	return f, nil
}

// write puts data in dir under FileName, durable and whole or not at all. With
// replace false an existing file is left as it is and gives os.ErrExist.
func write(dir string, data []byte, replace bool) error {
	temporary, err := os.CreateTemp(dir, FileName+".*.new") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name()) // fails, as it should, once renamed
	_, err = temporary.Write(data)
	if err == nil {
		err = temporary.Sync()
	}
	if closed := temporary.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	put := os.Link // refuses an existing name, which rename doesn't
	if replace {
		put = os.Rename
	}
	if err := put(temporary.Name(), filepath.Join(dir, FileName)); err != nil {
		return err
	}
	return syncDir(dir)
}

// makeDir makes dir with mode 0700, durable. An existing one must be closed to
// other users.
func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, os.ErrExist) {
		return checkClosed(dir)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(filepath.Clean(dir)))
}

func checkClosed(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is no directory", dir)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s has mode %04o and is open to other users: set it to 0700", dir, mode)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// checkRecipientText accepts what a stored recipient can look like, without
// parsing it: reading a custody file needs no age.
func checkRecipientText(recipient string) error {
	const longest = 4096
	data, found := strings.CutPrefix(recipient, "age1")
	if !found || len(recipient) > longest || strings.Trim(data, "0123456789abcdefghijklmnopqrstuvwxyz") != "" {
		return errors.New("a custodian has no age recipient")
	}
	return nil
}
