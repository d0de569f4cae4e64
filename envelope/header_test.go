// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"claviger/internal/secret"
	"claviger/internal/wire"
)

// makeHeader encodes slots with random messages for the Refs, all of one
// domain, and a MAC under dek.
func makeHeader(t testing.TB, dek *secret.Bytes, refs ...Ref) []byte {
	t.Helper()
	slots := make([]Slot, len(refs))
	for i, r := range refs {
		slots[i].Ref = r
		slots[i].Ref.Domain = refs[0].Domain
		copy(slots[i].Message[:], random(SlotMessageSize))
	}
	return must[[]byte](t)(encodeHeader(slots, dek))
}

func newDEK(t testing.TB) *secret.Bytes {
	t.Helper()
	dek := secret.Random(DEKSize)
	t.Cleanup(dek.Wipe)
	return dek
}

func TestHeaderLayout(t *testing.T) {
	r := Ref{Domain: [32]byte{1}, KeyID: [16]byte{0xaa, 0xbb}, Version: 0x0102, Partition: []byte("p1")}
	hidden := r
	hidden.HidePartition = true
	dek := newDEK(t)
	raw := makeHeader(t, dek, r, hidden)
	want := "\xcbCLVG\r\n\x1a\x01\x01\x00\x02" + "\x01\x08" // 264 = 2*(27+104)+2
	if !strings.HasPrefix(string(raw), want) {
		t.Errorf("header begins %x, want %x", raw[:14], want)
	}
	slot := "\x00" + string(r.KeyID[:]) + "\x00\x00\x00\x00\x00\x00\x01\x02" + "\x00\x02" + "p1"
	if got := string(raw[14 : 14+len(slot)]); got != slot {
		t.Errorf("first slot begins %x, want %x", got, slot)
	}
	slot = "\x01" + string(r.KeyID[:]) + "\x00\x00\x00\x00\x00\x00\x01\x02" + "\x00\x00"
	if got := string(raw[14+29+104:][:len(slot)]); got != slot {
		t.Errorf("second slot begins %x, want %x", got, slot)
	}
	if len(raw) != 14+264+32 {
		t.Errorf("header has %d bytes", len(raw))
	}
	if err := checkMAC(raw, r.Domain, dek); err != nil {
		t.Error(err)
	}
	wantErr(t, "MAC of another domain", checkMAC(raw, [32]byte{2}, dek), ErrIntegrity)
	wantErr(t, "MAC under another DEK", checkMAC(raw, r.Domain, newDEK(t)), ErrIntegrity)
}

// TestLargestHeader shows that the stated bound is the real one.
func TestLargestHeader(t *testing.T) {
	refs := make([]Ref, MaxSlots)
	for i := range refs {
		refs[i] = testRef(strings.Repeat("x", MaxPartition))
	}
	dek := newDEK(t)
	raw := makeHeader(t, dek, refs...)
	if len(raw) != MaxHeaderSize || MaxHeaderSize != 12430 {
		t.Errorf("largest header has %d bytes, MaxHeaderSize is %d", len(raw), MaxHeaderSize)
	}
	h := must[Header](t)(Inspect(bytes.NewReader(raw)))
	if len(h.Slots) != MaxSlots || h.Size != len(raw) || h.Version != 1 || h.Suite != 1 {
		t.Errorf("Inspect: %d slots, %d bytes, version %d, suite %d", len(h.Slots), h.Size, h.Version, h.Suite)
	}
	for i, s := range h.Slots {
		if s.KeyID != refs[i].KeyID || s.Version != 3 || !bytes.Equal(s.Partition, refs[i].Partition) || s.Domain != [32]byte{} {
			t.Errorf("slot %d reads %+v", i, s)
		}
	}
}

// mutate returns raw with a change made to a copy.
func mutate(raw []byte, change func(b []byte) []byte) []byte { return change(bytes.Clone(raw)) }

func set(at int, v ...byte) func([]byte) []byte {
	return func(b []byte) []byte {
		copy(b[at:], v)
		return b
	}
}

