// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"claviger/internal/wire"
)

func parseInviteBytes(data []byte) error {
	_, err := wire.ParseInvite("clv1_" + base64.RawURLEncoding.EncodeToString(data))
	return err
}

// head is the first bytes of a CBOR item: major type, argument, length of both.
type head struct {
	major byte
	arg   uint64
	size  int
}

func readHead(data []byte) head {
	h := head{major: data[0] >> 5, size: 1, arg: uint64(data[0] & 31)}
	if n := data[0] & 31; n >= 24 {
		width := 1 << (n - 24)
		var b [8]byte
		copy(b[8-width:], data[1:1+width])
		h.arg, h.size = binary.BigEndian.Uint64(b[:]), 1+width
	}
	return h
}

// longer writes a head with the next larger width than it needs.
func (h head) longer() []byte {
	switch {
	case h.arg < 24:
		return []byte{h.major<<5 | 24, byte(h.arg)}
	case h.arg < 1<<8:
		return binary.BigEndian.AppendUint16([]byte{h.major<<5 | 25}, uint16(h.arg))
	case h.arg < 1<<16:
		return binary.BigEndian.AppendUint32([]byte{h.major<<5 | 26}, uint32(h.arg))
	}
	return binary.BigEndian.AppendUint64([]byte{h.major<<5 | 27}, h.arg)
}

func minimal(major byte, arg uint64) []byte {
	switch {
	case arg < 24:
		return []byte{major<<5 | byte(arg)}
	case arg < 1<<8:
		return []byte{major<<5 | 24, byte(arg)}
	case arg < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{major<<5 | 25}, uint16(arg))
	}
	return binary.BigEndian.AppendUint32([]byte{major<<5 | 26}, uint32(arg))
}

// cborItem is an item within an encoding: [start,end), its head, its parts.
type cborItem struct {
	head
	start, end int
	parts      []cborItem
}

// parse reads the item at an offset; every input is one that Marshal made.
func parse(data []byte, at int) cborItem {
	it := cborItem{head: readHead(data[at:]), start: at, end: at}
	it.end += it.size
	n := 0
	switch it.major {
	case 2, 3:
		it.end += int(it.arg)
	case 4:
		n = int(it.arg)
	case 5:
		n = 2 * int(it.arg)
	}
	for range n {
		p := parse(data, it.end)
		it.parts = append(it.parts, p)
		it.end = p.end
	}
	return it
}

func (it cborItem) walk(visit func(cborItem)) {
	visit(it)
	for _, p := range it.parts {
		p.walk(visit)
	}
}

// others lists encodings that are not the deterministic one of a message, or
// are those of another one: every item in turn.
func others(data []byte) map[string][][]byte {
	out := map[string][][]byte{}
	splice := func(from, to int, with ...[]byte) []byte {
		return slices.Concat(data[:from], bytes.Join(with, nil), data[to:])
	}
	add := func(name string, variant []byte) { out[name] = append(out[name], variant) }
	root := parse(data, 0)
	root.walk(func(it cborItem) {
		body := data[it.start+it.size : it.end]
		if it.size < 9 {
			add("a length that is not the shortest", splice(it.start, it.start+it.size, it.longer()))
		}
		add("a tag", splice(it.start, it.start, []byte{0xc1}))
		add("null", splice(it.start, it.end, []byte{0xf6}))
		add("undefined", splice(it.start, it.end, []byte{0xf7}))
		add("a float", splice(it.start, it.end, []byte{0xf9, 0x3c, 0x00}))
		switch it.major {
		case 2, 3:
			chunked := slices.Concat([]byte{it.major<<5 | 31}, minimal(it.major, uint64(len(body))), body, []byte{0xff})
			add("indefinite length", splice(it.start, it.end, chunked))
			add("text for bytes or bytes for text", splice(it.start, it.start+it.size, minimal(it.major^1, it.arg)))
			if it.major == 3 && len(body) > 0 {
				add("text that is not UTF-8", splice(it.start+it.size, it.start+it.size+1, []byte{0xff}))
			}
		case 4:
			add("indefinite length", splice(it.start, it.end, []byte{0x9f}, body, []byte{0xff}))
		}
	})
	// The elements of the message itself: one more, one less, one twice.
	body := data[root.size:]
	last := root.parts[len(root.parts)-1]
	add("an element more", slices.Concat(minimal(root.major, root.arg+1), body, []byte{0xf6}))
	add("an element less", slices.Concat(minimal(root.major, root.arg-1), data[root.size:last.start]))
	add("a map", slices.Concat(minimal(5, root.arg), bytes.Repeat([]byte{0}, 2*int(root.arg))))
	add("a byte behind it", slices.Concat(data, []byte{0}))
	add("itself behind it", slices.Concat(data, data))
	add("a byte less", data[:len(data)-1])
	return out
}

