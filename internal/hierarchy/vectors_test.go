// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"

	"claviger/internal/secret"
	"claviger/internal/store"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

// hexBytes is a byte string in hexadecimal.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

func (h *hexBytes) UnmarshalText(p []byte) (err error) {
	*h, err = hex.DecodeString(string(p))
	return err
}

// vectors is testdata/vectors.json: one server's epoch file, the slots, a grant
// and a backup of a small domain, with everything that comes out of them.
type vectors struct {
	Comment    string              `json:"comment"`
	Roots      map[string]hexBytes `json:"root_derived"` // by label
	Domain     hexBytes            `json:"domain"`
	Server     hexBytes            `json:"server"`
	Generation uint64              `json:"root_generation"`
	EEK        hexBytes            `json:"eek"`
	Seed       hexBytes            `json:"epoch_key_seed"`
	Public     hexBytes            `json:"epoch_key_public"`
	Commitment hexBytes            `json:"eek_commitment"`
	EpochFile  hexBytes            `json:"epoch_file"`
	JoinFile   hexBytes            `json:"join_file"`
	Grant      hexBytes            `json:"grant"`
	Segment    hexBytes            `json:"segment"`
	SegmentKey hexBytes            `json:"segment_key"`
	Slots      map[string]hexBytes `json:"slots"`
	Versions   []versionVector     `json:"versions"`
	Backup     hexBytes            `json:"backup"`
}

type versionVector struct {
	KeyID     hexBytes `json:"key_id"`
	Number    uint64   `json:"version"`
	Algorithm string   `json:"algorithm"`
	Stored    bool     `json:"stored"`
	R         hexBytes `json:"r"`
	Material  hexBytes `json:"material,omitempty"`
	VC        hexBytes `json:"vc"`
	Purpose   string   `json:"purpose"`
	Partition hexBytes `json:"partition"`
	Leaf      hexBytes `json:"leaf,omitempty"`
	KC        hexBytes `json:"kc"`
	Public    hexBytes `json:"public_key,omitempty"` // ed25519: 32 bytes; ecdsa-p256: uncompressed point
}

// vectorCustody gives the root-derived keys of the vectors.
type vectorCustody map[string]hexBytes

func (c vectorCustody) Derive(label string, _ ...[]byte) (*secret.Bytes, error) {
	key, ok := c[label]
	if !ok {
		return nil, fmt.Errorf("no such label")
	}
	return secret.Take(bytes.Clone(key)), nil
}

func (v *vectors) options(slots store.Slots, dir FS) Options {
	return Options{Custody: vectorCustody(v.Roots), Domain: [32]byte(v.Domain), Generation: v.Generation,
		Server: [16]byte(v.Server), Slots: slots, FS: dir}
}

func (v *vectors) version(x versionVector) Version {
	out := Version{KeyID: [16]byte(x.KeyID), Number: x.Number, Algorithm: x.Algorithm, Stored: x.Stored,
		Segment: [16]byte(v.Segment), VC: [32]byte(x.VC)}
	if !x.Stored {
		out.RootGeneration = v.Generation
	}
	return out
}

func readVectors(t testing.TB) *vectors {
	t.Helper()
	raw, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return &v
}

// TestVectors opens the published files with the product.
func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	v := readVectors(t)
	slots := store.NewMem()
	for key, value := range v.Slots {
		must(t, slots.Put(t.Context(), key, 0, value))
	}
	dir := newMemFS()
	must(t, writeFile(dir, "epoch-0.key", v.EpochFile))
	h, err := Open(t.Context(), v.options(slots, dir), Logged{})
	must(t, err)
	defer h.Close()
	if r := h.Receipt(); !bytes.Equal(r.NextPublicKey, v.Public) || r.Waiting {
		t.Fatal("public epoch key")
	}
	if c := eekCommitment(h.cur.eek, h.o.Domain, EpochID{}); !bytes.Equal(c[:], v.Commitment) {
		t.Fatal("commitment of the EEK")
	}
	for _, x := range v.Versions {
		checkVersion(t, h, v.version(x), x)
	}
	// The same server before its grant.
	joining := newMemFS()
	must(t, writeFile(joining, "epoch-0.join", v.JoinFile))
	j, err := Open(t.Context(), v.options(slots, joining), Logged{})
	must(t, err)
	defer j.Close()
	must(t, j.Accept(Grant{Server: [16]byte(v.Server), Sealed: v.Grant}))
	checkVersion(t, j, v.version(v.Versions[0]), v.Versions[0])

	b, _, restored, err := restoreIn(t, v.Backup, vectorCustody(v.Roots))
	must(t, err)
	defer b.Wipe()
	o := v.options(restored, newMemFS())
	_, err = b.Init(o)
	must(t, err)
	again, err := Open(t.Context(), o, Logged{})
	must(t, err)
	defer again.Close()
	checkVersion(t, again, v.version(v.Versions[0]), v.Versions[0])
}

