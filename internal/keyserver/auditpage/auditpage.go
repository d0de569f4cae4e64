// SPDX-License-Identifier: Apache-2.0

// Package auditpage reads the server's own audit log for people who watch it: some
// leaves from a position on, each with the attribute record of its decision where
// that is at hand. They are shown, not proved; proofs come with the log's archive.
package auditpage

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"claviger/internal/audit"
	"claviger/internal/wire"
)

// Most is how many leaves a page has at most.
const Most = 1000

// ErrNumber says that there is no log of this number.
var ErrNumber = errors.New("this server has no such audit log")

// Log is what a page is read from; *audit.Log is one.
type Log interface {
	Numbers() ([]uint64, error)
	Leaves(from audit.Position, n uint64) iter.Seq2[audit.Entry, error]
	Known(hash wire.Hash) bool
	ReadBlob(hash wire.Hash) ([]byte, error)
}

// Read gives up to n leaves. Records of logs older than the one before the current
// are left out: to find one, all of a log would have to be read.
func Read(log Log, from audit.Position, n uint64) ([]audit.Entry, error) {
	numbers, err := log.Numbers()
	if err != nil {
		return nil, err
	}
	if !slices.Contains(numbers, from.Log) {
		return nil, fmt.Errorf("%w: %d", ErrNumber, from.Log)
	}
	var out []audit.Entry
	records := map[wire.Hash][]byte{}
	for e, err := range log.Leaves(from, min(n, Most)) {
		if err == nil {
			e.Leaf.Record, err = recordOf(log, e.Leaf, records)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// recordOf gives the attribute record of a leaf, nil if it has none or it isn't at
// hand. A leaf names one at most.
func recordOf(log Log, leaf *audit.Leaf, known map[wire.Hash][]byte) ([]byte, error) {
	if len(leaf.Attributes) != 1 {
		return nil, nil
	}
	name := leaf.Attributes[0]
	if have, ok := known[name]; ok || !log.Known(name) {
		return have, nil
	}
	data, err := log.ReadBlob(name)
	if err != nil {
		return nil, err
	}
	known[name] = data
	return data, nil
}
