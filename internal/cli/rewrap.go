// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"claviger/client"
	"claviger/envelope"
)

// rewrapRow is what became of one file.
type rewrapRow struct {
	File    string `json:"file"`
	From    uint64 `json:"from_version"`
	Key     string `json:"key"`
	Version uint64 `json:"version"`
	Changed bool   `json:"changed"`
}

type rewrapResult struct {
	Files []rewrapRow `json:"files"`
}

func (r rewrapResult) human(p *printer) {
	rows := make([][]string, len(r.Files))
	for i, f := range r.Files {
		what := "rewrapped"
		if !f.Changed {
			what = "current already"
		}
		rows[i] = []string{f.File, f.Key, strconv.FormatUint(f.From, 10), strconv.FormatUint(f.Version, 10), what}
	}
	p.table([]string{"FILE", "KEY", "FROM", "TO", "RESULT"}, rows)
}

func newRewrapCommand(e *env) *cobra.Command {
	var f cipherFlags
	var keys []string
	var to string
	cmd := &cobra.Command{
		Use:   "rewrap FILE…",
		Short: "Give ciphertexts the current version of their key",
		Long: "Give ciphertexts the current version of their key, or another key, without\n" +
			"decrypting their bodies: only the header changes. That serves rotation. It takes\n" +
			"nothing from somebody who has the old header and the old key; after a compromise\n" +
			"decrypt and encrypt again. Files are replaced as a whole, one after the other.",
		Example: "  claviger rewrap --key payments/cards cards-*.clv",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.named = cmd.Flags().Changed("partition")
			r, err := e.rewrap(cmd.Context(), args, keys, to, f)
			if len(r.Files) > 0 { // what was done before an error was done
				if shown := e.show(r); err == nil {
					err = shown
				}
			}
			return err
		},
	}
	cmd.Flags().StringArrayVar(&keys, "key", nil, "name of a key that may open them; can be given again")
	cmd.Flags().StringVar(&to, "to", "", "key to give them (default: the one that opens them)")
	cmd.Flags().StringVar(&f.partition, "partition", "", "partition of ciphertexts that hide theirs")
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, for policies and the audit log")
	return cmd
}

func (e *env) rewrap(ctx context.Context, files, keys []string, to string, f cipherFlags) (r rewrapResult, err error) {
	if err := checkKeyNames(append(keys, cmp.Or(to, "any"))...); err != nil {
		return r, err
	}
	c, p, err := e.dial(ctx, f.reason)
	if err != nil {
		return r, err
	}
	defer c.Close()
	o := f.expect(keys, p)
	for _, file := range files {
		row, err := e.rewrapFile(ctx, c, file, to, o)
		if err != nil {
			return r, fmt.Errorf("rewrap %s: %w", file, err)
		}
		r.Files = append(r.Files, row)
	}
	return r, nil
}

// rewrapFile replaces one file by a copy with the new header.
func (e *env) rewrapFile(ctx context.Context, c *client.Client, file, to string, o client.DecryptOptions) (rewrapRow, error) {
	row := rewrapRow{File: file}
	src, err := os.Open(file)
	if err != nil {
		return row, err
	}
	defer src.Close()
	header, err := envelope.ReadHeader(src) // src stands at the body then
	if err != nil {
		return row, err
	}
	opening := &watched{Opening: c.Opening(o)}
	next := &sameKey{client: c, from: opening, to: to, hidden: o.Partition}
	fresh, err := envelope.Rewrap(ctx, opening, next, header)
	if err != nil {
		return row, err
	}
	row.From, row.Key, row.Version = opening.ref.Version, next.key, next.version
	if opening.Opened().Key == next.key && row.From == row.Version {
		return row, nil
	}
	row.Changed = true
	out, err := e.create(outputOptions{Path: file})
	if err != nil {
		return row, err
	}
	defer out.Abort()
	if _, err := io.Copy(out, bytes.NewReader(fresh)); err != nil {
		return row, wrapOutput("write", err)
	}
	if _, err := io.Copy(out, src); err != nil {
		return row, wrapOutput("write", err)
	}
	return row, out.Commit()
}

// watched is an Opening that remembers the slot it opened.
type watched struct {
	*client.Opening
	ref envelope.Ref
}

// Unwrap implements envelope.Unwrapper.
func (w *watched) Unwrap(ctx context.Context, slots []envelope.Slot) (envelope.Unwrapped, error) {
	out, err := w.Opening.Unwrap(ctx, slots)
	if err == nil {
		w.ref = slots[out.Slot].Ref
	}
	return out, err
}

// sameKey wraps for the key that opened, unless another is named, in the same
// partition.
type sameKey struct {
	client  *client.Client
	from    *watched
	to      string
	key     string
	version uint64
	hidden  []byte
}

// Wrap implements envelope.Wrapper.
func (s *sameKey) Wrap(ctx context.Context, dek []byte) (envelope.Slot, error) {
	if s.key = s.to; s.key == "" {
		s.key = s.from.Opened().Key
	}
	o := client.EncryptOptions{Partition: s.from.ref.Partition, HidePartition: s.from.ref.HidePartition}
	if o.HidePartition {
		o.Partition = s.hidden
	}
	slot, err := s.client.Sealing(s.key, o).Wrap(ctx, dek)
	s.version = slot.Ref.Version
	return slot, err
}
