// SPDX-License-Identifier: Apache-2.0

package change

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"claviger/internal/authority"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// kinds lists every kind that people sign.
func kinds() []string {
	var out []string
	for kind, rule := range authority.Table() {
		if rule.People() {
			out = append(out, kind)
		}
	}
	slices.Sort(out)
	return out
}

// TestEveryFieldIsShown changes each field of each payload that people sign, and
// expects to see it: nothing is signed that was not shown.
func TestEveryFieldIsShown(t *testing.T) {
	state := &authority.State{Members: &members.State{}, Policy: &authority.PolicySet{}}
	show := func(kind string, p any) string {
		t.Helper()
		body := wire.Body{Type: wire.TypeBody, Kind: kind, ID: wire.BodyID{1}, Expires: 1, Payload: wire.Marshal(p)}
		c, err := Describe(state, &body)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		return c.Summary + "\n" + strings.Join(c.Lines, "\n")
	}
	for _, kind := range kinds() {
		p := newPayload(kind)
		if p == nil {
			t.Errorf("%s is signed by people and can't be shown", kind)
			continue
		}
		fill(reflect.ValueOf(p).Elem(), 1)
		before := show(kind, p)
		eachField(reflect.ValueOf(p).Elem(), kind, func(path string, field reflect.Value) {
			old := reflect.New(field.Type()).Elem()
			old.Set(field)
			fill(field, 2)
			if reflect.DeepEqual(old.Interface(), field.Interface()) {
				t.Fatalf("%s: nothing was changed", path)
			}
			if show(kind, p) == before {
				t.Errorf("%s can change unseen", path)
			}
			field.Set(old)
		})
	}
}

// fill gives a value something that depends on n.
func fill(v reflect.Value, n int) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(strings.Repeat("x", n))
	case reflect.Bool:
		v.SetBool(n == 1)
	case reflect.Uint64:
		v.SetUint(uint64(n))
	case reflect.Int64:
		v.SetInt(int64(n))
	case reflect.Uint8:
		v.SetUint(uint64(n))
	case reflect.Array:
		fill(v.Index(v.Len()-1), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), n)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "_" {
				fill(v.Field(i), n)
			}
		}
	}
}

// eachField calls f for every field that holds a plain value.
func eachField(v reflect.Value, path string, f func(string, reflect.Value)) {
	switch {
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "_" {
				eachField(v.Field(i), path+"."+name, f)
			}
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8:
		eachField(v.Index(0), path+"[0]", f)
	default:
		f(path, v)
	}
}

// TestTextsStayOnTheirLine: what a proposer wrote can't pass for another line of
// the rendering, or hide behind what a terminal does not show.
func TestTextsStayOnTheirLine(t *testing.T) {
	for _, text := range []string{"fine\n+ threshold: 1", "\u202etxet", "a\x1b[2K", "\xff", "\"a\\n\""} {
		body := wire.Body{
			Type: wire.TypeBody, Kind: authority.KindKeyDisable, ID: wire.BodyID{1}, Expires: 1,
			Payload: wire.Marshal(authority.KeyRef{Reason: strings.ToValidUTF8(text, "\ufffd")}),
		}
		c, err := DescribeAlone(&body)
		if err != nil {
			t.Fatal(err)
		}
		last := c.Lines[len(c.Lines)-1]
		if len(c.Lines) != 2 || !strings.HasPrefix(last, `+ reason: "`) || strings.ContainsAny(last, "\n\x1b\u202e") {
			t.Errorf("%q is shown as %q", text, c.Lines)
		}
	}
}

func FuzzDescribe(f *testing.F) {
	for _, kind := range kinds() {
		p := newPayload(kind)
		fill(reflect.ValueOf(p).Elem(), 1)
		f.Add(kind, wire.Marshal(p))
	}
	f.Fuzz(func(t *testing.T, kind string, payload []byte) {
		c, err := DescribeAlone(&wire.Body{Kind: kind, Payload: payload})
		if err != nil {
			return
		}
		for _, line := range append(c.Lines, c.Summary) {
			if strings.ContainsAny(line, "\n\x1b") {
				t.Errorf("%q", line)
			}
		}
	})
}
