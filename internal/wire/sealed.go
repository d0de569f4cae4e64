// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"unicode/utf8"
)

// ParseSealed reads the outside of a sealed message of at most limit bytes. It
// takes and refuses what [Unmarshal] does for a [Sealed], in one pass and without
// copying: the result lies in message. A server does this twice for each message,
// before it knows whom it is from.
func ParseSealed(message []byte, limit int) (s Sealed, err error) {
	if len(message) > limit {
		return s, fmt.Errorf("%w: size", ErrMalformed)
	}
	r := items{rest: message}
	r.literal("\x83")
	typ := r.str(majorText, limit)
	enc, ct := r.str(majorBytes, limit), r.str(majorBytes, limit)
	if !r.over() || !utf8.Valid(typ) {
		return s, fmt.Errorf("%w: not a sealed message", ErrMalformed)
	}
	return Sealed{Type: string(typ), Enc: enc, CT: ct}, nil
}
