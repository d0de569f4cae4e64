// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"testing"

	"claviger/internal/kdf"
	"claviger/internal/secret"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew (its readers have to be told)")

const vectorsPath = "testdata/vectors.json"

// hexBytes is a byte string that JSON shows in hexadecimal.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

func (h *hexBytes) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	*h = b
	return err
}

// vectorSet is the file that section 9 of the specification describes.
type vectorSet struct {
	Schema  int          `json:"schema"`
	Domain  hexBytes     `json:"domain"`
	Leaves  []vectorLeaf `json:"leaves"`
	Objects []vector     `json:"objects"`
	Fields  []vector     `json:"fields"`
}

type vectorLeaf struct {
	Name      string   `json:"name"`
	Key       hexBytes `json:"key"`
	Version   uint64   `json:"version"`
	Partition hexBytes `json:"partition"`
	Leaf      hexBytes `json:"leaf"`
	SlotKey   hexBytes `json:"slot_key"`
	FieldKey  hexBytes `json:"field_key"`
}

type vector struct {
	Name            string   `json:"name"`
	Leaf            string   `json:"leaf"`
	Context         hexBytes `json:"context"`
	Result          string   `json:"result"`
	Ciphertext      string   `json:"ciphertext,omitempty"` // base64
	From            string   `json:"from,omitempty"`
	Ranges          [][2]int `json:"ranges,omitempty"`
	XOR             [][2]int `json:"xor,omitempty"`
	DEK             hexBytes `json:"dek,omitempty"`
	PlaintextLength int      `json:"plaintext_length,omitempty"`
	PlaintextSHA256 hexBytes `json:"plaintext_sha256,omitempty"`
}

// bytes puts a vector's ciphertext together.
func (v vector) bytes(t testing.TB, all []vector) []byte {
	t.Helper()
	if v.From == "" {
		return must[[]byte](t)(base64.StdEncoding.DecodeString(v.Ciphertext))
	}
	for _, from := range all {
		if from.Name != v.From {
			continue
		}
		whole := from.bytes(t, all)
		var out []byte
		for _, r := range v.Ranges {
			out = append(out, whole[r[0]:r[1]]...)
		}
		for _, x := range v.XOR {
			out[x[0]] ^= byte(x[1])
		}
		return out
	}
	t.Fatalf("%s: no vector %q", v.Name, v.From)
	return nil
}

func (s vectorSet) leaf(t testing.TB, name string) vectorLeaf {
	t.Helper()
	for _, l := range s.Leaves {
		if l.Name == name {
			return l
		}
	}
	t.Fatalf("no leaf %q", name)
	return vectorLeaf{}
}

// key is the leaf for this package, spec the same for the second implementation.
func (s vectorSet) key(t testing.TB, name string) *LeafKey {
	l := s.leaf(t, name)
	r := Ref{Domain: [32]byte(s.Domain), KeyID: [16]byte(l.Key), Version: l.Version, Partition: l.Partition}
	return leafKeyOf(t, r, l.Leaf)
}

func (s vectorSet) spec(t testing.TB, name string) specLeaf {
	l := s.leaf(t, name)
	return specLeaf{domain: s.Domain, key: l.Key, version: l.Version, partition: l.Partition, leaf: l.Leaf}
}

func loadVectors(t testing.TB) vectorSet {
	t.Helper()
	raw, err := os.ReadFile(vectorsPath)
	if err != nil {
		t.Fatal(err)
	}
	var s vectorSet
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		t.Fatal(err)
	}
	if s.Schema != 1 {
		t.Fatalf("schema %d", s.Schema)
	}
	return s
}

func resultName(err error) string {
	switch {
	case err == nil:
		return specOK
	case errors.Is(err, ErrFormat):
		return specFormat
	case errors.Is(err, ErrNoKey):
		return specNoKey
	case errors.Is(err, ErrIntegrity):
		return specIntegrity
	}
	return err.Error()
}

