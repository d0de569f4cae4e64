// SPDX-License-Identifier: Apache-2.0

package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"claviger/internal/wire"
)

// fill sets every field below v to something, each to another value, and fails
// on kinds that it does not know: a field that is added is filled too.
func fill(t *testing.T, v reflect.Value, next *uint64) {
	t.Helper()
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "_" {
				fill(t, v.Field(i), next)
			}
		}
		return
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			fill(t, v.Index(i), next)
		}
		return
	}
	*next++
	switch v.Kind() {
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(*next & 0xff)
	case reflect.Int64:
		v.SetInt(int64(*next) << (*next % 40))
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d", *next))
	case reflect.Bool:
		v.SetBool(true)
	default:
		t.Fatalf("a %s: teach this test and the rows about it", v.Type())
	}
}

func filled(t *testing.T, seed uint64) *Key {
	t.Helper()
	var k Key
	fill(t, reflect.ValueOf(&k).Elem(), &seed)
	for i := range k.Versions {
		k.Versions[i].ID = k.ID
	}
	return &k
}

// TestEveryFieldIsPacked: a field that is added to a key and not to its row fails.
func TestEveryFieldIsPacked(t *testing.T) {
	r := New()
	for _, k := range []*Key{filled(t, 1), filled(t, 1000), {ID: wire.KeyID{9}, Name: "bare"}, {ID: wire.KeyID{8}, Name: "b", Created: -1, LeaseEnds: -1 << 63}} {
		r.Put(k)
		if got := r.Get(k.ID); !reflect.DeepEqual(got, k) {
			t.Errorf("packed\n%+v\nunpacked\n%+v", k, got)
		}
		if got := r.Named(k.Name); !reflect.DeepEqual(got, k) {
			t.Errorf("by its name: %+v", got)
		}
	}
	if r.Len() != 4 || r.Get(wire.KeyID{7}) != nil || r.Named("") != nil || r.Has(wire.KeyID{7}) || !r.Has(wire.KeyID{8}) {
		t.Error("not the keys that were put")
	}
}

// reference is a row in the encoding of package wire.
type reference struct {
	_          struct{} `cbor:",toarray"`
	ID         wire.KeyID
	Name       string
	Algorithm  string
	Settings   Settings
	Disabled   bool
	Created    int64
	Revocation wire.RevocationID
	Ordered    uint64
	LeaseEnds  int64
	Body       wire.Hash
	Versions   []referenceVersion
}

type referenceVersion struct {
	_                      struct{} `cbor:",toarray"`
	Number, RootGeneration uint64
	Segment                [16]byte
	ErasureEpoch           uint64
	VC                     wire.Hash
	Stored                 bool
	Revocation             wire.RevocationID
	State                  string
	Created, DestroyAt     int64
	ErasedIn, BornIn       uint64
}

// TestRowIsDeterministicCBOR compares rows with what package wire writes, at
// every length of a number.
func TestRowIsDeterministicCBOR(t *testing.T) {
	for shift := range 64 {
		k := filled(t, uint64(shift))
		k.Created, k.LeaseEnds, k.Ordered, k.Settings.Lease = int64(1)<<shift, -int64(1)<<shift, 1<<shift-1, 1<<shift
		k.Name = strings.Repeat("n", shift*8)
		ref := reference{
			ID: k.ID, Name: k.Name, Algorithm: k.Algorithm, Settings: k.Settings, Disabled: k.Disabled, Created: k.Created,
			Revocation: k.Revocation, Ordered: k.Ordered, LeaseEnds: k.LeaseEnds, Body: k.Body,
		}
		for _, v := range k.Versions {
			ref.Versions = append(ref.Versions, referenceVersion{
				Number: v.Number, RootGeneration: v.RootGeneration, Segment: v.Segment, ErasureEpoch: v.ErasureEpoch, VC: v.VC,
				Stored: v.Stored, Revocation: v.Revocation, State: v.State, Created: v.Created, DestroyAt: v.DestroyAt,
				ErasedIn: v.ErasedIn, BornIn: v.BornIn,
			})
		}
		if want := wire.Marshal(ref); pack(k) != string(want) {
			t.Fatalf("1<<%d:\n%x\n%x", shift, pack(k), want)
		}
	}
}

