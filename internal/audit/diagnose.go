// SPDX-License-Identifier: Apache-2.0

package audit

import "claviger/internal/wire"

// diagnose says which leaves are not the signed ones. It needs the archive's
// leaf hashes for that, and believes them only if they hash to the signed root.
func (c *check) diagnose() {
	size := c.signed.Size
	if uint64(len(c.claimed)) < size || rootOf(c.claimed[:size]) != c.signed.Root {
		if c.bodies.size < size {
			c.fault(Truncated, c.bodies.size, "the checkpoint counts %d leaves, and the hashes of those that are there can't be checked", size)
			return
		}
		c.fault(Unexplained, 0, "the leaves don't hash to the checkpoint, and the archive's hashes don't either")
		return
	}
	c.compare(c.claimed[:size], c.found)
}

// compare names the difference between the signed leaf hashes and those found.
// Leaves may be equal, so hashes are counted.
func (c *check) compare(want, got []wire.Hash) {
	surplus := map[wire.Hash]int{}
	for _, h := range got {
		surplus[h]++
	}
	for _, h := range want {
		surplus[h]--
	}
	missing, extra := 0, 0
	for _, n := range surplus {
		missing += max(-n, 0)
		extra += max(n, 0)
	}
	first := firstDifference(want, got)
	switch {
	case missing == 0 && extra == 0:
		c.fault(Reordered, first, "all leaves are there, but not in the order that was signed")
	case extra == 0 && first == uint64(len(got)):
		c.fault(Truncated, first, "%d leaves are missing at the end", missing)
	case extra == 0:
		c.fault(Dropped, firstMissing(want, surplus), "%d leaves are missing", missing)
	case missing == 0:
		c.fault(Inserted, first, "%d leaves were added", extra)
	case len(want) == len(got):
		c.edited(want, got, surplus)
	default:
		c.fault(Edited, first, "%d of the signed leaves are missing and %d others are there", missing, extra)
	}
}

// edited names each leaf that another one stands in for.
func (c *check) edited(want, got []wire.Hash, surplus map[wire.Hash]int) {
	for i, h := range want {
		if h != got[i] && surplus[h] < 0 {
			c.fault(Edited, uint64(i), "the leaf is not the one that was signed")
		}
	}
}

func firstDifference(want, got []wire.Hash) uint64 {
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			return uint64(i)
		}
	}
	return uint64(min(len(want), len(got)))
}

func firstMissing(want []wire.Hash, surplus map[wire.Hash]int) uint64 {
	for i, h := range want {
		if surplus[h] < 0 {
			return uint64(i)
		}
	}
	return 0
}

func rootOf(hashes []wire.Hash) wire.Hash {
	var t tree
	for _, h := range hashes {
		t.append(h)
		t.full = nil
	}
	return t.root()
}
