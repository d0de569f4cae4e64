// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// redacted is what every printed form of a secret is, its length included.
const redacted = "[redacted]"

// errEncode is returned where redacted text could be taken for the value.
var errEncode = errors.New("secret: refusing to encode or decode a secret")

// Format prints [redacted] for every verb.
func (b *Bytes) Format(s fmt.State, _ rune) { writeRedacted(s) }

// String returns "[redacted]".
func (b *Bytes) String() string { return redacted }

// GoString returns "[redacted]".
func (b *Bytes) GoString() string { return redacted }

// LogValue makes log/slog print [redacted].
func (b *Bytes) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON returns the string "[redacted]".
func (b *Bytes) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText returns "[redacted]".
func (b *Bytes) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText refuses: a secret doesn't come out of a configuration file or
// a JSON document.
func (b *Bytes) UnmarshalText([]byte) error { return errEncode }

// MarshalBinary refuses, and with it CBOR and gob: an encoder that asks for
// bytes would store or send what it gets.
func (b *Bytes) MarshalBinary() ([]byte, error) { return nil, errEncode }

// UnmarshalBinary refuses; see MarshalBinary.
func (b *Bytes) UnmarshalBinary([]byte) error { return errEncode }

// GobEncode refuses; see MarshalBinary.
func (b *Bytes) GobEncode() ([]byte, error) { return nil, errEncode }

// GobDecode refuses; see MarshalBinary.
func (b *Bytes) GobDecode([]byte) error { return errEncode }

// Format prints [redacted] for every verb.
func (a *AEAD) Format(s fmt.State, _ rune) { writeRedacted(s) }

// LogValue makes log/slog print [redacted].
func (a *AEAD) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (a *AEAD) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Format prints [redacted] for every verb.
func (h *HMAC) Format(s fmt.State, _ rune) { writeRedacted(s) }

// LogValue makes log/slog print [redacted].
func (h *HMAC) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (h *HMAC) MarshalText() ([]byte, error) { return []byte(redacted), nil }

func writeRedacted(s fmt.State) {
	// A printer has nobody to report its write error to.
	_, _ = io.WriteString(s, redacted)
}
