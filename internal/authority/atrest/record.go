// SPDX-License-Identifier: Apache-2.0

package atrest

import (
	"fmt"

	"claviger/internal/wire"
)

// SealRecord returns a record of the log as the store holds it: the entry sealed
// with its whole link as associated data.
func (b Box) SealRecord(link wire.Link, entry []byte) []byte {
	return wire.Marshal(wire.Record{Link: link, Sealed: b.Seal(entry, wire.Marshal(link))})
}

// OpenRecord returns the record that the store gave for an index. One that was
// moved, or changed in any byte, does not open.
func (b Box) OpenRecord(index uint64, data []byte) (*wire.Opened, error) {
	r, err := wire.ParseRecord(data)
	if err != nil {
		return nil, fmt.Errorf("record %d was changed: %w", index, err)
	}
	if r.Link.Epoch.Position != index {
		return nil, fmt.Errorf("record %d stands where record %d belongs", r.Link.Epoch.Position, index)
	}
	entry, err := b.Open(r.Sealed, wire.Marshal(r.Link))
	if err != nil {
		return nil, fmt.Errorf("record %d: %w", index, err)
	}
	return &wire.Opened{Link: r.Link, Entry: entry}, nil
}
