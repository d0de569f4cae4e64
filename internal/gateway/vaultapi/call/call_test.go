// SPDX-License-Identifier: Apache-2.0

package call

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"claviger/internal/gateway"
	"claviger/internal/keyserver"
)

func TestMembers(t *testing.T) {
	type body struct {
		B Bytes
		N Int
		O Bool
		D Seconds
	}
	for _, tc := range []struct {
		text string
		ok   bool
		want string
		n    int64
		o    bool
		d    time.Duration
	}{
		{text: `{}`, ok: true},
		{text: `{"b":null,"n":null,"o":null,"d":null}`, ok: true},
		{text: `{"b":"aGk=","n":7,"o":true,"d":90}`, ok: true, want: "hi", n: 7, o: true, d: 90 * time.Second},
		{text: `{"b":"\u0061Gk=","n":"7","o":"true","d":"90"}`, ok: true, want: "hi", n: 7, o: true, d: 90 * time.Second},
		{text: `{"d":"1h30m"}`, ok: true, d: 90 * time.Minute},
		{text: `{"d":""}`, ok: true},
		{text: `{"d":"-1s"}`}, {text: `{"d":-1}`}, {text: `{"d":1e3}`}, {text: `{"d":[]}`}, {text: `{"d":99999999999}`}, {text: `{"d":true}`},
		{text: `{"b":7}`}, {text: `{"b":[]}`}, {text: `{"b":{}}`}, {text: `{"b":true}`},
		{text: `{"n":"x"}`}, {text: `{"n":1.5}`}, {text: `{"n":{}}`}, {text: `{"n":true}`}, {text: `{"n":99999999999999999999}`},
		{text: `{"o":1}`}, {text: `{"o":"yes"}`}, {text: `{"o":[]}`},
	} {
		var v body
		err := json.Unmarshal([]byte(tc.text), &v)
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.text, err)
			continue
		}
		if tc.ok && (string(v.B.Value) != tc.want || v.N.Value != tc.n || v.O.Value != tc.o || v.D.Value != tc.d) {
			t.Errorf("%s: %+v", tc.text, v)
		}
	}
	var v body
	if err := json.Unmarshal([]byte(`{"b":"!"}`), &v); err != nil || v.B.Fault == nil || v.B.Fault.Error() != "illegal base64 data at input byte 0" {
		t.Fatalf("%v, %v", err, v.B.Fault)
	}
}

func FuzzMembers(f *testing.F) {
	f.Add([]byte(`{"b":"aGk=","n":"7","o":true,"d":"1h"}`))
	f.Add([]byte(`{"b":"\/\/8=","d":""}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var v struct {
			B Bytes
			N Int
			O Bool
			D Seconds
		}
		if json.Unmarshal(data, &v) == nil && (v.D.Value < 0 || v.B.Fault != nil && v.B.Value != nil) {
			t.Fatalf("%+v", v)
		}
		v.B.Wipe()
	})
}

func TestReply(t *testing.T) {
	for _, tc := range []struct {
		reply *Reply
		want  map[string]any // nil: 204
	}{
		{nil, nil},
		{&Reply{}, nil},
		{&Reply{Data: map[string]any{"a": 1}}, map[string]any{"data": map[string]any{"a": 1.0}, "auth": nil}},
		{&Reply{Raw: json.RawMessage(`{"s":"t"}`), Secret: true}, map[string]any{"data": map[string]any{"s": "t"}}},
		{&Reply{Auth: map[string]any{"client_token": "x"}}, map[string]any{"data": nil, "auth": map[string]any{"client_token": "x"}}},
		{&Reply{Data: 1, Top: map[string]any{"capabilities": []string{"x"}}}, map[string]any{"capabilities": []any{"x"}}},
		{&Reply{Data: 1, Warnings: []string{`"data":`}}, map[string]any{"warnings": []any{`"data":`}, "data": 1.0}},
		{&Reply{Bare: map[string]any{"sealed": true}}, map[string]any{"sealed": true}},
	} {
		got, err := tc.reply.Response()
		if err != nil {
			t.Fatal(err)
		}
		if tc.want == nil {
			if got.Status != http.StatusNoContent || got.Body != nil {
				t.Errorf("%+v", got)
			}
			continue
		}
		var have map[string]any
		if err := json.Unmarshal(got.Body, &have); err != nil {
			t.Fatalf("%s: %v", got.Body, err)
		}
		for name, want := range tc.want {
			a, _ := json.Marshal(want)
			if b, _ := json.Marshal(have[name]); string(a) != string(b) {
				t.Errorf("%s is %s, want %s", name, b, a)
			}
		}
		if tc.reply.Bare == nil {
			for _, name := range []string{"request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth"} {
				if _, ok := have[name]; !ok {
					t.Errorf("no %s", name)
				}
			}
		}
	}
}

func TestFailNeverQuotesInnerErrors(t *testing.T) {
	const canary = "canary-of-an-inner-error"
	inner := errors.New(canary)
	for _, tc := range []struct {
		err    error
		status int
	}{
		{errors.Join(gateway.ErrBody, inner), 400},
		{errors.Join(keyserver.ErrMalformed, inner), 400},
		{errors.Join(keyserver.ErrUnproved, inner), 403},
		{&keyserver.Denial{Reason: canary}, 403},
		{&keyserver.Denial{Reason: canary, Cause: keyserver.CauseDisabled}, 400},
		{errors.Join(gateway.ErrTooLarge, inner), 413},
		{errors.Join(gateway.ErrMethod, inner), 405},
		{errors.Join(gateway.ErrNotFound, inner), 404},
		{errors.Join(gateway.ErrRate, inner), 429},
		{errors.Join(keyserver.ErrSealed, inner), 503},
		{errors.Join(keyserver.ErrUnavailable, inner), 500},
		{inner, 500},
		{Bad("own words").Because(errors.Join(keyserver.ErrRefused, inner)), 400},
	} {
		w := httptest.NewRecorder()
		Fail(w, tc.err)
		if w.Code != tc.status || strings.Contains(w.Body.String(), canary) || !strings.HasPrefix(w.Body.String(), `{"errors":[`) {
			t.Errorf("%v: %d %s", tc.err, w.Code, w.Body)
		}
	}
	w := httptest.NewRecorder()
	if Fail(w, Missing()); w.Body.String() != "{\"errors\":[]}\n" || w.Code != 404 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestTokenOf(t *testing.T) {
	for _, tc := range []struct {
		header http.Header
		want   string
	}{
		{http.Header{}, ""},
		{http.Header{"X-Vault-Token": {"a"}}, "a"},
		{http.Header{"Authorization": {"Bearer a"}}, "a"},
		{http.Header{"Authorization": {"bearer  a"}}, "a"},
		{http.Header{"Authorization": {"Basic a"}}, ""},
		{http.Header{"X-Vault-Token": {"a"}, "Authorization": {"Bearer a"}}, "a"},
		{http.Header{"X-Vault-Token": {"a"}, "Authorization": {"Bearer b"}}, ""},
		{http.Header{"X-Vault-Token": {"a", "b"}}, ""},
	} {
		if got := TokenOf(&http.Request{Header: tc.header}); got != tc.want {
			t.Errorf("%v: %q", tc.header, got)
		}
	}
}
