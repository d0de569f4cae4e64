// SPDX-License-Identifier: Apache-2.0

package secretring

import (
	"iter"
	"slices"

	"claviger/internal/authority/snapshot"
	"claviger/internal/wire"
)

const perPart = 1024 // rows in one part of a snapshot

// Section carries the secrets of a Ring, which is empty when they are read,
// through a snapshot. Its Floor is a value beside them.
func Section(r *Ring) snapshot.Section {
	return snapshot.Packed("secrets", func() iter.Seq[[]byte] {
		rows := r.Rows()
		return func(yield func([]byte) bool) {
			for some := range slices.Chunk(rows, perPart) {
				if !yield(wire.Marshal(some)) {
					return
				}
			}
		}
	}, func(data []byte) (rows []Secret, err error) {
		err = wire.Unmarshal(data, &rows, snapshot.MaxPart)
		return rows, err
	}, r.Add)
}