func checkVersion(t *testing.T, h *Hierarchy, v Version, want versionVector) {
	t.Helper()
	kc, err := h.Commit(t.Context(), v, want.Purpose, want.Partition)
	must(t, err)
	if !bytes.Equal(kc[:], want.KC) {
		t.Fatalf("%s: kc %x", want.Algorithm, kc)
	}
	if !v.Stored {
		leaf, err := h.Leaf(t.Context(), v, want.Purpose, want.Partition)
		must(t, err)
		if !bytes.Equal(leaf.Expose(), want.Leaf) {
			t.Fatalf("%s: leaf", want.Algorithm)
		}
	}
	if want.Public != nil {
		if got := rawPublic(t, h, v, want.Partition); !bytes.Equal(got, want.Public) {
			t.Fatalf("%s: public key %x", want.Algorithm, got)
		}
	}
}

func rawPublic(t *testing.T, h *Hierarchy, v Version, partition []byte) []byte {
	t.Helper()
	pub, err := h.PublicKey(t.Context(), v, partition)
	must(t, err)
	switch p := pub.(type) {
	case ed25519.PublicKey:
		return p
	case *ecdsa.PublicKey:
		raw, err := p.Bytes()
		must(t, err)
		return raw
	}
	return nil
}

// other is a second implementation of the specification, on the standard
// library alone.
type other struct{ domain []byte }

func (o other) info(label string, fields ...[]byte) string {
	label = "claviger/v1/" + label
	out := append([]byte{byte(len(label))}, label...)
	out = append(out, o.domain...)
	for _, f := range fields {
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(f))), f...)
	}
	return string(out)
}

func (o other) expand(key []byte, n int, label string, fields ...[]byte) []byte {
	out, err := hkdf.Expand(sha512.New, key, o.info(label, fields...), n)
	if err != nil {
		panic(err)
	}
	return out
}

// open opens a blob: version, salt, commitment, ciphertext.
func (o other) open(key, blob []byte, kind string, fields ...[]byte) ([]byte, error) {
	okm := o.expand(key, 64, "seal", append([][]byte{[]byte(kind), blob[1:33]}, fields...)...)
	if blob[0] != 1 || !bytes.Equal(okm[32:], blob[33:65]) {
		return nil, fmt.Errorf("version or commitment")
	}
	block, err := aes.NewCipher(okm[:32])
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return gcm.Open(nil, make([]byte, 12), blob[65:], nil)
}

// TestVectorsIndependently goes from the root-derived keys to the leaves with
// the second implementation.
func TestVectorsIndependently(t *testing.T) {
	v := readVectors(t)
	o := other{v.Domain}
	equal := func(what string, got, want []byte) {
		t.Helper()
		if !bytes.Equal(got, want) {
			t.Fatalf("%s: %x, want %x", what, got, want)
		}
	}
	zero8, zero16 := make([]byte, 8), make([]byte, 16)
	header := bytes.Join([][]byte{[]byte("CLVGEPO\x01"), v.Domain, v.Server, u64(v.Generation), zero8}, nil)
	equal("header", v.EpochFile[:72], header)
	file, err := o.open(v.Roots["local seal"], v.EpochFile[72:], "epoch file", header)
	must(t, err)
	equal("epoch file", file, bytes.Join([][]byte{zero16, v.EEK, v.Seed}, nil))
	file, err = o.open(v.Roots["local seal"], v.JoinFile[72:], "join file", header)
	must(t, err)
	equal("join file", file, append(zero16, v.Seed...))
	equal("commitment", o.expand(v.EEK, 32, "eek commit", zero8, zero16), v.Commitment)

	segment := "segment/" + hex.EncodeToString(v.Segment)
	wrapped := v.Slots[segment+"/key/0000000000000000-00000000000000000000000000000000"]
	key, err := o.open(v.EEK, wrapped, "segment key", v.Segment, zero8, zero16)
	must(t, err)
	equal("segment key", key, append(bytes.Clone(v.SegmentKey), zero8...))
	for _, x := range v.Versions {
		name := fmt.Sprintf("%s/item/%x/%016x/%x", segment, []byte(x.KeyID), x.Number, []byte(x.VC[:16]))
		kind := "version secret"
		if x.Stored {
			kind = "material"
		}
		item, err := o.open(v.SegmentKey, v.Slots[name], kind, x.KeyID, u64(x.Number), v.Segment)
		must(t, err)
		equal("item", item, append(bytes.Clone(x.R), x.Material...))
		if x.Stored {
			prk, err := hkdf.Extract(sha512.New, x.Material, x.R)
			must(t, err)
			equal("vc", o.expand(prk, 32, "version"), x.VC)
			equal("kc", o.expand(prk, 32, "commit"), x.KC)
			continue
		}
		prk, err := hkdf.Extract(sha512.New, v.Roots["domain"], x.R)
		must(t, err)
		k := o.expand(prk, 32, "key", x.KeyID, u64(x.Number), []byte(x.Algorithm))
		equal("vc", o.expand(k, 32, "version"), x.VC)
		leaf := o.expand(k, 32, "leaf", []byte(x.Purpose), x.Partition)
		equal("leaf", leaf, x.Leaf)
		equal("kc", o.expand(leaf, 32, "commit"), x.KC)
		if x.Algorithm == AlgEd25519 {
			equal("public key", ed25519.NewKeyFromSeed(leaf)[32:], x.Public)
		}
	}
}

