// SPDX-License-Identifier: Apache-2.0

package kv_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/gateway/gatewaytest"
)

// answer is one row of testdata/answers.json: a request, and what Vault's API answers.
type answer struct {
	Name   string
	Method string
	Path   string
	Type   string          // of the body; "" is JSON
	Body   json.RawMessage // a text is sent as it is
	Status int
	Want   json.RawMessage // none: no body. "<time>" and "<uuid>" stand for any
}

// same compares an answer with what is wanted, and says where they differ.
func same(have, want any, at string) string {
	switch want := want.(type) {
	case string:
		text, ok := have.(string)
		_, notTime := time.Parse(time.RFC3339Nano, text)
		switch {
		case ok && text == want, want == "<time>" && notTime == nil && text[len(text)-1] == 'Z':
			return ""
		case want == "<uuid>" && regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(text):
			return ""
		}
	case map[string]any:
		m, ok := have.(map[string]any)
		if !ok || !slices.Equal(slices.Sorted(maps.Keys(m)), slices.Sorted(maps.Keys(want))) {
			break
		}
		for name := range want {
			if diff := same(m[name], want[name], at+"."+name); diff != "" {
				return diff
			}
		}
		return ""
	case []any:
		l, ok := have.([]any)
		if !ok || len(l) != len(want) {
			break
		}
		for i := range want {
			if diff := same(l[i], want[i], fmt.Sprintf("%s[%d]", at, i)); diff != "" {
				return diff
			}
		}
		return ""
	default:
		if have == want {
			return ""
		}
	}
	return fmt.Sprintf("%s is %v, want %v", at, have, want)
}

func (a *answer) check(reply gatewaytest.Reply) error {
	if reply.Status != a.Status {
		return fmt.Errorf("%d %s; want %d", reply.Status, reply.Body, a.Status)
	}
	if a.Want == nil {
		if len(reply.Body) > 0 {
			return fmt.Errorf("a body: %s", reply.Body)
		}
		return nil
	}
	if reply.Header.Get("Content-Type") != "application/json" || reply.Header.Get("Cache-Control") != "no-store" {
		return fmt.Errorf("headers %v", reply.Header)
	}
	var have, want any
	if err := json.Unmarshal(reply.Body, &have); err != nil {
		return fmt.Errorf("%s: %w", reply.Body, err)
	}
	if err := json.Unmarshal(a.Want, &want); err != nil {
		return err
	}
	if diff := same(have, want, ""); diff != "" {
		return fmt.Errorf("%s: %s", diff, reply.Body)
	}
	return nil
}

// TestAnswers makes the requests of testdata/answers.json in order, on a mount of
// their own, and compares status, headers and every member of the answers.
func TestAnswers(t *testing.T) {
	text, err := os.ReadFile("testdata/answers.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []answer
	if err := json.Unmarshal(text, &rows); err != nil {
		t.Fatal(err)
	}
	s := suite()
	s.Endpoint.Name = "door"
	s.Endpoint.Kind = s.Kind.Name
	s.After = func(r *gatewaytest.Rig) {
		r.CreateKey("secrets/app", authority.AES256)
		r.Allow(`permit(principal in Endpoint::"door", action in [Action::"secret:read", Action::"secret:write"], resource in Folder::"secrets");`)
	}
	r := gatewaytest.New(t, &s)
	for _, row := range rows {
		body := []byte(row.Body)
		var plain string
		if json.Unmarshal(body, &plain) == nil {
			body = []byte(plain)
		}
		req := gatewaytest.Request{Method: row.Method, Path: "/v1/secret/" + row.Path, Body: body, Header: http.Header{}}
		if row.Type != "" {
			req.Header.Set("Content-Type", row.Type)
		}
		if err := row.check(r.Call(&gatewaytest.Case{Route: row.Name}, req)); err != nil {
			t.Errorf("%s (%s %s): %v", row.Name, row.Method, row.Path, err)
		}
	}
	t.Logf("%d answers compared", len(rows))
}