func (v vector) checkPlain(t *testing.T, who string, plain []byte) {
	t.Helper()
	sum := sha256.Sum256(plain)
	if v.Result == specOK && (len(plain) != v.PlaintextLength || !bytes.Equal(sum[:], v.PlaintextSHA256)) {
		t.Errorf("%s: another plaintext of %d bytes", who, len(plain))
	}
	if v.Result != specOK && len(plain) > 0 {
		t.Errorf("%s: %d bytes of plaintext from a bad vector", who, len(plain))
	}
}

// TestVectors runs the published vectors through this package and through the
// second implementation.
func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	s := loadVectors(t)
	for _, l := range s.Leaves {
		leaf := secret.Take(bytes.Clone(l.Leaf))
		slot, field := kdf.SlotKey(leaf, [32]byte(s.Domain)), kdf.FieldKey(leaf, [32]byte(s.Domain))
		if !bytes.Equal(slot.Expose(), l.SlotKey) || !bytes.Equal(field.Expose(), l.FieldKey) {
			t.Errorf("leaf %s: other slot or field key", l.Name)
		}
		slot.Wipe()
		field.Wipe()
		leaf.Wipe()
	}
	results := map[string]int{}
	for _, v := range s.Objects {
		results[v.Result]++
		t.Run("object/"+v.Name, func(t *testing.T) { s.checkObject(t, v) })
	}
	for _, v := range s.Fields {
		results[v.Result]++
		t.Run("field/"+v.Name, func(t *testing.T) { s.checkField(t, v) })
	}
	for _, r := range []string{specOK, specFormat, specNoKey, specIntegrity} {
		if results[r] < 5 {
			t.Errorf("only %d vectors with the result %q", results[r], r)
		}
	}
}

func (s vectorSet) checkObject(t *testing.T, v vector) {
	object := v.bytes(t, s.Objects)
	plain, err := Decrypt(t.Context(), s.key(t, v.Leaf), object, Options{Context: v.Context})
	if got := resultName(err); got != v.Result {
		t.Errorf("Decrypt: %s, want %s", got, v.Result)
	}
	v.checkPlain(t, "Decrypt", plain)
	plain, dek, result := specOpenObject(s.spec(t, v.Leaf), v.Context, object)
	if result != v.Result {
		t.Errorf("second implementation: %s, want %s", result, v.Result)
	}
	v.checkPlain(t, "second implementation", plain)
	if v.Result != specOK {
		return
	}
	if !bytes.Equal(dek, v.DEK) {
		t.Error("another data key")
	}
	s.checkReencode(t, v, object)
}

// checkReencode writes the vector's header again from what was read: encoding is
// as fixed as decoding.
func (s vectorSet) checkReencode(t *testing.T, v vector, object []byte) {
	t.Helper()
	header, _ := split(t, object)
	slots := must[[]Slot](t)(parseHeader(header))
	for i := range slots {
		slots[i].Ref.Domain = [32]byte(s.Domain)
	}
	dek := secret.Take(bytes.Clone(v.DEK))
	defer dek.Wipe()
	again, err := encodeHeader(slots, dek)
	if err != nil || !bytes.Equal(again, header) {
		t.Errorf("header encodes to other bytes (%v)", err)
	}
}

func (s vectorSet) checkField(t *testing.T, v vector) {
	field := v.bytes(t, s.Fields)
	plain, err := s.key(t, v.Leaf).OpenField(field, v.Context)
	if got := resultName(err); got != v.Result {
		t.Errorf("OpenField: %s, want %s", got, v.Result)
	}
	v.checkPlain(t, "OpenField", plain)
	plain, result := specOpenField(s.spec(t, v.Leaf), v.Context, field)
	if result != v.Result {
		t.Errorf("second implementation: %s, want %s", result, v.Result)
	}
	v.checkPlain(t, "second implementation", plain)
}
