// SPDX-License-Identifier: Apache-2.0

package kdf

import (
	"bytes"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"claviger/internal/secret"
)

// parseInfo undoes Info. That it can, for all arguments, is the proof that
// Info is injective.
func parseInfo(p []byte) (label string, domain [32]byte, fields [][]byte, ok bool) {
	if len(p) == 0 || len(p) < 1+int(p[0])+32 {
		return "", domain, nil, false
	}
	end := 1 + int(p[0])
	label, ok = strings.CutPrefix(string(p[1:end]), "claviger/v1/")
	p = p[end:]
	copy(domain[:], p)
	p = p[32:]
	for len(p) > 0 {
		if len(p) < 4 || uint64(len(p)-4) < uint64(binary.BigEndian.Uint32(p)) {
			return "", domain, nil, false
		}
		n := binary.BigEndian.Uint32(p)
		fields = append(fields, p[4:4+n])
		p = p[4+n:]
	}
	return label, domain, fields, ok
}

// split cuts data at the given places, so that fuzzing finds ways to move a
// border between fields.
func split(data, cuts []byte) [][]byte {
	var fields [][]byte
	for _, c := range cuts {
		n := min(int(c), len(data))
		fields = append(fields, data[:n])
		data = data[n:]
	}
	return append(fields, data)
}

func FuzzInfo(f *testing.F) {
	f.Add("key", []byte("domain"), []byte("abcdef"), []byte{2, 0, 3})
	f.Add("", []byte{}, []byte{}, []byte{})
	f.Add("a", []byte{0, 0, 0, 1}, []byte{0, 0, 0, 1, 0}, []byte{4})
	f.Fuzz(func(t *testing.T, label string, d, data, cuts []byte) {
		if len(label) > 243 {
			return
		}
		var domain [32]byte
		copy(domain[:], d)
		fields := split(data, cuts)
		gotLabel, gotDomain, gotFields, ok := parseInfo(Info(label, domain, fields...))
		if !ok || gotLabel != label || gotDomain != domain || len(gotFields) != len(fields) {
			t.Fatalf("Info(%q, %x, %q) doesn't parse back", label, domain, fields)
		}
		for i := range fields {
			if !bytes.Equal(fields[i], gotFields[i]) {
				t.Fatalf("field %d: %q became %q", i, fields[i], gotFields[i])
			}
		}
	})
}

func TestInfoDistinct(t *testing.T) {
	d0, d1 := [32]byte{}, [32]byte{1}
	b := func(s string) []byte { return []byte(s) }
	seen := map[string]int{}
	for i, info := range [][]byte{
		Info("a", d0), Info("b", d0), Info("", d0), Info("a", d1), Info("ab", d0),
		Info("a", d0, nil), Info("a", d0, nil, nil), Info("a", d0, b("x")), Info("a", d0, b("x"), nil),
		Info("a", d0, nil, b("x")), Info("a", d0, b("xy")), Info("a", d0, b("x"), b("y")),
		Info("a", d0, b("\x00\x00\x00\x00")), Info("a", d0, b("\x00\x00\x00\x01x")),
	} {
		if j, dup := seen[string(info)]; dup {
			t.Errorf("cases %d and %d give the same info", j, i)
		}
		seen[string(info)] = i
	}
}

func TestInfoLabelLimit(t *testing.T) {
	Info(strings.Repeat("x", 255-len("claviger/v1/")), [32]byte{})
	defer func() {
		if recover() == nil {
			t.Error("a label that overflows its length byte was taken")
		}
	}()
	Info(strings.Repeat("x", 256-len("claviger/v1/")), [32]byte{})
}