func TestOneEncodingPerMessage(t *testing.T) {
	for _, s := range samples() {
		t.Run(s.name, func(t *testing.T) {
			data := wire.Marshal(s.value)
			got, err := s.again(data)
			if err != nil || !equal(got, s.value) {
				t.Fatalf("decode of encode: %v, %+v", err, got)
			}
			if s.parse != nil {
				if err := s.parse(data); err != nil {
					t.Errorf("parse: %v", err)
				}
			}
			for name, variants := range others(data) {
				for _, v := range variants {
					if _, err := s.again(v); !errors.Is(err, wire.ErrMalformed) {
						t.Errorf("%s: %v", name, err)
					}
				}
			}
		})
	}
}

// TestFixedSizes makes every byte string one byte longer and shorter: what has a
// fixed size in Go has it on the wire too.
func TestFixedSizes(t *testing.T) {
	type fixed struct {
		_    struct{} `cbor:",toarray"`
		ID   wire.KeyID
		Hash wire.Hash
	}
	v := fixed{ID: wire.KeyID(pattern(1, 16)), Hash: hash(2)}
	data := wire.Marshal(v)
	for _, n := range []uint64{0, 15, 17, 32} {
		bad := slices.Concat(data[:1], minimal(2, n), pattern(1, int(n)), data[18:])
		var got fixed
		if err := wire.Unmarshal(bad, &got, 1<<10); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("an id of %d bytes: %v", n, err)
		}
	}
	var got fixed
	if err := wire.Unmarshal(data, &got, 1<<10); err != nil || got != v {
		t.Errorf("the right sizes: %v", err)
	}
}

func TestLimits(t *testing.T) {
	for _, s := range samples() {
		data := wire.Marshal(s.value)
		v := s.value
		if err := wire.Unmarshal(data, v, len(data)); err != nil {
			t.Errorf("%s at its limit: %v", s.name, err)
		}
		if err := wire.Unmarshal(data, v, len(data)-1); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s over its limit: %v", s.name, err)
		}
	}
	var out []byte
	if err := wire.Unmarshal(nil, &out, 10); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("nothing: %v", err)
	}
	key := fixedKey("server")
	msg, err := wire.Sign("t", []byte("p"), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wire.ParseSigned("t", msg, len(msg)-1); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("a signed message over its limit: %v", err)
	}
}

// TestElementLimit holds against messages whose values take far more memory
// than their bytes.
func TestElementLimit(t *testing.T) {
	list := func(n int) []byte { return slices.Concat(minimal(4, uint64(n)), make([]byte, n)) }
	var out []uint64
	if err := wire.Unmarshal(list(16384), &out, 1<<20); err != nil {
		t.Errorf("16384 elements: %v", err)
	}
	if err := wire.Unmarshal(list(16385), &out, 1<<20); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("16385 elements: %v", err)
	}
	var deep any
	if err := wire.Unmarshal(slices.Concat(bytes.Repeat([]byte{0x81}, 9), []byte{0}), &deep, 1<<20); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("nine lists in each other: %v", err)
	}
}

func TestTypeStringsDiffer(t *testing.T) {
	seen := map[string]string{}
	for _, s := range samples() {
		if s.typ == "" {
			continue
		}
		if other, twice := seen[s.typ]; twice || !strings.HasPrefix(s.typ, "claviger/v1/") {
			t.Errorf("%s and %s share %q", s.name, other, s.typ)
		}
		seen[s.typ] = s.name
	}
	// A message doesn't pass for another. An opened record has the shape of a
	// sealed one, whose seal then doesn't open.
	for _, a := range samples() {
		for _, b := range samples() {
			if a.parse != nil && a.name != b.name && !(a.name == "record" && b.name == "opened record") && a.parse(wire.Marshal(b.value)) == nil {
				t.Errorf("%s was read as %s", b.name, a.name)
			}
		}
	}
}

func TestMarshalPanicsOnWhatHasNoEncoding(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	wire.Marshal(func() {})
}
