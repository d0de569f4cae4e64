// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrFrame means that a stream doesn't hold frames of the expected size.
var ErrFrame = errors.New("no valid frame")

// AppendFrame appends a message as a frame of a stream: its length, 32 bits
// big-endian, and its bytes. An empty message says that the line is alive.
func AppendFrame(dst, message []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(message)))
	return append(dst, message...)
}

// ReadFrame reads one frame of at most limit bytes. io.EOF means that the stream
// ended between two frames.
func ReadFrame(r io.Reader, limit int) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if uint64(n) > uint64(limit) {
		return nil, fmt.Errorf("%w: %d bytes announced, %d allowed", ErrFrame, n, limit)
	}
	message := make([]byte, n)
	if _, err := io.ReadFull(r, message); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // or half a frame would pass for an end
		}
		return nil, err
	}
	return message, nil
}
