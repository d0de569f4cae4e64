// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"

	"claviger/internal/secret"
)

// known reports an error that no hostile input may cause.
func known(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrNoKey) && !errors.Is(err, ErrIntegrity) {
		t.Errorf("error of another kind: %v", err)
	}
}

// FuzzHeader: what parses encodes to the same bytes.
func FuzzHeader(f *testing.F) {
	s := loadVectors(f)
	for _, v := range s.Objects {
		if object := v.bytes(f, s.Objects); len(object) < 20000 {
			f.Add(object)
		}
	}
	domain := [32]byte(s.Domain)
	f.Fuzz(func(t *testing.T, raw []byte) {
		read, err := ReadHeader(bytes.NewReader(raw))
		known(t, err)
		if err != nil {
			return
		}
		if len(read) > MaxHeaderSize || !bytes.HasPrefix(raw, read) {
			t.Fatalf("%d bytes of header from %d", len(read), len(raw))
		}
		slots, err := parseHeader(read)
		if err != nil {
			t.Fatal(err)
		}
		for i := range slots {
			slots[i].Ref.Domain = domain
		}
		dek := secret.New(DEKSize)
		defer dek.Wipe()
		again, err := encodeHeader(slots, dek)
		if err != nil || !bytes.Equal(again[:len(again)-macSize], read[:len(read)-macSize]) {
			t.Errorf("parses, but encodes to other bytes (%v)", err)
		}
	})
}

// FuzzDecrypt gives the same bytes to every way of opening and to the second
// implementation: all have to agree.
func FuzzDecrypt(f *testing.F) {
	s := loadVectors(f)
	for _, v := range s.Objects {
		if object := v.bytes(f, s.Objects); len(object) < 20000 {
			f.Add(object, []byte(v.Context))
		}
	}
	k, spec := s.key(f, "a"), s.spec(f, "a")
	f.Fuzz(func(t *testing.T, object, context []byte) {
		o := Options{Context: context, Workers: 1}
		want, _, result := specOpenObject(spec, context, object)
		for _, name := range []string{"Decrypt", "Reader of halves", "ReaderAt", "Stream"} {
			got, err := openers[name](t.Context(), t, k, object, o)
			known(t, err)
			if resultName(err) != result {
				t.Errorf("%s: %v, the second implementation says %s", name, err, result)
			}
			if err == nil && !bytes.Equal(got, want) {
				t.Errorf("%s: another plaintext", name)
			}
		}
	})
}

// FuzzField is FuzzDecrypt for fields.
func FuzzField(f *testing.F) {
	s := loadVectors(f)
	for _, v := range s.Fields {
		f.Add(v.bytes(f, s.Fields), []byte(v.Context))
	}
	k, spec := s.key(f, "a"), s.spec(f, "a")
	f.Fuzz(func(t *testing.T, field, context []byte) {
		want, result := specOpenField(spec, context, field)
		got, err := k.OpenField(field, context)
		if resultName(err) != result || !bytes.Equal(got, want) {
			t.Errorf("%v, the second implementation says %s", err, result)
		}
		if ref, err := InspectField(field); err == nil {
			if again := ref.append([]byte{fieldMagic, version}); !bytes.HasPrefix(field, again) {
				t.Errorf("ids encode to %x", again)
			}
		}
	})
}

// TestMemoryBound: what hostile bytes claim costs no more memory than a fixed
// amount and what they are themselves. (Scenario 56.)
func TestMemoryBound(t *testing.T) {
	k := leafKey(t, testRef(""))
	largest := makeHeader(t, newDEK(t), testRef(string(make([]byte, MaxPartition))))
	claims := bytes.Clone(largest[:14])
	claims[11], claims[12], claims[13] = 32, 0x30, 0x60 // 32 slots, 12,384 bytes
	over := bytes.Clone(claims)
	over[12], over[13] = 0xff, 0xff
	cases := map[string][]byte{
		"claims the largest header":   claims,
		"claims more than allowed":    over,
		"garbage":                     bytes.Repeat([]byte{0xcb}, 1<<20),
		"header and a MiB of garbage": append(bytes.Clone(largest), make([]byte, 1<<20)...),
	}
	for name, input := range cases {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decrypt(t.Context(), k, input, Options{})
		_, rerr := NewReader(t.Context(), k, bytes.NewReader(input), Options{})
		_, ierr := Inspect(io.LimitReader(bytes.NewReader(input), 1<<20))
		_, ferr := k.OpenField(input, nil)
		runtime.ReadMemStats(&after)
		known(t, err)
		known(t, rerr)
		known(t, ierr)
		known(t, ferr)
		if err == nil || rerr == nil {
			t.Errorf("%s: opened", name)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 256<<10 {
			t.Errorf("%s: took %d bytes for %d bytes of input", name, took, len(input))
		}
	}
}