// TestKeysAreCopies: what a Ring gave out changes nothing in it, and the other
// way round.
func TestKeysAreCopies(t *testing.T) {
	r, k := New(), filled(t, 1)
	r.Put(k)
	old, other := r.Get(k.ID), r.Clone()
	k.Versions[0].State, k.Settings.Tags[0].Name, k.Disabled = "changed", "changed", false
	if !reflect.DeepEqual(r.Get(k.ID), old) {
		t.Error("a key that was put is still shared")
	}
	r.Put(k)
	if old.Versions[0].State == "changed" || reflect.DeepEqual(r.Get(k.ID), old) || !reflect.DeepEqual(other.Get(k.ID), old) {
		t.Error("a change did not come in, or reached an older copy")
	}
}

// some is a Ring of n keys of 0 to 3 versions.
func some(n int) *Ring {
	r := New()
	for i := range n {
		k := Key{ID: wire.KeyID{byte(i), byte(i >> 8), 1}, Name: fmt.Sprintf("key/%d", i), Algorithm: AES256, Ordered: uint64(i)}
		for v := range i % 4 {
			k.Versions = append(k.Versions, Version{KeyVersion: KeyVersion{ID: k.ID, Number: uint64(v + 1)}, State: wire.StateActive})
		}
		if i%3 == 0 {
			k.Settings.Tags = []Tag{{Name: "a", Value: "b"}}
		}
		r.Put(&k)
	}
	return r
}

func TestScanShowsWhatAllDoes(t *testing.T) {
	r := some(500)
	all := slices.Collect(r.All())
	if len(all) != 500 || !slices.IsSortedFunc(all, func(a, b *Key) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("%d keys, or out of order", len(all))
	}
	seen := map[string]bool{}
	for k := range r.Scan() {
		want := r.Get(k.ID)
		seen[k.Name] = slices.Equal(k.Versions, want.Versions) && slices.Equal(k.Settings.Tags, want.Settings.Tags) && k.Ordered == want.Ordered
		if !seen[k.Name] {
			t.Fatalf("a scan shows %+v, the key is %+v", k, want)
		}
	}
	if len(seen) != 500 {
		t.Errorf("a scan of %d keys", len(seen))
	}
	if n := testing.AllocsPerRun(5, func() {
		for range r.Scan() {
		}
	}); n > 10 {
		t.Errorf("a scan of 500 keys takes %v allocations", n)
	}
	for range r.All() {
		break
	}
	for range r.Scan() {
		break
	}
}

func TestUpdate(t *testing.T) {
	r := some(100)
	r.Update(func(k *Key) bool {
		k.Disabled = true
		return k.Ordered%2 == 0
	})
	for k := range r.All() {
		if k.Disabled != (k.Ordered%2 == 0) {
			t.Errorf("%s is disabled: %t", k.Name, k.Disabled)
		}
	}
}

func TestRowsComeBack(t *testing.T) {
	r := some(300)
	rows := r.Rows()
	rand.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	back, parts := New(), 0
	var all, again []byte
	for part := range rows.Parts(1000) {
		split, err := Split(part)
		if err != nil || back.Add(split) != nil {
			t.Fatal(err)
		}
		all = append(all, part...)
		parts++
	}
	if !reflect.DeepEqual(back, r) || parts < len(all)/2000 || parts > len(all)/1000+1 {
		t.Errorf("not the same keys, or in %d parts of %d bytes", parts, len(all))
	}
	for part := range r.Rows().Parts(1 << 20) {
		again = append(again, part...)
	}
	if !bytes.Equal(all, again) {
		t.Error("the order of rows depends on where they were")
	}
}

