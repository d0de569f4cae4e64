// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"claviger/internal/wire"
)

// check verifies one log of an archive while it is read.
type check struct {
	v      *Verifier
	name   logName
	key    ed25519.PublicKey
	signed Checkpoint // Note nil: none that verifies
	report LogReport

	claimed []wire.Hash // the archive's own leaf hashes: believed only if they hash to the checkpoint
	found   []wire.Hash // the hashes of the leaves that came
	bodies  tree        // over found
	roots   map[uint64]wire.Hash
	start   End
	linked  bool                 // the log after it names its end
	faulty  bool                 // its leaves are not the signed ones
	needed  map[wire.Hash]uint64 // blobs that leaves name → the first such leaf
}

func (v *Verifier) newCheck(name logName, key ed25519.PublicKey) *check {
	c := &check{v: v, name: name, key: key, roots: map[uint64]wire.Hash{}, needed: map[wire.Hash]uint64{}}
	c.report = LogReport{Server: name.server, Number: name.number}
	for _, a := range v.anchors[name] {
		c.roots[a.Size] = wire.Hash{}
	}
	if old := v.seen[name]; old != nil {
		c.roots[old.Size] = wire.Hash{}
	}
	return c
}

func (c *check) fault(kind FaultKind, index uint64, format string, args ...any) {
	c.v.fault(Fault{Kind: kind, Server: c.name.server, Log: c.name.number, Index: index, Detail: fmt.Sprintf(format, args...)})
}

// small takes the verifier key, which is there for other tools and only has to
// be the right one, and the checkpoint.
func (c *check) small(name string, data []byte) {
	origin := Origin(c.v.o.Domain, c.name.server, c.name.number)
	if name == vkeyName {
		want, err := VerifierKey(origin, c.key)
		if err != nil || strings.TrimSuffix(string(data), "\n") != want {
			c.fault(Unsigned, 0, "the archive names another key than the server's")
		}
		return
	}
	signed, err := ParseCheckpoint(data, origin, c.key)
	if err != nil {
		c.fault(Unsigned, 0, "the checkpoint can't be believed: %v", err)
		return
	}
	signed.Log = c.name.number
	c.signed = signed
	c.roots[signed.Size] = wire.Hash{}
}

// bundle takes up to 256 leaves and what the archive says their hashes are.
func (c *check) bundle(hashes []wire.Hash, bodies [][]byte) {
	c.claimed = append(c.claimed, hashes...)
	for _, body := range bodies {
		h := leafHash(body)
		index := c.bodies.size
		c.found = append(c.found, h)
		c.bodies.append(h)
		c.bodies.full = nil
		if _, wanted := c.roots[c.bodies.size]; wanted {
			c.roots[c.bodies.size] = c.bodies.root()
		}
		c.leaf(index, body)
	}
}

func (c *check) leaf(index uint64, body []byte) {
	l, err := ParseLeaf(body)
	if err != nil {
		c.fault(Malformed, index, "%v", err)
		return
	}
	if index == 0 {
		c.first(l)
	}
	if c.report.First == 0 {
		c.report.First = l.Time
	}
	c.report.Last = l.Time
	if l.Kind == Decision {
		if l.Allowed() {
			c.report.Allowed++
		} else {
			c.report.Denied++
		}
	}
	l.blobs(func(h wire.Hash) {
		if _, ok := c.needed[h]; !ok {
			c.needed[h] = index
		}
	})
	at := leafName{c.name, index}
	c.v.claim(l, at)
	for _, p := range c.v.receipts[at] {
		p.found = true
		if field := p.contradiction(l); field != "" {
			c.fault(Contradicted, index, "a client's receipt differs in its %s", field)
		}
	}
}

// first takes the start leaf of a log.
func (c *check) first(l *Leaf) {
	if l.Kind != Start {
		c.fault(Malformed, 0, "the log doesn't begin with a start")
	}
	c.start = l.Previous
	if l.Action == ActionGiveUp {
		c.report.GivenUp = l.Reason
	}
}

func (c *check) blob(hash wire.Hash, data []byte) {
	if sha256.Sum256(data) != hash {
		c.fault(EditedBlob, c.needed[hash], "blob %s is not what its name says", hash)
	}
	delete(c.needed, hash)
}

// finish compares the whole log with its checkpoint, the log before it and the
// anchors.
func (c *check) finish(before *check) {
	c.report.Size, c.report.Root = c.bodies.size, c.bodies.root()
	for h, index := range c.needed {
		c.fault(MissingBlob, index, "blob %s isn't in the archive", h)
	}
	whole := c.againstCheckpoint()
	c.link(before)
	if whole {
		c.againstAnchors()
	}
	r := c.report
	c.v.seen[c.name] = &r
	c.claimed, c.found = nil, nil
}

// againstCheckpoint reports whether the leaves up to the checkpoint are the
// signed ones; if not it says which aren't.
func (c *check) againstCheckpoint() bool {
	switch {
	case c.signed.Note == nil:
		return true // until signedEnd
	case c.bodies.size >= c.signed.Size && (c.signed.Size == 0 || c.roots[c.signed.Size] == c.signed.Root):
		if !slices.Equal(c.claimed, c.found) {
			c.fault(Unexplained, 0, "the archive's hashes are not those of its leaves, which are the signed ones")
		}
		return true
	}
	c.faulty = true
	c.diagnose()
	return false
}

// link holds a log's beginning against the end of the one before.
func (c *check) link(before *check) {
	if before == nil {
		if c.start.Number != 0 {
			c.fault(Gap, 0, "it follows log %d, which isn't there", c.start.Number)
		}
		return
	}
	end := End{Number: before.name.number, Size: before.report.Size, Root: before.report.Root}
	if c.start == end {
		before.linked = true
	}
	before.signedEnd()
	if before.linked {
		return
	}
	switch {
	case c.start.Number != end.Number:
		c.fault(Gap, 0, "it follows log %d, but the one before it here is %d", c.start.Number, end.Number)
	case c.start.Size > end.Size:
		before.fault(Truncated, end.Size, "it ended with %d leaves, as log %d says", c.start.Size, c.name.number)
	case c.start.Size < end.Size:
		before.fault(Inserted, c.start.Size, "it ended with %d leaves, as log %d says", c.start.Size, c.name.number)
	default:
		before.fault(Forked, 0, "log %d follows another log of %d leaves", c.name.number, c.start.Size)
	}
}

// signedEnd finds leaves that no signature covers: neither the log's checkpoint
// nor the start of the log after it, which a checkpoint covers in turn.
func (c *check) signedEnd() {
	if c.linked || c.faulty || c.signed.Note != nil && c.bodies.size <= c.signed.Size {
		return
	}
	c.fault(Unsigned, c.signed.Size, "no checkpoint covers its last %d leaves", c.bodies.size-c.signed.Size)
}

// againstAnchors holds the log against what is known of it from elsewhere.
func (c *check) againstAnchors() {
	known := c.v.anchors[c.name]
	if old := c.v.seen[c.name]; old != nil {
		known = append(known[:len(known):len(known)], Anchor{c.name.server, wire.Checkpoint{Log: old.Number, Size: old.Size, Root: old.Root}, "an archive read before"})
	}
	for _, a := range known {
		switch {
		case a.Size > c.bodies.size:
			c.fault(Truncated, c.bodies.size, "%s counts %d leaves", a.Source, a.Size)
		case a.Size == 0 && a.Root != emptyRoot(), a.Size > 0 && c.roots[a.Size] != a.Root:
			c.fault(Forked, 0, "%s has another root for %d leaves", a.Source, a.Size)
		}
	}
}
