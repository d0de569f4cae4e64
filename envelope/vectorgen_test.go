// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"testing/cryptotest"

	"claviger/internal/kdf"
	"claviger/internal/secret"
)

// vectorMaker builds testdata/vectors.json.
type vectorMaker struct {
	t   *testing.T
	set vectorSet
}

// writeVectors makes all vectors anew, from fixed keys and a fixed random source.
func writeVectors(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1)
	m := &vectorMaker{t: t, set: vectorSet{Schema: 1, Domain: fixed("domain", 32)}}
	m.leaf("a", "first key", 1, "tenant-1", "leaf a")
	m.leaf("a2", "first key", 2, "tenant-1", "leaf a2")
	m.leaf("b", "second key", 1<<40, "", "leaf b")
	m.leaf("hidden", "first key", 1, "tenant-2", "leaf hidden")
	m.leaf("long", "third key", 1, string(bytes.Repeat([]byte{0, 0xff}, 128)), "leaf long")
	m.leaf("impostor", "first key", 1, "tenant-1", "leaf impostor")
	m.leaf("stranger", "no key", 1, "", "leaf stranger")
	m.accepted()
	m.headers()
	m.bodies()
	m.fields()
	out := must[[]byte](t)(json.MarshalIndent(m.set, "", " "))
	if err := os.WriteFile(vectorsPath, append(out, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fixed is n bytes that depend on the name alone.
func fixed(name string, n int) []byte {
	sum := sha256.Sum256([]byte("claviger envelope vectors: " + name))
	return sum[:n]
}

// pattern is n bytes of plaintext.
func pattern(n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(i*7 + i/251)
	}
	return out
}

func (m *vectorMaker) leaf(name, key string, version uint64, partition, leaf string) {
	l := vectorLeaf{Name: name, Key: fixed(key, 16), Version: version, Partition: hexBytes(partition), Leaf: fixed(leaf, 32)}
	s := secret.Take(bytes.Clone(l.Leaf))
	defer s.Wipe()
	l.SlotKey = bytes.Clone(kdf.SlotKey(s, [32]byte(m.set.Domain)).Expose())
	l.FieldKey = bytes.Clone(kdf.FieldKey(s, [32]byte(m.set.Domain)).Expose())
	m.set.Leaves = append(m.set.Leaves, l)
}

// wrapper is the named leaf as writers use it.
func (m *vectorMaker) wrapper(name string, hide bool) *LeafKey {
	k := m.set.key(m.t, name)
	k.ref.HidePartition = hide
	return k
}

func (m *vectorMaker) object(name, context string, size int, w *LeafKey, reader string, also ...Wrapper) {
	plain := pattern(size)
	ct := encrypt(m.t, w, plain, Options{Context: []byte(context), Also: also})
	_, dek, result := specOpenObject(m.set.spec(m.t, reader), []byte(context), ct)
	if result != specOK {
		m.t.Fatalf("%s: %s", name, result)
	}
	m.set.Objects = append(m.set.Objects, accept(name, reader, context, ct, plain, dek))
}

func accept(name, leaf, context string, ct, plain, dek []byte) vector {
	sum := sha256.Sum256(plain)
	return vector{
		Name: name, Leaf: leaf, Context: hexBytes(context), Result: specOK,
		Ciphertext: base64.StdEncoding.EncodeToString(ct),
		DEK:        dek, PlaintextLength: len(plain), PlaintextSHA256: sum[:],
	}
}

func (m *vectorMaker) accepted() {
	a, a2, b := m.wrapper("a", false), m.wrapper("a2", false), m.wrapper("b", false)
	hidden, long := m.wrapper("hidden", true), m.wrapper("long", false)
	m.object("empty", "", 0, a, "a")
	m.object("short", "bucket/name@7", 20, a, "a")
	m.object("one chunk, then an empty one", "", chunk, b, "b")
	m.object("three chunks and a bit", "c", 3*chunk+77, a, "a")
	m.object("hidden partition", "", 10, hidden, "hidden")
	m.object("partition of 256 bytes", "", 10, long, "long")
	m.object("three slots, read by the last", "", 10, a, "long", b, long)
	m.object("three slots, read by the second", "", 10, a2, "b", b, long)
	m.object("shown partition before a hidden one", "", 10, hidden, "a", a)
	var also []Wrapper
	for i := range 31 {
		r := a.Ref()
		r.Version = uint64(i) + 2
		also = append(also, leafKeyOf(m.t, r, fixed(fmt.Sprint("leaf ", i), 32)))
	}
	m.object("32 slots", "", 10, a, "a", also...)
}

// reject adds a vector made from another one's bytes.
func (m *vectorMaker) reject(result, name, from string, ranges [][2]int, xor ...[2]int) {
	v := vector{Name: name, From: from, Result: result, Ranges: ranges, XOR: xor}
	for _, f := range m.set.Objects {
		if f.Name == from {
			v.Leaf, v.Context = f.Leaf, f.Context
		}
	}
	m.set.Objects = append(m.set.Objects, v)
}

// read adds a vector with another one's bytes, read by another leaf or with
// another context.
func (m *vectorMaker) read(result, name, from, leaf, context string) {
	size := m.size(from)
	m.set.Objects = append(m.set.Objects, vector{
		Name: name, Leaf: leaf, Context: hexBytes(context), Result: result, From: from, Ranges: [][2]int{{0, size}},
	})
}

func (m *vectorMaker) size(name string) int {
	for _, v := range m.set.Objects {
		if v.Name == name {
			return len(v.bytes(m.t, m.set.Objects))
		}
	}
	m.t.Fatalf("no vector %q", name)
	return 0
}

// headers holds what is wrong with headers. "short" has one slot of 139 bytes
// from offset 14, its MAC at 153, its body at 185.
func (m *vectorMaker) headers() {
	const from, slot, mac, body = "short", 14, 153, 185
	whole := [][2]int{{0, m.size(from)}}
	m.reject(specFormat, "magic", from, whole, [2]int{0, 1})
	m.reject(specFormat, "version 2", from, whole, [2]int{8, 3})
	m.reject(specFormat, "suite 2", from, whole, [2]int{9, 3})
	m.reject(specFormat, "reserved opening rule", from, whole, [2]int{10, 1})
	m.reject(specFormat, "reserved flag", from, whole, [2]int{slot, 2})
	m.reject(specFormat, "nothing", from, [][2]int{{0, 0}})
	m.reject(specFormat, "cut in the fixed part", from, [][2]int{{0, 10}})
	m.reject(specIntegrity, "cut behind the opening rule", from, [][2]int{{0, 11}})
	m.reject(specIntegrity, "cut in the slot", from, [][2]int{{0, 100}})
	m.reject(specIntegrity, "cut in the MAC", from, [][2]int{{0, body - 1}})
	m.reject(specIntegrity, "no slots", from, whole, [2]int{11, 1})
	m.reject(specIntegrity, "33 slots", from, whole, [2]int{11, 32})
	m.reject(specIntegrity, "slots of another size", from, whole, [2]int{13, 1})
	m.reject(specIntegrity, "key version 0", from, whole, [2]int{slot + 24, 1})
	m.reject(specIntegrity, "partition over 256 bytes", from, whole, [2]int{slot + 25, 2})
	m.reject(specIntegrity, "partition shown and hidden", from, whole, [2]int{slot, 1})
	m.reject(specNoKey, "another key id", from, whole, [2]int{slot + 1, 1})
	m.reject(specNoKey, "another version", from, whole, [2]int{slot + 24, 2})
	m.reject(specNoKey, "another partition", from, whole, [2]int{slot + 27, 1})
	m.reject(specIntegrity, "slot's salt", from, whole, [2]int{slot + 35, 1})
	m.reject(specIntegrity, "slot's commitment", from, whole, [2]int{slot + 35 + 24, 1})
	m.reject(specIntegrity, "slot's DEK", from, whole, [2]int{slot + 35 + 56, 1})
	m.reject(specIntegrity, "slot's tag", from, whole, [2]int{mac - 1, 1})
	m.reject(specIntegrity, "header MAC", from, whole, [2]int{mac, 1})
	m.reject(specIntegrity, "header MAC's end", from, whole, [2]int{body - 1, 0x80})
	m.reject(specNoKey, "hidden flag gone", "hidden partition", [][2]int{{0, m.size("hidden partition")}}, [2]int{slot, 1})
	// 131 bytes a slot without partition; slot 0 has 139, then 131 and 387.
	m.reject(specIntegrity, "first slot dropped", "three slots, read by the second",
		[][2]int{{0, 14}, {14 + 139, m.size("three slots, read by the second")}}, [2]int{11, 1}, [2]int{12, 0}, [2]int{13, (139+131+387)&0xff ^ (131+387)&0xff})
	m.read(specNoKey, "a reader without any of the keys", from, "stranger", "bucket/name@7")
	m.read(specNoKey, "a reader of the next version", from, "a2", "bucket/name@7")
	m.read(specIntegrity, "a reader with another leaf of that name", from, "impostor", "bucket/name@7")
	m.read(specIntegrity, "a reader of another partition, hidden", "hidden partition", "a", "")
	m.read(specIntegrity, "another context", from, "a", "bucket/name@8")
	m.read(specIntegrity, "no context", from, "a", "")
}

// bodies holds what is wrong with bodies.
func (m *vectorMaker) bodies() {
	const from, body = "three chunks and a bit", 185
	size := m.size(from)
	at := func(chunks int) int { return body + 56 + chunks*16400 }
	head := [2]int{0, at(0)}
	c0, c1, c2, end := [2]int{at(0), at(1)}, [2]int{at(1), at(2)}, [2]int{at(2), at(3)}, [2]int{at(3), size}
	whole := [][2]int{{0, size}}
	m.reject(specIntegrity, "no body", from, [][2]int{{0, body}})
	m.reject(specIntegrity, "no chunk", from, [][2]int{head})
	m.reject(specIntegrity, "cut at a chunk's end", from, [][2]int{head, c0, c1, c2})
	m.reject(specIntegrity, "cut in the last chunk", from, [][2]int{{0, size - 1}})
	m.reject(specIntegrity, "last chunk below a tag", from, [][2]int{{0, at(3) + 15}})
	m.reject(specIntegrity, "a byte added", from, [][2]int{{0, size}, {0, 1}})
	m.reject(specIntegrity, "chunks swapped", from, [][2]int{head, c1, c0, c2, end})
	m.reject(specIntegrity, "chunk repeated", from, [][2]int{head, c0, c0, c1, c2, end})
	m.reject(specIntegrity, "chunk dropped", from, [][2]int{head, c0, c2, end})
	m.reject(specIntegrity, "last chunk early", from, [][2]int{head, c0, end})
	m.reject(specIntegrity, "last chunk twice", from, [][2]int{head, c0, c1, c2, end, end})
	m.reject(specIntegrity, "body's salt", from, whole, [2]int{body, 1})
	m.reject(specIntegrity, "body's commitment", from, whole, [2]int{body + 24, 1})
	m.reject(specIntegrity, "first chunk", from, whole, [2]int{at(0), 1})
	m.reject(specIntegrity, "second chunk's tag", from, whole, [2]int{at(2) - 1, 1})
	m.reject(specIntegrity, "last chunk", from, whole, [2]int{at(3), 1})
	m.reject(specIntegrity, "empty last chunk missing", "one chunk, then an empty one", [][2]int{{0, m.size("one chunk, then an empty one") - 16}})
}

func (m *vectorMaker) fields() {
	add := func(name string, k *LeafKey, reader, context string, size int) int {
		plain := pattern(size)
		ct := must[[]byte](m.t)(k.SealField(plain, []byte(context)))
		m.set.Fields = append(m.set.Fields, accept(name, reader, context, ct, plain, nil))
		return len(ct)
	}
	size := add("short", m.wrapper("a", false), "a", "table.column/17", 16)
	add("empty", m.wrapper("b", false), "b", "", 0)
	add("longest", m.wrapper("long", false), "long", "", MaxField)
	hidden := add("hidden partition", m.wrapper("hidden", true), "hidden", "x", 4)
	from := func(result, name, from, leaf, context string, end int, xor ...[2]int) {
		m.set.Fields = append(m.set.Fields, vector{
			Name: name, Leaf: leaf, Context: hexBytes(context), Result: result,
			From: from, Ranges: [][2]int{{0, end}}, XOR: xor,
		})
	}
	const context = "table.column/17"
	from(specFormat, "magic", "short", "a", context, size, [2]int{0, 1})
	from(specFormat, "version 2", "short", "a", context, size, [2]int{1, 3})
	from(specFormat, "reserved flag", "short", "a", context, size, [2]int{2, 0x80})
	from(specFormat, "one byte", "short", "a", context, 1)
	from(specIntegrity, "cut in the ids", "short", "a", context, 20)
	from(specIntegrity, "cut in the commitment", "short", "a", context, 80)
	from(specIntegrity, "cut by a byte", "short", "a", context, size-1)
	from(specIntegrity, "tag", "short", "a", context, size, [2]int{size - 1, 1})
	from(specIntegrity, "another row", "short", "a", "table.column/18", size)
	from(specIntegrity, "another leaf of that name", "short", "impostor", context, size)
	from(specNoKey, "hidden flag gone", "hidden partition", "hidden", "x", hidden, [2]int{2, 1})
	from(specIntegrity, "hidden partition named wrongly", "hidden partition", "a", "x", hidden)
	from(specNoKey, "another version", "short", "a2", context, size)
	from(specNoKey, "another key", "short", "b", context, size)
}
