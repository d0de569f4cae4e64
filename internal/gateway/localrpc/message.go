// SPDX-License-Identifier: Apache-2.0

package localrpc

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrMessage means that a message is no protobuf of the shape that it should have.
var ErrMessage = errors.New("message is malformed")

// Field takes the value of one field that is encoded with its length: bytes, string or
// message. The value is the message's own memory.
type Field struct {
	Take func(value []byte) error
	Many bool // it may be given more than once
}

// Bytes is a Field of bytes.
func Bytes(to *[]byte) Field {
	return Field{Take: func(v []byte) error {
		*to = v
		return nil
	}}
}

// String is a Field of text.
func String(to *string) Field {
	return Field{Take: func(v []byte) error {
		if !utf8.Valid(v) {
			return fmt.Errorf("%w: text is not UTF-8", ErrMessage)
		}
		*to = string(v)
		return nil
	}}
}

// Decode gives each field of a message to the Field of its number. It passes over
// fields that have none, as protobuf demands for the sake of later versions.
//
// Security: it refuses what protobuf lets pass: a single field that is given twice (of
// which two readers may take different ones), and groups, which nest without end.
// Errors: ErrMessage, or a Field's.
func Decode(message []byte, fields map[int]Field) error {
	seen := make(map[int]bool, len(fields))
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 || kind == protowire.StartGroupType || kind == protowire.EndGroupType {
			return ErrMessage
		}
		message = message[n:]
		f, known := fields[int(number)]
		if !known {
			if n = protowire.ConsumeFieldValue(number, kind, message); n < 0 {
				return ErrMessage
			}
			message = message[n:]
			continue
		}
		if kind != protowire.BytesType || seen[int(number)] && !f.Many {
			return fmt.Errorf("%w: field %d", ErrMessage, number)
		}
		seen[int(number)] = true
		value, n := protowire.ConsumeBytes(message)
		if n < 0 {
			return ErrMessage
		}
		if err := f.Take(value); err != nil {
			return err
		}
		message = message[n:]
	}
	return nil
}

// AppendBytes appends a field of bytes or text to a message. What is empty is left out,
// as protobuf does.
func AppendBytes[T []byte | string](message []byte, number int, value T) []byte {
	if len(value) == 0 {
		return message
	}
	message = protowire.AppendTag(message, protowire.Number(number), protowire.BytesType)
	message = protowire.AppendVarint(message, uint64(len(value)))
	return append(message, value...)
}