// vectors is testdata/vectors.json: every derivation for one set of inputs,
// all byte strings in hexadecimal.
type vectors struct {
	Comment   string            `json:"comment"`
	Domain    string            `json:"domain"`
	DS        string            `json:"domain_secret"`
	R         string            `json:"version_secret"`
	KeyID     string            `json:"key_id"`
	Version   uint64            `json:"version"`
	Algorithm string            `json:"algorithm"`
	Purpose   string            `json:"purpose"`
	Partition string            `json:"partition"`
	Material  string            `json:"material"`
	DEK       string            `json:"dek"`
	Want      map[string]string `json:"want"`
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func loadVectors(t *testing.T) []vectors {
	t.Helper()
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v []vectors
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	if len(v) < 2 {
		t.Fatalf("only %d vectors", len(v))
	}
	return v
}

// derive computes every derivation of v with this package.
func derive(t *testing.T, v vectors) map[string]string {
	t.Helper()
	domain, id := [32]byte(unhex(t, v.Domain)), [16]byte(unhex(t, v.KeyID))
	ds, r := secret.Take(unhex(t, v.DS)), secret.Take(unhex(t, v.R))
	k := Version(ds, r, domain, id, v.Version, v.Algorithm)
	leaf := Leaf(k, domain, v.Purpose, unhex(t, v.Partition))
	m := Material(r, secret.Take(unhex(t, v.Material)))
	got := map[string]string{
		"key_info": hex.EncodeToString(Info("key", domain, id[:], binary.BigEndian.AppendUint64(nil, v.Version), []byte(v.Algorithm))),
	}
	for name, b := range map[string]*secret.Bytes{
		"k": k, "leaf": leaf, "slot_key": SlotKey(leaf, domain), "field_key": FieldKey(leaf, domain),
		"header_key": HeaderKey(secret.Take(unhex(t, v.DEK)), domain), "material": m,
	} {
		got[name] = hex.EncodeToString(b.Expose())
	}
	for name, c := range map[string][32]byte{
		"vc": VersionCommit(k, domain), "kc": Commit(leaf, domain),
		"material_vc": VersionCommit(m, domain), "material_kc": Commit(m, domain),
	} {
		got[name] = hex.EncodeToString(c[:])
	}
	return got
}

// reference computes the same from the definition, with crypto/hkdf and an
// info of its own making.
func reference(t *testing.T, v vectors) map[string]string {
	t.Helper()
	u32 := func(s string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s }
	info := func(label string, fields ...string) string {
		label = "claviger/v1/" + label
		s := string(rune(len(label))) + label + string(unhex(t, v.Domain))
		for _, f := range fields {
			s += u32(f)
		}
		return s
	}
	extract := func(salt, ikm []byte) []byte {
		var prk []byte
		var err error
		// The third vector's material is shorter than 140-only mode allows.
		fips140.WithoutEnforcement(func() { prk, err = hkdf.Extract(sha512.New, ikm, salt) })
		if err != nil {
			t.Fatal(err)
		}
		return prk
	}
	expand := func(key []byte, info string) []byte {
		out, err := hkdf.Expand(sha512.New, key, info, 32)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	r := unhex(t, v.R)
	keyInfo := info("key", string(unhex(t, v.KeyID)), string(binary.BigEndian.AppendUint64(nil, v.Version)), v.Algorithm)
	k := expand(extract(r, unhex(t, v.DS)), keyInfo)
	leaf := expand(k, info("leaf", v.Purpose, string(unhex(t, v.Partition))))
	m := extract(r, unhex(t, v.Material))
	want := map[string]string{"key_info": hex.EncodeToString([]byte(keyInfo))}
	for name, b := range map[string][]byte{
		"k": k, "vc": expand(k, info("version")), "leaf": leaf, "slot_key": expand(leaf, info("slot")),
		"field_key": expand(leaf, info("field")), "kc": expand(leaf, info("commit")),
		"header_key": expand(unhex(t, v.DEK), info("header")),
		"material":   m, "material_vc": expand(m, info("version")), "material_kc": expand(m, info("commit")),
	} {
		want[name] = hex.EncodeToString(b)
	}
	return want
}

func TestVectors(t *testing.T) {
	for i, v := range loadVectors(t) {
		got, ref := derive(t, v), reference(t, v)
		if len(v.Want) != len(got) {
			t.Errorf("vector %d has %d values, want %d", i, len(v.Want), len(got))
		}
		for name, g := range got {
			if g != v.Want[name] {
				t.Errorf("vector %d: %s = %s, want %s", i, name, g, v.Want[name])
			}
			if g != ref[name] {
				t.Errorf("vector %d: %s = %s, by definition %s", i, name, g, ref[name])
			}
		}
	}
}

// Every argument of every function must reach the key.
func TestEveryArgumentCounts(t *testing.T) {
	ds, r, other := secret.Random(32), secret.Random(32), secret.Random(32)
	d0, d1 := [32]byte{}, [32]byte{1}
	id0, id1 := [16]byte{}, [16]byte{1}
	part := []byte("p")
	array := func(a [32]byte) *secret.Bytes { return secret.Take(a[:]) }
	all := map[string]*secret.Bytes{
		"version":            Version(ds, r, d0, id0, 1, "aes256"),
		"version other ds":   Version(other, r, d0, id0, 1, "aes256"),
		"version other r":    Version(ds, other, d0, id0, 1, "aes256"),
		"version swapped":    Version(r, ds, d0, id0, 1, "aes256"),
		"version domain":     Version(ds, r, d1, id0, 1, "aes256"),
		"version id":         Version(ds, r, d0, id1, 1, "aes256"),
		"version number":     Version(ds, r, d0, id0, 2, "aes256"),
		"version big number": Version(ds, r, d0, id0, 1<<32+1, "aes256"),
		"version algorithm":  Version(ds, r, d0, id0, 1, "ed25519"),
		"leaf":               Leaf(r, d0, "data", part),
		"leaf key":           Leaf(ds, d0, "data", part),
		"leaf domain":        Leaf(r, d1, "data", part),
		"leaf purpose":       Leaf(r, d0, "wrap", part),
		"leaf partition":     Leaf(r, d0, "data", []byte("q")),
		"leaf no partition":  Leaf(r, d0, "data", nil),
		"leaf border":        Leaf(r, d0, "datap", nil),
		"slot":               SlotKey(r, d0),
		"slot key":           SlotKey(ds, d0),
		"slot domain":        SlotKey(r, d1),
		"field":              FieldKey(r, d0),
		"field key":          FieldKey(ds, d0),
		"field domain":       FieldKey(r, d1),
		"raw":                RawKey(r, d0, part),
		"raw key":            RawKey(ds, d0, part),
		"raw domain":         RawKey(r, d1, part),
		"raw salt":           RawKey(r, d0, []byte("q")),
		"header":             HeaderKey(r, d0),
		"header key":         HeaderKey(ds, d0),
		"header domain":      HeaderKey(r, d1),
		"vc":                 array(VersionCommit(r, d0)),
		"vc key":             array(VersionCommit(ds, d0)),
		"vc domain":          array(VersionCommit(r, d1)),
		"kc":                 array(Commit(r, d0)),
		"kc key":             array(Commit(ds, d0)),
		"kc domain":          array(Commit(r, d1)),
	}
	for n1, b1 := range all {
		if b1.Len() != KeySize {
			t.Errorf("%s has %d bytes", n1, b1.Len())
		}
		for n2, b2 := range all {
			if n1 < n2 && b1.Equal(b2) {
				t.Errorf("%q and %q give the same key", n1, n2)
			}
		}
	}
	m := Material(r, ds)
	for name, b := range map[string]*secret.Bytes{"other r": Material(other, ds), "other material": Material(r, other)} {
		if m.Equal(b) || m.Len() != 64 {
			t.Errorf("Material: %s gives the same", name)
		}
	}
}

func BenchmarkLeaf(b *testing.B) {
	k := secret.Random(32)
	for b.Loop() {
		Leaf(k, [32]byte{}, "data", []byte("tenant-17")).Wipe()
	}
}

func BenchmarkVersion(b *testing.B) {
	ds, r := secret.Random(32), secret.Random(32)
	for b.Loop() {
		Version(ds, r, [32]byte{}, [16]byte{}, 1, "aes256").Wipe()
	}
}
