// SPDX-License-Identifier: Apache-2.0

package audit

import "encoding/binary"

// The heads of the CBOR major types that a leaf uses (RFC 8949, section 3.1).
const (
	cborUint  = 0 << 5
	cborNeg   = 1 << 5
	cborBytes = 2 << 5
	cborText  = 3 << 5
	cborArray = 4 << 5
)

// leafFields is the number of elements of an encoded leaf.
const leafFields = 27

// cborBuffer writes deterministic CBOR (RFC 8949, section 4.2.1). A leaf is
// encoded for every answer, and field by field it costs a tenth of what
// reflection does; TestEncodeAgainstWire and FuzzLeaf hold it against
// wire.Marshal.
type cborBuffer []byte

// head writes a major type and its argument in the shortest form.
func (b *cborBuffer) head(major byte, n uint64) {
	switch {
	case n < 24:
		*b = append(*b, major|byte(n))
	case n < 1<<8:
		*b = append(*b, major|24, byte(n))
	case n < 1<<16:
		*b = binary.BigEndian.AppendUint16(append(*b, major|25), uint16(n))
	case n < 1<<32:
		*b = binary.BigEndian.AppendUint32(append(*b, major|26), uint32(n))
	default:
		*b = binary.BigEndian.AppendUint64(append(*b, major|27), n)
	}
}

func (b *cborBuffer) uint(n uint64) { b.head(cborUint, n) }

func (b *cborBuffer) int(n int64) {
	if n < 0 {
		b.head(cborNeg, uint64(-1-n))
		return
	}
	b.head(cborUint, uint64(n))
}

func (b *cborBuffer) bytes(p []byte) {
	b.head(cborBytes, uint64(len(p)))
	*b = append(*b, p...)
}

func (b *cborBuffer) text(s string) {
	b.head(cborText, uint64(len(s)))
	*b = append(*b, s...)
}

func (b *cborBuffer) texts(list []string) {
	b.head(cborArray, uint64(len(list)))
	for _, s := range list {
		b.text(s)
	}
}

// appendCBOR encodes the leaf, its fields in the order of the struct.
func (l *Leaf) appendCBOR(dst []byte) []byte {
	b := cborBuffer(dst)
	b.head(cborArray, leafFields)
	b.uint(l.Shape)
	b.int(l.Time)
	b.text(string(l.Kind))
	b.bytes(l.Request[:])
	b.uint(l.Item)
	b.text(l.Caller)
	b.text(l.Action)
	b.texts(l.Operations)
	b.text(l.Resource)
	b.bytes(l.KeyID[:])
	b.uint(l.Version)
	b.text(l.Purpose)
	b.bytes(l.Partition)
	b.text(l.Route)
	b.text(l.Stated)
	b.head(cborArray, 2)
	b.uint(l.Epoch.Generation)
	b.uint(l.Epoch.Position)
	b.text(l.Decision)
	b.text(l.Reason)
	b.texts(l.Policies)
	b.head(cborArray, uint64(len(l.Attributes)))
	for i := range l.Attributes {
		b.bytes(l.Attributes[i][:])
	}
	b.bytes(l.PolicySet[:])
	b.bytes(l.Schema[:])
	b.bytes(l.KC[:])
	b.uint(l.Lease)
	b.head(cborArray, 2)
	b.uint(l.Of.Log)
	b.uint(l.Of.Index)
	b.uint(l.Count)
	b.head(cborArray, 3)
	b.uint(l.Previous.Number)
	b.uint(l.Previous.Size)
	b.bytes(l.Previous.Root[:])
	return b
}
