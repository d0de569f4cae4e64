// SPDX-License-Identifier: Apache-2.0

package attributes

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"claviger/internal/wire"
)

func TestRecord(t *testing.T) {
	proved := map[string]any{"kind": "xks", "arn": "arn:aws:iam::1:root", "account": "1"}
	asked := map[string]string{"kmsOperation": "Encrypt", "kmsKeyArn": "arn:aws:kms:eu-central-1:1:key/2"}
	var first []byte
	for range 20 { // maps have another order each time
		r, err := Of("Subject", proved, asked)
		if err != nil {
			t.Fatal(err)
		}
		data, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = data
		}
		if !bytes.Equal(data, first) {
			t.Fatal("the same claims are other bytes")
		}
	}
	back, err := Parse(first)
	if err != nil || back.Principal != "Subject" || !cmp.Equal(back.Proved(), proved) || !cmp.Equal(back.Asked(), asked) {
		t.Errorf("%+v, %v", back, err)
	}
	for _, half := range []struct {
		proved map[string]any
		asked  map[string]string
	}{{proved, nil}, {nil, asked}, {nil, nil}, {map[string]any{"email": strings.Repeat("e", 300), "subject": strings.Repeat("s", 30)}, nil}} {
		r, _ := Of("Subject", half.proved, half.asked)
		data, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := Parse(data); err != nil || len(back.Proved()) != len(half.proved) || len(back.Asked()) != len(half.asked) {
			t.Errorf("%+v, %v", back, err)
		}
	}
	// What is proved and what is said never stand for each other.
	a, _ := Of("Subject", map[string]any{"a": "1"}, nil)
	b, _ := Of("Subject", nil, map[string]string{"a": "1"})
	one, _ := a.Encode()
	two, _ := b.Encode()
	if bytes.Equal(one, two) {
		t.Error("a claim proved is the bytes of one said")
	}
}

func TestRecordRefuses(t *testing.T) {
	many := map[string]string{}
	for i := range maxClaims + 1 {
		many[strings.Repeat("n", i+1)] = "v"
	}
	for name, c := range map[string]struct {
		principal string
		proved    map[string]any
		asked     map[string]string
	}{
		"no principal":  {"", nil, nil},
		"a number":      {"Subject", map[string]any{"account": 1}, nil},
		"a set":         {"Subject", map[string]any{"account": []string{"1"}}, nil},
		"empty":         {"Subject", map[string]any{"account": ""}, nil},
		"empty as said": {"Subject", nil, map[string]string{"sourceVpc": ""}},
		"no name":       {"Subject", nil, map[string]string{"": "x"}},
		"bytes":         {"Subject", nil, map[string]string{"sourceVpc": "\xff"}},
		"long":          {"Subject", nil, map[string]string{"sourceVpc": strings.Repeat("v", maxClaim+1)}},
		"many":          {"Subject", nil, many},
	} {
		if r, err := Of(c.principal, c.proved, c.asked); !errors.Is(err, ErrClaims) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	big := map[string]string{}
	for _, n := range []string{"a", "b", "c", "d", "e"} {
		big[n] = strings.Repeat("v", maxClaim)
	}
	r, err := Of("Subject", nil, big)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Encode(); !errors.Is(err, ErrClaims) {
		t.Errorf("more than %d bytes: %v", MaxRecord, err)
	}
	for name, bad := range map[string]*Record{
		"another shape": {Shape: 2, Principal: "Subject"},
		"out of order":  {Shape: 1, Principal: "Subject", ProvedOf: []Claim{{Name: "b", Value: "1"}, {Name: "a", Value: "1"}}},
		"twice":         {Shape: 1, Principal: "Subject", AskedWith: []Claim{{Name: "a", Value: "1"}, {Name: "a", Value: "2"}}},
	} {
		if _, err := Parse(wire.Marshal(bad)); !errors.Is(err, ErrClaims) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParse: what is read is written back as the same bytes.
func FuzzParse(f *testing.F) {
	r, _ := Of("Subject", map[string]any{"kind": "xks", "arn": "arn:aws:iam::1:root"}, map[string]string{"kmsOperation": "Encrypt"})
	data, _ := r.Encode()
	f.Add(data)
	f.Add([]byte{0x84, 0x01, 0x60, 0x80, 0x80})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Parse(data)
		if err != nil {
			return
		}
		again, err := r.Encode()
		if err != nil || !bytes.Equal(again, data) && bytes.Count(data, []byte{0xf6}) == 0 || !bytes.Equal(again, wire.Marshal(r)) && r.ProvedOf != nil && r.AskedWith != nil {
			t.Fatalf("%x became %x, %v", data, again, err)
		}
		back, err := Of(r.Principal, r.Proved(), r.Asked())
		if err != nil {
			t.Fatal(err)
		}
		if third, err := back.Encode(); err != nil || (len(r.ProvedOf) > 0 && len(r.AskedWith) > 0 && !bytes.Equal(third, data)) {
			t.Fatalf("%x made of its claims is %x, %v", data, third, err)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	proved := map[string]any{"kind": "xks", "arn": "arn:aws:iam::123456789012:user/Alice", "account": "123456789012"}
	asked := map[string]string{"kmsOperation": "Encrypt", "kmsKeyArn": "arn:aws:kms:eu-central-1:123456789012:key/0f0e0d0c-0b0a-0908-0706-050403020100"}
	b.ReportAllocs()
	for b.Loop() {
		r, err := Of("Subject", proved, asked)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := r.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}
