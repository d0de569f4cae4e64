// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"claviger/internal/demo"
)

// clean makes text that somebody else may have written safe for a terminal:
// control characters, bidirectional overrides, invisible format characters and
// invalid UTF-8 come out as visible escapes. Line feeds stay.
func clean(s string) string { return escape(s, func(r rune) bool { return r == '\n' }) }

// word is a file or name as a command line that people copy has to hold it.
func word(s string) string { return demo.Quote(s) }

// oneLine is clean for a text that must not start a line of its own.
func oneLine(s string) string { return escape(s, func(rune) bool { return false }) }

func escape(s string, keep func(rune) bool) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case keep(r) || unicode.IsPrint(r):
			b.WriteString(s[:n])
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		s = s[n:]
	}
	return b.String()
}
