// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"claviger/envelope"
	"claviger/internal/wire"
)

// slotRow is one key that opens a ciphertext, as anyone can read it.
type slotRow struct {
	KeyID     string `json:"key_id"`
	Version   uint64 `json:"version"`
	Partition []byte `json:"partition,omitempty"`
	Hidden    bool   `json:"partition_hidden,omitempty"`
}

// inspectResult is what anyone can read of a ciphertext; nothing is verified.
type inspectResult struct {
	Kind    string    `json:"kind"` // object or field
	Version int       `json:"format_version"`
	Suite   int       `json:"suite"`
	Header  int       `json:"header_bytes,omitempty"`
	Slots   []slotRow `json:"slots"`
}

func (r inspectResult) human(p *printer) {
	p.line("Claviger %s, format %d, suite %d, header of %d bytes (nothing of this is verified)", r.Kind, r.Version, r.Suite, r.Header)
	rows := make([][]string, len(r.Slots))
	for i, s := range r.Slots {
		partition := strconv.Quote(string(s.Partition))
		if s.Hidden {
			partition = "(hidden)"
		}
		rows[i] = []string{s.KeyID, strconv.FormatUint(s.Version, 10), partition}
	}
	p.table([]string{"KEY ID", "VERSION", "PARTITION"}, rows)
}

func newInspectCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "inspect [IN]",
		Short: "Show which keys open a ciphertext",
		Long: "Show what anyone can read of a ciphertext: ids of keys, versions and partitions.\n" +
			"Nothing of it is verified, and no server is asked.",
		Example: "  claviger inspect cards.clv",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			in, err := e.openInput(args)
			if err != nil {
				return err
			}
			defer in.Close()
			r, err := inspect(in.r)
			if err != nil {
				return err
			}
			return e.show(r)
		},
	}
}

// inspect reads the header of an object, or the front of a field.
func inspect(r io.Reader) (inspectResult, error) {
	var seen headBuffer
	h, err := envelope.Inspect(io.TeeReader(r, &seen))
	if err == nil {
		out := inspectResult{Kind: "object", Version: h.Version, Suite: h.Suite, Header: h.Size}
		for _, ref := range h.Slots {
			out.Slots = append(out.Slots, slotOf(ref))
		}
		return out, nil
	}
	if !errors.Is(err, envelope.ErrFormat) {
		return inspectResult{}, err
	}
	field, readErr := io.ReadAll(io.LimitReader(io.MultiReader(&seen, r), envelope.MaxField+envelope.MaxPartition+envelope.FieldOverhead+1))
	if readErr != nil {
		return inspectResult{}, fmt.Errorf("read input: %w", readErr)
	}
	ref, fieldErr := envelope.InspectField(field)
	if fieldErr != nil {
		return inspectResult{}, err
	}
	return inspectResult{Kind: "field", Version: 1, Suite: 1, Slots: []slotRow{slotOf(ref)}}, nil
}

func slotOf(ref envelope.Ref) slotRow {
	return slotRow{KeyID: hex.EncodeToString(ref.KeyID[:]), Version: ref.Version, Partition: ref.Partition, Hidden: ref.HidePartition}
}

// headBuffer keeps what a parser has read, for another one to read again. Of
// input that is no object that is a few bytes.
type headBuffer struct{ data []byte }

func (b *headBuffer) Write(p []byte) (int, error) {
	if len(b.data)+len(p) > envelope.MaxHeaderSize {
		return 0, wire.ErrMalformed
	}
	b.data = append(b.data, p...)
	return len(p), nil
}

func (b *headBuffer) Read(p []byte) (int, error) {
	if len(b.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	return n, nil
}
