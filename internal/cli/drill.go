// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// drill recovers the root in a fresh process, which knows what is on disk and
// what it reads from a pipe: nothing that only the creating process had.
func (e *env) drill(ctx context.Context, dir string, with root.Unlock) ([root.Size]byte, error) {
	var sum [root.Size]byte
	if e.Exec == nil {
		return sum, errors.New("no process can be started")
	}
	r, w, err := os.Pipe()
	if err != nil {
		return sum, err
	}
	defer r.Close()
	written := make(chan error, 1)
	go func() { written <- errors.Join(writeUnlock(w, with), w.Close()) }()
	out, err := e.Exec(ctx, []string{"root", "drill", "--dir", dir}, r)
	r.Close()
	<-written // its error says no more than what the process answers
	if err != nil {
		return sum, err
	}
	text, err := hex.DecodeString(strings.TrimSpace(string(out)))
	if err != nil || len(text) != len(sum) {
		return sum, errors.New("the drill answered something else than a fingerprint")
	}
	return [root.Size]byte(text), nil
}

// The kinds of secret in a drill's pipe: one byte, a 32-bit length, the secret.
const (
	drillPassphrase = 'p'
	drillKey        = 'k'
	drillShare      = 's'
)

// writeUnlock hands over secrets straight from protected memory.
func writeUnlock(w io.Writer, with root.Unlock) error {
	put := func(kind byte, b *secret.Bytes) error {
		if b == nil {
			return nil
		}
		if _, err := w.Write(binary.BigEndian.AppendUint32([]byte{kind}, uint32(b.Len()))); err != nil {
			return err
		}
		_, err := w.Write(b.Expose())
		return err
	}
	err := errors.Join(put(drillPassphrase, with.Passphrase), put(drillKey, with.Key))
	for _, share := range with.Shares {
		err = errors.Join(err, put(drillShare, share))
	}
	return err
}

// readUnlock is the other side of writeUnlock.
func readUnlock(r io.Reader) (with root.Unlock, err error) {
	for {
		var head [5]byte
		if _, err := io.ReadFull(r, head[:]); err == io.EOF {
			return with, nil
		} else if err != nil {
			return with, fmt.Errorf("read what opens the root: %w", err)
		}
		size := binary.BigEndian.Uint32(head[1:])
		if size > maxSecretFile {
			return with, errors.New("read what opens the root: too long")
		}
		b := secret.New(int(size))
		if _, err := io.ReadFull(r, b.Expose()); err != nil {
			b.Wipe()
			return with, fmt.Errorf("read what opens the root: %w", err)
		}
		switch head[0] {
		case drillPassphrase:
			with.Passphrase = b
		case drillKey:
			with.Key = b
		default:
			with.Shares = append(with.Shares, b)
		}
	}
}

// newRootDrillCommand is what init runs as a fresh process.
func newRootDrillCommand(e *env) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "drill --dir ROOT",
		Short:   "Recover the root from disk and say its fingerprint",
		Example: "  claviger root drill --dir D/root < PIPE",
		Hidden:  true,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			with, err := readUnlock(e.In)
			if err != nil {
				return err
			}
			sum, err := root.Drill(dir, with)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(e.Out, wire.Hash(sum))
			return wrapWrite(err)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "directory of the custody file")
	return cmd
}
