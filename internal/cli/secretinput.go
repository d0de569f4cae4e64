// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/pflag"

	"claviger/internal/secret"
)

// maxSecretFile bounds what is read as one secret.
const maxSecretFile = 64 << 10

// secretSource is where one secret comes from. The zero value with a Prompt
// asks on the terminal.
type secretSource struct {
	File       string // --NAME-file
	FD         int    // --NAME-fd; below 0 is unset
	Credential string // name of a systemd credential; "" for none
	Prompt     string // question for a person; "" means that nobody is asked
}

// secretFlags adds --NAME-file and --NAME-fd, the only ways in which a command
// line names a secret.
func secretFlags(flags *pflag.FlagSet, src *secretSource, name, what string) {
	flags.StringVar(&src.File, name+"-file", "", "file that holds "+what)
	flags.IntVar(&src.FD, name+"-fd", -1, "open file descriptor to read "+what+" from")
}

// readSecret reads the secret from the first source that is set: file,
// descriptor, systemd credential, prompt. One line feed at the end is not part
// of it. The caller wipes what it gets.
func (e *env) readSecret(ctx context.Context, src secretSource) (*secret.Bytes, error) {
	switch {
	case src.File != "" && src.FD >= 0:
		return nil, usagef("a secret comes from a file or from a descriptor, not from both")
	case src.File != "":
		return e.readSecretFile(src.File)
	case src.FD >= 0:
		f := os.NewFile(uintptr(src.FD), "descriptor")
		if f == nil {
			return nil, usagef("descriptor %d is not open", src.FD)
		}
		defer f.Close()
		return readBounded(f)
	}
	if dir := e.getenv("CREDENTIALS_DIRECTORY"); dir != "" && src.Credential != "" {
		b, err := e.readSecretFile(filepath.Join(dir, src.Credential))
		if !errors.Is(err, fs.ErrNotExist) {
			return b, err
		}
	}
	if src.Prompt == "" {
		return nil, errNobody
	}
	return e.askPassphrase(ctx, src.Prompt)
}

// readSecretFile warns of a file that others can read: the secret may be known
// already, and refusing would not make it less so.
func (e *env) readSecretFile(path string) (*secret.Bytes, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open secret: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && runtime.GOOS != "windows" && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		e.warn("%s can be read by others (mode %04o)", path, info.Mode().Perm())
	}
	return readBounded(f)
}

// readBounded reads all of r into protected memory without a copy elsewhere.
func readBounded(r io.Reader) (*secret.Bytes, error) {
	buf := secret.New(maxSecretFile + 1)
	defer buf.Wipe()
	n, err := io.ReadFull(r, buf.Expose())
	switch {
	case err == nil:
		return nil, usagef("a secret is at most %d bytes", maxSecretFile)
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("read secret: %w", err)
	}
	text := bytes.TrimSuffix(buf.Expose()[:n], []byte("\n"))
	text = bytes.TrimSuffix(text, []byte("\r"))
	if len(text) == 0 {
		return nil, usagef("the secret is empty")
	}
	return secret.Take(text), nil
}
