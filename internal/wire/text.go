// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// FormatText gives data as one line: the prefix that says what it is, then
// base64url without padding (RFC 4648, section 5).
func FormatText(prefix string, data []byte) string {
	return prefix + base64.RawURLEncoding.EncodeToString(data)
}

// ParseText reads what FormatText wrote, blanks around it aside. A text of more
// than limit bytes, and any other text of the same data, is ErrMalformed, which
// never repeats the text.
func ParseText(prefix, text string, limit int) ([]byte, error) {
	body, ok := strings.CutPrefix(strings.TrimSpace(text), prefix)
	if !ok {
		return nil, fmt.Errorf("%w: the line does not start with %s", ErrMalformed, prefix)
	}
	// The decoder skips line ends wherever they stand, even in strict mode.
	if len(body) > limit || strings.ContainsAny(body, "\r\n") {
		return nil, fmt.Errorf("%w: the line is cut or changed", ErrMalformed)
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil {
		return nil, fmt.Errorf("%w: the line is cut or changed", ErrMalformed)
	}
	return data, nil
}
