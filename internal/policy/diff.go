// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"
)

// contextLines stand around each change.
const contextLines = 3

// Diff shows a change of a policy source to the people who have to sign it:
// first which policies came, went or changed, then every line that differs, with
// three lines around it. Lines start with "+ ", "- " or "  ". Every byte that
// differs is visible: characters that can't be seen and bytes that aren't text
// stand as ⟨U+202E⟩ and ⟨FF⟩. Equal sources give "".
//
// It takes anything, so that a source that no longer parses can still be shown.
// It takes O(n log n), and shows more lines as changed than strictly needed where
// many lines are alike.
func Diff(old, new []byte) string {
	if string(old) == string(new) {
		return ""
	}
	a, b := splitLines(old), splitLines(new)
	var out strings.Builder
	out.WriteString(summary(old, new))
	for _, h := range hunks(blocks(a, b), len(a), len(b)) {
		h.write(&out, a, b)
	}
	return out.String()
}

func splitLines(source []byte) []string {
	lines := strings.SplitAfter(string(source), "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// summary names the policies that differ, if both sources can be read.
func summary(old, new []byte) string {
	before, errOld := Parse(old)
	after, errNew := Parse(new)
	switch {
	case errOld != nil:
		return "the old source can't be read as policies\n"
	case errNew != nil:
		return "the new source can't be read as policies\n"
	}
	was, is := identities(before), identities(after)
	var out strings.Builder
	for _, r := range after.rules {
		switch old, ok := was[identity(r)]; {
		case !ok:
			fmt.Fprintf(&out, "added    %s %s\n", r.info.Effect, r.info.ID)
		case old != r.info.Text:
			fmt.Fprintf(&out, "changed  %s %s\n", r.info.Effect, r.info.ID)
		}
	}
	for _, r := range before.rules {
		if _, ok := is[identity(r)]; !ok {
			fmt.Fprintf(&out, "removed  %s %s\n", r.info.Effect, r.info.ID)
		}
	}
	if out.Len() == 0 {
		return "no policy differs in itself\n"
	}
	return out.String()
}

// identity is what makes a policy the same one in two sources: its @id, or, for
// an unnamed one, whose number moves with its neighbours, its text.
func identity(r rule) string {
	if r.named {
		return "id " + r.info.ID
	}
	return "text " + r.info.Text
}

// identities maps each policy's identity to its text.
func identities(s *Set) map[string]string {
	out := make(map[string]string, len(s.rules))
	for _, r := range s.rules {
		out[identity(r)] = r.info.Text
	}
	return out
}

// block says that a[aStart:aEnd] was replaced by b[bStart:bEnd].
type block struct{ aStart, aEnd, bStart, bEnd int }

// blocks finds what differs. Lines that occur once in each source and keep their
// order are taken as fixed points, and equality is extended from them.
func blocks(a, b []string) []block {
	var out []block
	i, j := 0, 0
	for _, p := range append(anchors(a, b), [2]int{len(a), len(b)}) {
		if p[0] < i || p[1] < j {
			continue // swallowed by the equal lines before it
		}
		for i < p[0] && j < p[1] && a[i] == b[j] {
			i, j = i+1, j+1
		}
		k, l := p[0], p[1]
		for k > i && l > j && a[k-1] == b[l-1] {
			k, l = k-1, l-1
		}
		if k > i || l > j {
			out = append(out, block{i, k, j, l})
		}
		i, j = p[0], p[1]
		for i < len(a) && j < len(b) && a[i] == b[j] {
			i, j = i+1, j+1
		}
	}
	return out
}

// anchors are pairs of equal lines that occur once on each side: the longest run
// of them that keeps its order on both.
func anchors(a, b []string) [][2]int {
	type place struct{ inA, inB, timesA, timesB int }
	places := make(map[string]*place, len(a))
	for i, line := range a {
		if places[line] == nil {
			places[line] = &place{}
		}
		places[line].inA = i
		places[line].timesA++
	}
	for j, line := range b {
		if p := places[line]; p != nil {
			p.inB = j
			p.timesB++
		}
	}
	var pairs [][2]int
	for i, line := range a {
		if p := places[line]; p.timesA == 1 && p.timesB == 1 {
			pairs = append(pairs, [2]int{i, p.inB})
		}
	}
	return increasing(pairs)
}

// increasing keeps the longest subsequence whose second members increase
// (patience sorting).
func increasing(pairs [][2]int) [][2]int {
	var piles []int // index of the pair on top of each pile
	previous := make([]int, len(pairs))
	for i, p := range pairs {
		k := sort.Search(len(piles), func(k int) bool { return pairs[piles[k]][1] >= p[1] })
		previous[i] = -1
		if k > 0 {
			previous[i] = piles[k-1]
		}
		if k == len(piles) {
			piles = append(piles, i)
		} else {
			piles[k] = i
		}
	}
	if len(piles) == 0 {
		return nil
	}
	var out [][2]int
	for i := piles[len(piles)-1]; i >= 0; i = previous[i] {
		out = append(out, pairs[i])
	}
	slices.Reverse(out)
	return out
}

// hunk is some blocks that stand near each other, with the lines around them.
type hunk struct {
	aStart, aEnd, bStart int
	blocks               []block
}

func hunks(all []block, lenA, lenB int) []hunk {
	var out []hunk
	for _, b := range all {
		start := max(b.aStart-contextLines, 0)
		end := min(b.aEnd+contextLines, lenA)
		if n := len(out); n > 0 && start <= out[n-1].aEnd {
			out[n-1].aEnd = end
			out[n-1].blocks = append(out[n-1].blocks, b)
			continue
		}
		out = append(out, hunk{aStart: start, aEnd: end, bStart: b.bStart - (b.aStart - start), blocks: []block{b}})
	}
	return out
}

func (h hunk) write(out *strings.Builder, a, b []string) {
	fmt.Fprintf(out, "@@ old line %d, new line %d\n", h.aStart+1, h.bStart+1)
	i := h.aStart
	for _, c := range h.blocks {
		writeLines(out, "  ", a[i:c.aStart])
		writeLines(out, "- ", a[c.aStart:c.aEnd])
		writeLines(out, "+ ", b[c.bStart:c.bEnd])
		i = c.aEnd
	}
	writeLines(out, "  ", a[i:h.aEnd])
}

func writeLines(out *strings.Builder, sign string, lines []string) {
	for _, line := range lines {
		text, whole := strings.CutSuffix(line, "\n")
		out.WriteString(sign + visible(text))
		if !whole {
			out.WriteString("⟨no line feed at the end⟩")
		}
		out.WriteByte('\n')
	}
}

// visible writes what a reader couldn't see as ⟨U+…⟩ or ⟨…⟩.
func visible(s string) string {
	var out strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size <= 1:
			fmt.Fprintf(&out, "⟨%02X⟩", s[0])
		case r != '\t' && invisible(r):
			fmt.Fprintf(&out, "⟨U+%04X⟩", r)
		default:
			out.WriteRune(r)
		}
		s = s[size:]
	}
	return out.String()
}