// TestHeaderRules breaks each rule of the specification's section 4 alone.
func TestHeaderRules(t *testing.T) {
	r := testRef("abc")
	raw := makeHeader(t, newDEK(t), r)
	twin := makeHeader(t, newDEK(t), r, testRef("abc"))
	copy(twin[14+30+104:], twin[14:14+30]) // the second slot's ids become the first's
	hidden := r
	hidden.HidePartition = true
	secretive := makeHeader(t, newDEK(t), hidden)
	many := make([]Ref, MaxSlots)
	for i := range many {
		many[i] = testRef("")
	}
	crowd := makeHeader(t, newDEK(t), many...)
	crowd = append(crowd[:len(crowd)-macSize], crowd[14:14+131+32]...) // a slot more
	crowd[14+32*131+1] ^= 1
	crowd[11] = 33
	binary.BigEndian.PutUint16(crowd[12:], 33*131)
	wide := makeHeader(t, newDEK(t), r, testRef(strings.Repeat("w", 256)))
	wide = slices.Concat(wide[:14+134+27], []byte("w"), wide[14+134+27:])
	binary.BigEndian.PutUint16(wide[12:], 134+388)
	binary.BigEndian.PutUint16(wide[14+134+25:], 257)
	grow := func(b []byte, size int) []byte {
		binary.BigEndian.PutUint16(b[12:], uint16(size))
		return b
	}
	cases := []struct {
		name string
		raw  []byte
		want error
	}{
		{"nothing", nil, ErrFormat},
		{"magic cut", raw[:10], ErrFormat},
		{"magic", mutate(raw, set(0, 'X')), ErrFormat},
		{"version 0", mutate(raw, set(8, 0)), ErrVersion},
		{"version 2", mutate(raw, set(8, 2)), ErrVersion},
		{"suite 0", mutate(raw, set(9, 0)), ErrVersion},
		{"suite 2", mutate(raw, set(9, 2)), ErrVersion},
		{"reserved opening rule", mutate(raw, set(10, 1)), ErrVersion},
		{"reserved flag", mutate(raw, set(14, 2)), ErrFormat},
		{"all flags", mutate(raw, set(14, 0xff)), ErrFormat},
		{"cut in the fixed part", raw[:11], ErrIntegrity},
		{"cut before the slots", raw[:14], ErrIntegrity},
		{"cut in a slot", raw[:50], ErrIntegrity},
		{"cut in the MAC", raw[:len(raw)-1], ErrIntegrity},
		{"no slots", mutate(raw, set(11, 0)), ErrIntegrity},
		{"no slots, and none there", append(mutate(raw[:14], set(11, 0, 0, 0)), make([]byte, 32)...), ErrIntegrity},
		{"33 slots, all there", crowd, ErrIntegrity},
		{"partition of 257 bytes, all there", wide, ErrIntegrity},
		{"33 slots", mutate(raw, set(11, 33)), ErrIntegrity},
		{"255 slots", mutate(raw, set(11, 255)), ErrIntegrity},
		{"one slot too many", mutate(raw, set(11, 2)), ErrIntegrity},
		{"slots of size 0", mutate(raw, set(12, 0, 0)), ErrIntegrity},
		{"slots of size 65535", mutate(raw, set(12, 0xff, 0xff)), ErrIntegrity},
		{"size too small", mutate(raw, func(b []byte) []byte { return grow(b, 30+104-1) }), ErrIntegrity},
		{"size too large", mutate(raw, func(b []byte) []byte { return append(grow(b, 30+104+1), 0) }), ErrIntegrity},
		{"key version 0", mutate(raw, set(14+17, 0, 0, 0, 0, 0, 0, 0, 0)), ErrIntegrity},
		{"partition longer than the slot", mutate(raw, set(14+25, 0, 200)), ErrIntegrity},
		{"partition over the limit", mutate(raw, set(14+25, 1, 1)), ErrIntegrity},
		{"partition takes the message", mutate(raw, set(14+25, 0, 4)), ErrIntegrity},
		{"hidden and shown", mutate(raw, set(14, 1)), ErrIntegrity},
		{"two slots alike", twin, ErrIntegrity},
		{"hidden flag gone", mutate(secretive, set(14, 0)), nil}, // well-formed; the MAC finds it
	}
	for _, c := range cases {
		_, err := ReadHeader(bytes.NewReader(c.raw))
		wantErr(t, c.name, err, c.want)
		if c.want == ErrFormat && errors.Is(err, ErrVersion) {
			t.Errorf("%s: passes for another version", c.name)
		}
		if _, err := parseHeader(c.raw); !errors.Is(err, c.want) {
			t.Errorf("%s: parseHeader: %v, want %v", c.name, err, c.want)
		}
	}
	_, err := parseHeader(append(bytes.Clone(raw), 0))
	wantErr(t, "trailing byte", err, ErrIntegrity)
}

func TestReadHeaderStopsAtItsEnd(t *testing.T) {
	raw := makeHeader(t, newDEK(t), testRef(""))
	src := bytes.NewReader(append(bytes.Clone(raw), "body"...))
	got := must[[]byte](t)(ReadHeader(iotest.OneByteReader(src)))
	rest := must[[]byte](t)(io.ReadAll(src))
	if !bytes.Equal(got, raw) || string(rest) != "body" {
		t.Errorf("read %d of %d bytes, left %q", len(got), len(raw), rest)
	}
}