func TestBadRowsAreRefused(t *testing.T) {
	a, b := Key{ID: wire.KeyID{1}, Name: "a"}, Key{ID: wire.KeyID{2}, Name: "b", Versions: []Version{{State: "x"}}}
	good := Rows{pack(&a), pack(&b)}.join()
	for n := range good {
		if _, err := Split(good[:n]); err == nil && n != 0 && n != len(pack(&a)) {
			t.Errorf("cut to %d bytes", n)
		}
	}
	sameName, sameID := a, a
	sameName.ID, sameID.Name = wire.KeyID{3}, "c"
	for what, other := range map[string]Key{"name": sameName, "id": sameID} {
		rows, err := Split(Rows{pack(&a), pack(&other)}.join())
		if err != nil || !errors.Is(New().Add(rows), wire.ErrMalformed) {
			t.Errorf("two keys of one %s: %v", what, err)
		}
	}
	for what, edit := range map[string]func(string) string{
		"a longer number": func(s string) string { return strings.Replace(s, "\x61a", "\x78\x01a", 1) },
		"no array":        func(s string) string { return "\x9f" + s[1:] },
		"a truth of null": func(s string) string { return strings.Replace(s, "\xf4", "\xf6", 1) },
		"no UTF-8":        func(s string) string { return strings.Replace(s, "\x61a", "\x61\xff", 1) },
		"a huge list":     func(s string) string { return s[:len(s)-1] + "\x9b\x00\xff\xff\xff\xff\xff\xff\xff" },
	} {
		row := edit(pack(&a))
		if _, err := Split([]byte(row)); row == pack(&a) || !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// FuzzSplit: what is taken is what would be written, and nothing panics.
func FuzzSplit(f *testing.F) {
	f.Add([]byte{})
	rows := some(9).Rows()
	f.Add(rows.join())
	for _, row := range rows {
		f.Add([]byte(row))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		split, err := Split(data)
		if err != nil {
			return
		}
		var again []byte
		for _, row := range split {
			var k Key
			unpack(row.data, &k)
			again = append(again, pack(&k)...)
		}
		if !bytes.Equal(again, data) {
			t.Errorf("took\n%x\nand writes\n%x", data, again)
		}
	})
}

func BenchmarkRing(b *testing.B) {
	k := Key{
		Name: "payments/cards/1234", Algorithm: AES256, Settings: Settings{Lease: DefaultLease, Staleness: DefaultStaleness},
		Created: 1 << 40, Ordered: 1, Versions: []Version{{KeyVersion: KeyVersion{Number: 1, RootGeneration: 1}, State: wire.StateActive, Created: 1 << 40}},
	}
	r := New()
	r.Put(&k)
	b.ReportMetric(float64(len(pack(&k))), "B/row")
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Get(k.ID)
		}
	})
	b.Run("put", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Put(&k)
		}
	})
	b.Run("scan", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for range r.Scan() {
			}
		}
	})
}

// TestLongestLease: what is kept as keys come and change is what all the keys say,
// in a clone and in a ring of a snapshot too.
func TestLongestLease(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	r, now := New(), int64(1_000_000_000)
	for i := range 400 {
		k := r.Get(wire.KeyID{byte(rng.IntN(20))})
		if k == nil {
			k = filled(t, uint64(i)*1000)
			k.ID, k.Name, k.LeaseEnds = wire.KeyID{byte(rng.IntN(20))}, fmt.Sprint(i), 0
			if have := r.Get(k.ID); have != nil {
				k.Name = have.Name
			}
		} else {
			k.LeaseEnds = max(k.LeaseEnds, now+int64(k.Settings.Lease)*1000)
		}
		k.Settings.Lease = uint64(rng.IntN(6) * DefaultLease / 2)
		r.Put(k)
		now += int64(rng.IntN(DefaultLease * 1000))
		var joined []byte
		for part := range r.Rows().Parts(1000) {
			joined = append(joined, part...)
		}
		rows, err := Split(joined)
		again := New()
		if err = errors.Join(err, again.Add(rows)); err != nil {
			t.Fatal(err)
		}
		for _, at := range []int64{now, now + 3*DefaultLease*1000} {
			want := uint64(DefaultLease)
			for k := range r.Scan() {
				want = max(want, k.LeaseOut(at))
			}
			for _, ring := range []*Ring{r, r.Clone(), again} {
				if got := ring.LongestLease(at); got != want {
					t.Fatalf("after %d changes: %d, the keys say %d", i, got, want)
				}
			}
		}
	}
}
