// SPDX-License-Identifier: Apache-2.0

package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"claviger/internal/wire"
)

// start is when tests begin.
func start() time.Time { return time.UnixMilli(1_800_000_000_000) }

// with is a document with n versions, a second apart, data {"v":N}.
func with(t *testing.T, n int) *Document {
	t.Helper()
	d := New(start())
	for i := range n {
		if _, err := d.Put(start().Add(time.Duration(i)*time.Second), fmt.Appendf(nil, `{"v":%d}`, i+1), nil, Settings{}); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func pointer[T any](v T) *T { return &v }

func TestVersionsAndWhatIsKept(t *testing.T) {
	d := with(t, 12)
	if d.Current != 12 || len(d.Versions) != DefaultVersions || d.Oldest() != 3 || d.Find(2) != nil || string(d.Find(3).Data) != `{"v":3}` {
		t.Errorf("%d versions, oldest %d", len(d.Versions), d.Oldest())
	}
	if d.Find(0) != d.Find(12) || d.Find(13) != nil || with(t, 1).Oldest() != 0 || New(start()).Find(0) != nil {
		t.Error("the newest version is not found")
	}
	dropped := d.Find(3).Data
	if _, err := d.Put(start(), []byte(`{ "v" : 13 }`), nil, Settings{MaxVersions: 4}); err != nil || len(d.Versions) != 4 || d.Oldest() != 10 {
		t.Errorf("the folder's number: %v, %d", err, len(d.Versions))
	}
	if !bytes.Equal(dropped, make([]byte, len(dropped))) {
		t.Error("data of a dropped version stays in memory")
	}
	if string(d.Find(0).Data) != `{"v":13}` {
		t.Errorf("not compact: %s", d.Find(0).Data)
	}
	d.Settings.MaxVersions = 2
	if _, err := d.Put(start(), []byte(`{}`), nil, Settings{MaxVersions: 4}); err != nil || len(d.Versions) != 2 {
		t.Errorf("the secret's own number: %v, %d", err, len(d.Versions))
	}
}

func TestCheckAndSet(t *testing.T) {
	for _, c := range []struct {
		have   int
		cas    CAS
		folder bool
		own    bool
		want   error
	}{
		{0, nil, false, false, nil}, {0, pointer(uint64(0)), true, false, nil}, {0, pointer(uint64(1)), false, false, ErrMismatch},
		{2, pointer(uint64(2)), true, true, nil}, {2, pointer(uint64(0)), false, false, ErrMismatch}, {2, pointer(uint64(1)), false, false, ErrMismatch},
		{2, nil, true, false, ErrCASRequired}, {2, nil, false, true, ErrCASRequired},
	} {
		for name, do := range map[string]func(*Document) error{
			"put": func(d *Document) error {
				_, err := d.Put(start(), []byte(`{}`), c.cas, Settings{CASRequired: c.folder})
				return err
			},
			"patch": func(d *Document) error {
				_, err := d.Patch(start(), []byte(`{}`), c.cas, Settings{CASRequired: c.folder})
				return err
			},
		} {
			d := with(t, c.have)
			d.Settings.CASRequired = c.own
			want := c.want
			if name == "patch" && c.have == 0 {
				want = ErrNoVersion
			}
			if err := do(d); !errors.Is(err, want) {
				t.Errorf("%s on %d with %v: %v, want %v", name, c.have, c.cas, err, want)
			}
			if want != nil && d.Current != uint64(c.have) {
				t.Errorf("%s was refused, and changed the secret", name)
			}
		}
	}
}

func TestDeleteUndeleteDestroy(t *testing.T) {
	d, at := with(t, 3), start().Add(time.Minute)
	ms := at.UnixMilli()
	d.Delete(at, nil)
	d.Delete(at, []uint64{1, 99})
	if d.Find(3).Live(ms) || d.Find(1).Live(ms) || !d.Find(2).Live(ms) || d.Find(3).Data == nil {
		t.Error("not what was deleted is deleted")
	}
	if _, err := d.Patch(at, []byte(`{"a":1}`), nil, Settings{}); !errors.Is(err, ErrNoVersion) {
		t.Errorf("a deleted version is patched: %v", err)
	}
	d.Delete(at.Add(time.Hour), []uint64{1})
	if d.Find(1).Deletes != ms {
		t.Error("a second deletion moves the first")
	}
	d.Undelete(at, []uint64{1, 3}, Settings{})
	if !d.Find(3).Live(ms) || !d.Find(1).Live(ms) || d.Find(1).Deletes != 0 {
		t.Error("not what was undeleted is back")
	}
	data := d.Find(2).Data
	d.Destroy([]uint64{2})
	d.Undelete(at, []uint64{2}, Settings{})
	if v := d.Find(2); v.Live(ms) || !v.Destroyed || v.Data != nil || !bytes.Equal(data, make([]byte, len(data))) {
		t.Errorf("destroyed: %+v, memory %q", v, data)
	}
	if encoded, err := d.Encode(); err != nil || bytes.Contains(encoded, []byte(`{"v":2}`)) || !bytes.Contains(encoded, []byte(`{"v":1}`)) {
		t.Errorf("destroyed data is in the document: %v", err)
	}
}

func TestDeleteAfter(t *testing.T) {
	for _, c := range []struct{ folder, own, want int64 }{
		{0, 0, 0}, {60, 0, 60}, {0, 90, 90}, {60, 90, 60}, {90, 60, 60}, {-1, 60, 0}, {-1, 0, 0},
	} {
		d := New(start())
		d.Settings.DeleteAfter = c.own
		folder := Settings{DeleteAfter: c.folder}
		v, err := d.Put(start(), []byte(`{}`), nil, folder)
		if err != nil {
			t.Fatal(err)
		}
		want := int64(0)
		if c.want > 0 {
			want = start().UnixMilli() + c.want*1000
		}
		if v.Deletes != want || !v.Live(start().UnixMilli()) || want != 0 && v.Live(want) {
			t.Errorf("folder %d, own %d: %d, want %d", c.folder, c.own, v.Deletes, want)
		}
		d.Delete(start(), nil)
		if d.Undelete(start(), nil, folder); d.Find(1).Deletes != want {
			t.Errorf("undeleted: %d, want %d", d.Find(1).Deletes, want)
		}
	}
}

func TestConfigure(t *testing.T) {
	d := with(t, 1)
	one := []Tag{{Name: "b", Value: "2"}, {Name: "a", Value: "1"}}
	ok := []Change{
		{MaxVersions: pointer(uint64(5)), CASRequired: pointer(true), DeleteAfter: pointer(int64(60)), Tags: &one},
		{Retag: map[string]*string{"a": nil, "b": pointer("3"), "c": pointer("4")}},
		{DeleteAfter: pointer(int64(0))}, {},
	}
	for i, c := range ok {
		if err := d.Configure(c); err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	want := []Tag{{Name: "b", Value: "3"}, {Name: "c", Value: "4"}}
	if !reflect.DeepEqual(d.Tags, want) || d.Settings != (Settings{MaxVersions: 5, CASRequired: true}) {
		t.Errorf("%+v %+v", d.Tags, d.Settings)
	}
	many := make([]Tag, MaxTags+1)
	for i := range many {
		many[i] = Tag{Name: fmt.Sprint("n", i), Value: "v"}
	}
	for name, tags := range map[string][]Tag{
		"too many": many, "no name": {{Name: "", Value: "v"}}, "no value": {{Name: "n"}}, "twice": {{Name: "a", Value: "1"}, {Name: "a", Value: "2"}},
		"long name": {{Name: strings.Repeat("n", 129), Value: "v"}}, "long value": {{Name: "n", Value: strings.Repeat("v", 513)}},
		"unprintable": {{Name: "n\x1b", Value: "v"}}, "unprintable value": {{Name: "n", Value: "\u202e"}}, "no text": {{Name: "n", Value: "\xff"}},
	} {
		if err := d.Configure(Change{Tags: &tags}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]Change{
		"versions": {MaxVersions: pointer(uint64(MaxVersions + 1))}, "long": {DeleteAfter: pointer(int64(maxAfter + 1))}, "negative": {DeleteAfter: pointer(int64(-2))},
	} {
		if err := d.Configure(c); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !reflect.DeepEqual(d.Tags, want) {
		t.Error("what was refused has changed it")
	}
}

func TestEncodeDecode(t *testing.T) {
	d := with(t, 5)
	d.Destroy([]uint64{2})
	if err := d.Configure(Change{Tags: &[]Tag{{Name: "a", Value: "b"}}}); err != nil {
		t.Fatal(err)
	}
	data, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := got.Encode(); err != nil || !bytes.Equal(again, data) {
		t.Errorf("it comes back otherwise: %v", err)
	}
	bad := map[string]func(*Document){
		"out of order": func(d *Document) { d.Versions[0], d.Versions[1] = d.Versions[1], d.Versions[0] },
		"twice":        func(d *Document) { d.Versions[1].Number = 1 }, "ahead": func(d *Document) { d.Current = 4 },
		"zero": func(d *Document) { d.Versions[0].Number = 0 }, "another shape": func(d *Document) { d.Shape = 2 },
		"destroyed with data": func(d *Document) { d.Versions[0].Destroyed = true },
	}
	for name, spoil := range bad {
		d := with(t, 3)
		spoil(d)
		if _, err := Decode(wire.Marshal(d)); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	held := d.Versions[0].Data
	if d.Wipe(); !bytes.Equal(held, make([]byte, len(held))) {
		t.Error("data stays in memory")
	}
}

func TestBounds(t *testing.T) {
	d := New(start())
	data := []byte(`{"a":"` + strings.Repeat("x", MaxData-8) + `"}`)
	for i := range 7 {
		_, err := d.Put(start(), data, nil, Settings{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Encode(); (err == nil) != (i < 5) || err != nil && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d versions: %v", i+1, err)
		}
	}
	for name, in := range map[string]string{
		"large": `{"a":"` + strings.Repeat("x", MaxData) + `"}`, "no object": `["a"]`, "none": ``, "text": `"a"`, "twice": `{"a":1,"a":2}`,
		"deeper": strings.Repeat(`{"a":`, 20) + "1" + strings.Repeat("}", 20), "more": `{} {}`, "no text": "{\"a\":\"\xff\"}", "half": `{"a":`,
	} {
		want := ErrInvalid
		if name == "large" {
			want = ErrTooLarge
		}
		if _, err := d.Put(start(), []byte(in), nil, Settings{}); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "xx") {
			t.Errorf("%s: the error has data in it", name)
		}
	}
	grown := New(start())
	if _, err := grown.Put(start(), []byte(`{"a":"`+strings.Repeat("x", MaxData/2)+`"}`), nil, Settings{}); err != nil {
		t.Fatal(err)
	}
	if _, err := grown.Patch(start(), []byte(`{"b":"`+strings.Repeat("x", MaxData/2)+`"}`), nil, Settings{}); !errors.Is(err, ErrTooLarge) || grown.Current != 1 {
		t.Errorf("a patch beyond the bound: %v", err)
	}
}