// writeVectors makes the vectors anew; it runs with -update only.
func writeVectors(t *testing.T) {
	counting := func(from, n int) hexBytes {
		out := make(hexBytes, n)
		for i := range out {
			out[i] = byte(from + i)
		}
		return out
	}
	v := &vectors{
		Comment: "made by go test -run TestVectors -update; blobs have random salts",
		Domain:  counting(0, 32), Server: counting(0x20, 16), Generation: 1,
		EEK: counting(0x80, 32), Seed: counting(0xa0, 32), Slots: map[string]hexBytes{},
		Roots: map[string]hexBytes{
			labelDomain: counting(0x30, 32), labelLocal: counting(0x40, 32),
			labelSlot: counting(0x50, 32), labelBackup: counting(0x60, 32),
		},
	}
	slots := store.NewMem()
	dir := newMemFS()
	first := &First{epochState{eek: secret.Take(bytes.Clone(v.EEK)), seed: secret.Take(bytes.Clone(v.Seed))}}
	var err error
	first.state.public, err = publicKey(first.state.seed)
	must(t, err)
	must(t, Init(v.options(slots, dir), first))
	h, err := Open(t.Context(), v.options(slots, dir), Logged{})
	must(t, err)
	defer h.Close()
	v.Public, v.EpochFile = h.cur.public, dir.names["epoch-0.key"].data
	commitment := eekCommitment(h.cur.eek, h.o.Domain, EpochID{})
	v.Commitment = commitment[:]
	_, v.JoinFile = h.encodeState(&epochState{seed: h.cur.seed})
	g, err := h.Grant(ServerEpochKey{Server: h.o.Server, Public: v.Public})
	must(t, err)
	v.Grant = g.Sealed
	for i, algorithm := range []string{AlgAES256, AlgHMAC, AlgEd25519, AlgP256, AlgAES256} {
		keyID := [16]byte(counting(0xc0+i, 16))
		var made Version
		if i == 4 {
			made, err = h.Import(t.Context(), keyID, 1, algorithm, secret.Take(counting(0xe0, 32)))
		} else {
			made, err = h.NewVersion(t.Context(), keyID, uint64(i+1), algorithm)
		}
		must(t, err)
		v.Versions = append(v.Versions, describe(t, h, made))
		v.Segment = made.Segment[:]
	}
	v.SegmentKey = bytes.Clone(h.open.key.Expose())
	for e, err := range slots.List(t.Context(), segmentPrefix) {
		must(t, err)
		v.Slots[e.Key] = e.Value
	}
	var out bytes.Buffer
	_, err = h.Backup(context.Background(), &out, BackupInput{Custody: []byte("custody file"), Records: records(2),
		Slots: slots.List(t.Context(), segmentPrefix), Announce: func(BackupInfo) error { return nil }})
	must(t, err)
	v.Backup = out.Bytes()
	raw, err := json.MarshalIndent(v, "", "  ")
	must(t, err)
	must(t, os.MkdirAll("testdata", 0o755))
	must(t, os.WriteFile("testdata/vectors.json", append(raw, '\n'), 0o644))
}

// describe turns a version into a vector.
func describe(t *testing.T, h *Hierarchy, v Version) versionVector {
	x := versionVector{KeyID: v.KeyID[:], Number: v.Number, Algorithm: v.Algorithm, Stored: v.Stored, VC: v.VC[:], Partition: []byte("tenant 7")}
	item, err := h.loadItem(t.Context(), v.Segment, h.open.key, &v)
	must(t, err)
	x.R = bytes.Clone(item.Expose()[:32])
	if v.Stored {
		x.Material, x.Partition = bytes.Clone(item.Expose()[32:]), nil
	} else {
		alg, err := v.algorithm()
		must(t, err)
		x.Purpose = alg.purposes[0]
		leaf, err := h.Leaf(t.Context(), v, x.Purpose, x.Partition)
		must(t, err)
		x.Leaf = bytes.Clone(leaf.Expose())
		if x.Purpose == PurposeSign {
			x.Public = rawPublic(t, h, v, x.Partition)
		}
	}
	kc, err := h.Commit(t.Context(), v, x.Purpose, x.Partition)
	must(t, err)
	x.KC = kc[:]
	return x
}

// FuzzEpochFile decodes arbitrary epoch files.
func FuzzEpochFile(f *testing.F) {
	v := readVectors(f)
	h, err := newHierarchy(v.options(store.NewMem(), newMemFS()))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(h.Close)
	f.Add([]byte(v.EpochFile))
	f.Add([]byte(v.EpochFile[:epochHeader]))
	f.Add([]byte(v.JoinFile))
	f.Add([]byte(epochMagic))
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, suffix := range []string{keySuffix, joinSuffix} {
			s, err := h.decodeState(localFile{name: fileName(0, suffix), suffix: suffix}, content)
			if err == nil && !bytes.Equal(content, v.EpochFile) && !bytes.Equal(content, v.JoinFile) {
				t.Fatal("opened a file that nobody wrote")
			}
			s.wipe()
		}
	})
}