// TestReadHeaderChecksFirst: a size that can't be is refused before anything is
// read or allocated for it.
func TestReadHeaderChecksFirst(t *testing.T) {
	raw := makeHeader(t, newDEK(t), testRef(""))
	for _, size := range []uint16{0, 130, 388, 0xffff} {
		bad := append(bytes.Clone(raw), make([]byte, 1<<17)...)
		binary.BigEndian.PutUint16(bad[12:], size)
		src := bytes.NewReader(bad)
		_, err := ReadHeader(src)
		wantErr(t, "impossible size", err, ErrIntegrity)
		if read := len(bad) - src.Len(); read != 14 {
			t.Errorf("size %d: %d bytes were read", size, read)
		}
	}
}

// TestReadHeaderTrouble keeps a broken connection apart from a short file.
func TestReadHeaderTrouble(t *testing.T) {
	raw := makeHeader(t, newDEK(t), testRef(""))
	trouble := errors.New("connection lost")
	for _, at := range []int{0, 5, 14, 20, len(raw) - 1} {
		for _, want := range []error{trouble, io.ErrUnexpectedEOF} {
			_, err := ReadHeader(io.MultiReader(bytes.NewReader(raw[:at]), iotest.ErrReader(want)))
			wantErr(t, "source fails", err, want)
		}
	}
	_, err := ReadHeader(stuckReader{})
	wantErr(t, "source gives nothing for ever", err, io.ErrNoProgress)
}

// stuckReader never gives a byte nor an error.
type stuckReader struct{}

func (stuckReader) Read([]byte) (int, error) { return 0, nil }

func TestEncodeHeaderRefuses(t *testing.T) {
	a, b := testRef("p"), testRef("p")
	other := b
	b.Domain = a.Domain
	many := make([]Ref, MaxSlots+1)
	for i := range many {
		many[i] = a
		many[i].Version = uint64(i) + 1
	}
	cases := map[string][]Ref{
		"none":             {},
		"no domain":        {{Version: 1}},
		"no version":       {{Domain: a.Domain}},
		"long partition":   {{Domain: a.Domain, Version: 1, Partition: make([]byte, 257)}},
		"two domains":      {a, other},
		"twice the same":   {a, b, a},
		"too many":         many,
		"hidden partition": {hide(a, "x"), hide(a, "y")},
	}
	for name, refs := range cases {
		slots := make([]Slot, len(refs))
		for i := range refs {
			slots[i].Ref = refs[i]
		}
		if _, err := encodeHeader(slots, newDEK(t)); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
	shown := a
	if _, err := encodeHeader([]Slot{{Ref: shown}, {Ref: hide(a, "p")}, {Ref: b}}, newDEK(t)); err != nil {
		t.Errorf("slots that differ refused: %v", err)
	}
}

// hide returns r for another, hidden partition.
func hide(r Ref, partition string) Ref {
	r.Partition, r.HidePartition = []byte(partition), true
	return r
}

// TestHash compares H with the product's other implementation of it.
func TestHash(t *testing.T) {
	parts := [][]byte{[]byte("a"), {}, bytes.Repeat([]byte("long"), 300)}
	for n := range len(parts) + 1 {
		want := wire.Sum("slot", parts[:n]...)
		if got := hash("slot", parts[:n]...); got != want {
			t.Errorf("%d parts: %x, want %x", n, got, want)
		}
	}
}

// TestRefContext shows that each part of a Ref, and the split between two parts,
// makes another context.
func TestRefContext(t *testing.T) {
	base := testRef("ab")
	variants := map[string][32]byte{"base": base.context("slot"), "label": base.context("field")}
	add := func(name string, change func(r *Ref)) {
		r := base.clone()
		change(&r)
		variants[name] = r.context("slot")
	}
	add("domain", func(r *Ref) { r.Domain[31] ^= 1 })
	add("key id", func(r *Ref) { r.KeyID[15] ^= 1 })
	add("version", func(r *Ref) { r.Version++ })
	add("partition", func(r *Ref) { r.Partition = []byte("a") })
	add("no partition", func(r *Ref) { r.Partition = nil })
	add("hidden", func(r *Ref) { r.HidePartition = true })
	variants["field with context"] = base.context("field", []byte("c"))
	variants["field with an empty one"] = base.context("field", nil)
	shifted := base.clone()
	shifted.Partition = []byte("a")
	variants["field with a byte of the partition"] = shifted.context("field", []byte("bc"))
	seen := map[[32]byte]string{}
	for name, c := range variants {
		if with, ok := seen[c]; ok {
			t.Errorf("%s and %s have one context", name, with)
		}
		seen[c] = name
	}
}
