// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"unicode/utf8"
)

// Limits of a policy set's source. The parser behind this package recurses, and
// Go can't recover from an exhausted stack, so depth and size are bounded before
// it sees a byte.
const (
	MaxSource     = 1 << 20   // bytes of a whole source
	MaxPolicies   = 10_000    // policies in a set
	MaxPolicyText = 256 << 10 // bytes of one policy, annotations included
	maxDepth      = 64        // open brackets, and ifs, of one policy
	maxOperators  = 4096      // operators of one policy: an operator chain is a deep tree
	maxDots       = 8         // dots in a row: has a.b.c makes a tree of quadratic size
	maxSigns      = 4         // ! and - in a row (Cedar's own grammar allows four)
)

// span is one policy's place in the source: from its first byte, an annotation
// or its effect, to the byte after its semicolon.
type span struct{ start, end int }

// scanner finds where policies start and end and holds the limits.
type scanner struct {
	src   []byte
	pos   int
	line  int
	spans []span

	start     int // of the policy being read; -1 between policies
	depth     int
	ifs       int
	operators int
	dots      int
	signs     int
}

// scan splits a source into policies and refuses what is too large, too deep or
// not plain text. It doesn't otherwise check the grammar.
func scan(src []byte) ([]span, error) {
	if len(src) > MaxSource {
		return nil, fmt.Errorf("the source has %d bytes, more than %d", len(src), MaxSource)
	}
	s := &scanner{src: src, line: 1, start: -1}
	for s.pos < len(s.src) {
		if err := s.step(); err != nil {
			return nil, fmt.Errorf("line %d: %w", s.line, err)
		}
	}
	if s.start >= 0 {
		return nil, fmt.Errorf("line %d: the last policy has no end", s.line)
	}
	return s.spans, nil
}

// step consumes one character, string or comment.
func (s *scanner) step() error {
	switch {
	case s.at("//"):
		return s.skip("\n", false)
	case s.at("/*"):
		s.pos += 2
		return s.skip("*/", true)
	case s.src[s.pos] == '"':
		return s.text()
	}
	space := isSpace(s.src[s.pos])
	if !space {
		s.begin()
	}
	r, err := s.next()
	if err != nil || space {
		return err
	}
	return s.code(r)
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

func (s *scanner) at(prefix string) bool {
	return len(s.src)-s.pos >= len(prefix) && string(s.src[s.pos:s.pos+len(prefix)]) == prefix
}

// next reads a character, counts lines and refuses invisible ones.
func (s *scanner) next() (rune, error) {
	r, size := utf8.DecodeRune(s.src[s.pos:])
	switch {
	case r == utf8.RuneError && size <= 1:
		return 0, fmt.Errorf("not UTF-8")
	case r == '\n':
		s.line++
	case r == '\r' && !s.at("\r\n"):
		// Security: alone it makes a terminal write over what stands before it.
		return 0, fmt.Errorf("carriage return without line feed")
	case r != '\t' && r != '\r' && invisible(r):
		return 0, fmt.Errorf(`invisible character U+%04X; in a string, write \u{%x}`, r, r)
	}
	s.pos += size
	return r, nil
}

// skip reads up to and including end; a comment to the end of the line may also
// end with the source.
func (s *scanner) skip(end string, must bool) error {
	for s.pos < len(s.src) {
		if s.at(end) {
			s.pos += len(end)
			if end == "\n" {
				s.line++
			}
			return nil
		}
		if _, err := s.next(); err != nil {
			return err
		}
	}
	if must {
		return fmt.Errorf("comment without end")
	}
	return nil
}

// text reads a string literal, quotes included.
func (s *scanner) text() error {
	s.begin()
	s.pos++
	line := s.line
	for s.pos < len(s.src) {
		r, err := s.next()
		if err != nil {
			return err
		}
		switch r {
		case '"':
			s.dots, s.signs = 0, 0
			return nil
		case '\n':
			s.line = line
			return fmt.Errorf("a string ends on its line")
		case '\\':
			if s.pos < len(s.src) {
				if _, err := s.next(); err != nil {
					return err
				}
			}
		}
	}
	return fmt.Errorf("string without end")
}

func (s *scanner) begin() {
	if s.start < 0 {
		s.start = s.pos
		s.depth, s.ifs, s.operators, s.dots, s.signs = 0, 0, 0, 0, 0
	}
}

// code takes a character outside strings and comments that isn't white space.
func (s *scanner) code(r rune) error {
	if r < utf8.RuneSelf && isWord(byte(r)) {
		s.signs = 0
		return s.word()
	}
	s.count(r)
	switch r {
	case '(', '[', '{':
		s.depth++
	case ')', ']', '}':
		s.depth = max(s.depth-1, 0)
	case ';':
		if s.depth == 0 {
			return s.finish()
		}
	}
	return s.limits()
}

// count keeps the lengths of chains.
func (s *scanner) count(r rune) {
	switch r {
	case '.':
		s.dots++
		s.operators++
		s.signs = 0
	case '!', '-':
		s.signs++
		s.operators++
		s.dots = 0
	case '&', '|', '+', '*':
		s.operators++
		s.dots, s.signs = 0, 0
	default:
		s.dots, s.signs = 0, 0
	}
}

// word reads the rest of an identifier or number and counts ifs.
func (s *scanner) word() error {
	start := s.pos - 1
	for s.pos < len(s.src) && isWord(s.src[s.pos]) {
		s.pos++
	}
	if string(s.src[start:s.pos]) == "if" {
		s.ifs++
	}
	return s.limits()
}

func (s *scanner) limits() error {
	switch {
	case s.depth > maxDepth || s.ifs > maxDepth:
		return fmt.Errorf("nested deeper than %d", maxDepth)
	case s.operators > maxOperators:
		return fmt.Errorf("more than %d operators in one policy", maxOperators)
	case s.dots > maxDots:
		return fmt.Errorf("more than %d dots in a row", maxDots)
	case s.signs > maxSigns:
		return fmt.Errorf("more than %d signs in a row", maxSigns)
	}
	return nil
}

func (s *scanner) finish() error {
	if s.pos-s.start > MaxPolicyText {
		return fmt.Errorf("a policy of more than %d bytes", MaxPolicyText)
	}
	s.spans = append(s.spans, span{s.start, s.pos})
	s.start = -1
	if len(s.spans) > MaxPolicies {
		return fmt.Errorf("more than %d policies", MaxPolicies)
	}
	return nil
}
