// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// ErrMalformed is the one error of every decoder here: too large, not
// deterministic CBOR, of another shape or version, or with something left over.
// It says nothing about where, so that it can't serve as an oracle.
var ErrMalformed = errors.New("malformed message")

// maxElements bounds the elements of one array. An element of one byte decodes
// to a struct of a hundred, so a limit in bytes alone would let a message take
// far more memory than its size. The longest list is that of the segments in an
// erasure switch; a page of records stays under it by its size.
const maxElements = 16384

var encoder = sync.OnceValue(func() cbor.UserBufferEncMode {
	opts := cbor.CoreDetEncOptions()
	opts.NilContainers = cbor.NilContainerAsEmpty
	mode, err := opts.UserBufferEncMode()
	if err != nil {
		panic("wire: encoding options: " + err.Error())
	}
	return mode
})

var decoder = sync.OnceValue(func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxArrayElements:  maxElements,
		MaxMapPairs:       256,
		MaxNestedLevels:   8,
		UTF8:              cbor.UTF8RejectInvalid,
	}.DecMode()
	if err != nil {
		panic("wire: decoding options: " + err.Error())
	}
	return mode
})

// Marshal returns v in deterministic CBOR. It fails only on a type that has no
// encoding, which is a programmer's error, so it panics then.
func Marshal(v any) []byte {
	out, err := encoder().Marshal(v)
	if err != nil {
		panic("wire: type without an encoding: " + err.Error())
	}
	return out
}

// Unmarshal decodes data, of at most limit bytes, into v, and refuses with
// [ErrMalformed] every input that Marshal would not have produced for that
// value.
func Unmarshal(data []byte, v any, limit int) error {
	if len(data) == 0 || len(data) > limit {
		return fmt.Errorf("%w: size", ErrMalformed)
	}
	if err := decoder().Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: encoding", ErrMalformed)
	}
	// Security: a release holds keys. The second encoding goes into a buffer of our
	// own and not into the encoder's pool, so that it can be wiped (T-76).
	again := bytes.NewBuffer(make([]byte, 0, len(data)+bytes.MinRead))
	err := encoder().MarshalToBuffer(v, again)
	same := err == nil && bytes.Equal(again.Bytes(), data)
	clear(again.Bytes())
	if !same {
		return fmt.Errorf("%w: not canonical", ErrMalformed)
	}
	return nil
}
