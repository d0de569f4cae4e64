// SPDX-License-Identifier: Apache-2.0

package vaultapi

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/gateway/gatewaytest"
)

// row is one request and the answer that Vault's clients know. A text "$name" is what
// an earlier row saved; "<…>" in an answer stands for what can't be known before.
type row struct {
	Name, As, Method, Path, Wrap string
	Body                         any
	Status                       int // 0: 200
	Data, Auth, Top, Bare        any
	Errors                       []string
	Warnings                     []string
	Save                         map[string]string
}

// want is the whole answer; false for none.
func (w *row) want() (any, bool) {
	switch {
	case w.Errors != nil:
		list := make([]any, len(w.Errors))
		for i, e := range w.Errors {
			list[i] = e
		}
		return map[string]any{"errors": list}, true
	case w.Bare != nil:
		return w.Bare, true
	case w.Data == nil && w.Auth == nil:
		return nil, false
	}
	out := map[string]any{
		"request_id": "<uuid>", "lease_id": "", "renewable": false, "lease_duration": 0.0, "data": w.Data, "wrap_info": nil, "warnings": nil, "auth": w.Auth,
	}
	if w.Warnings != nil {
		list := make([]any, len(w.Warnings))
		for i, text := range w.Warnings {
			list[i] = text
		}
		out["warnings"] = list
	}
	if top, ok := w.Top.(map[string]any); ok {
		maps.Copy(out, top)
	}
	return out, true
}

// same compares an answer with what is wanted of it; extra members are a difference
// unless loose.
func same(want, have any, saved map[string]string, loose bool) error {
	switch want := want.(type) {
	case string:
		return sameText(want, have, saved)
	case map[string]any:
		m, ok := have.(map[string]any)
		if !ok || len(m) != len(want) && !loose {
			return fmt.Errorf("%v instead of %v", have, want)
		}
		for name, w := range want {
			h, there := m[name]
			if !there {
				return fmt.Errorf("no %s", name)
			}
			if err := same(w, h, saved, loose); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	case []any:
		list, ok := have.([]any)
		if !ok || len(list) != len(want) {
			return fmt.Errorf("%v instead of %v", have, want)
		}
		for i := range want {
			if err := same(want[i], list[i], saved, loose); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return nil
	}
	if !reflect.DeepEqual(want, have) {
		return fmt.Errorf("%v instead of %v", have, want)
	}
	return nil
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func sameText(want string, have any, saved map[string]string) error {
	if !strings.HasPrefix(want, "<") {
		if filled(want, saved) != have {
			return fmt.Errorf("%q instead of %q", have, want)
		}
		return nil
	}
	text, _ := have.(string)
	number, isNumber := have.(float64)
	ok := false
	switch kind, arg, _ := strings.Cut(strings.Trim(want, "<>"), ":"); kind {
	case "any":
		ok = have != nil
	case "number":
		ok = isNumber && number > 0
	case "unix":
		ok = isNumber && number > 1.7e9 && number < 5e9
	case "time":
		_, err := time.Parse(time.RFC3339Nano, text)
		ok = err == nil
	case "uuid":
		ok = uuid.MatchString(text)
	case "token":
		ok = strings.HasPrefix(text, "cvt.")
	case "vault":
		ok = strings.HasPrefix(text, "vault:"+arg) && len(text) > len("vault:"+arg)
	case "b64":
		data, err := base64.StdEncoding.DecodeString(text)
		ok = err == nil && fmt.Sprint(len(data)) == arg
	}
	if !ok {
		return fmt.Errorf("%v is no %s", have, want)
	}
	return nil
}

// filled puts in what was saved.
func filled(s string, saved map[string]string) string {
	if name, ok := strings.CutPrefix(s, "$"); ok {
		return saved[name]
	}
	return s
}

func fill(v any, saved map[string]string) any {
	switch v := v.(type) {
	case string:
		return filled(v, saved)
	case map[string]any:
		out := map[string]any{}
		for name, inner := range v {
			out[name] = fill(inner, saved)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = fill(v[i], saved)
		}
		return out
	}
	return v
}

const answersPolicy = `permit(principal in Endpoint::"door", action, resource);
forbid(principal, action == Action::"key:create", resource == Key::"apps/fixed-none");
forbid(principal, action, resource == Key::"apps/secret-k");`

// TestAnswers: every status, shape and text that is known of Vault's API, transit,
// auth and sys; those of key-value secrets are in package kv.
func TestAnswers(t *testing.T) {
	text, err := os.ReadFile("testdata/answers.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	if err := json.Unmarshal(text, &rows); err != nil {
		t.Fatal(err)
	}
	k := &client{}
	s := k.suite()
	s.Endpoint.Name, s.Endpoint.Kind, s.Cases, s.After = "door", name, nil, nil
	s.Endpoint.Options = append([]authority.Tag{gatewaytest.Tag("kv.secret", "secrets/app")}, s.Endpoint.Options...)
	r := gatewaytest.New(t, &s)
	r.CreateKey("apps/tenant-a", authority.AES256)
	r.Allow(answersPolicy)
	saved := map[string]string{"token": k.token, "role": k.role.Credential.ID, "secret": k.shown, "stranger": "cvt.AAAA", "nobody": ""}
	// The suite signs what has no token: a row of nobody's takes it away again.
	strip := ""
	sign := s.Sign
	s.Sign = func(r *gatewaytest.Rig, req *http.Request, body []byte) {
		if sign(r, req, body); strip == "nobody" {
			req.Header.Del("X-Vault-Token")
		}
	}
	for _, w := range rows {
		t.Run(w.Name, func(t *testing.T) {
			var body []byte
			if w.Body != nil {
				body, _ = json.Marshal(fill(w.Body, saved))
			}
			req := gatewaytest.Request{Method: w.Method, Path: "/v1/" + w.Path, Body: body, Header: http.Header{}}
			if strip = w.As; w.As != "" && w.As != "nobody" {
				req.Header.Set("X-Vault-Token", saved[w.As])
			}
			if w.Wrap != "" {
				req.Header.Set("X-Vault-Wrap-TTL", w.Wrap)
			}
			reply := r.Call(&gatewaytest.Case{Route: w.Name}, req)
			status := w.Status
			if status == 0 {
				status = http.StatusOK
			}
			if reply.Status != status {
				t.Fatalf("%d %s, want %d", reply.Status, reply.Body, status)
			}
			want, some := w.want()
			var have any
			if len(reply.Body) > 0 {
				if err := json.Unmarshal(reply.Body, &have); err != nil {
					t.Fatal(err)
				}
			}
			if !some {
				if status == http.StatusNoContent && len(reply.Body) != 0 {
					t.Errorf("%s with 204", reply.Body)
				}
				return
			}
			if err := same(want, have, saved, w.Bare != nil); err != nil {
				t.Errorf("%v\n%s", err, reply.Body)
			}
			for as, member := range w.Save {
				at := have.(map[string]any)
				inner, _ := at["data"].(map[string]any)
				if w.Auth != nil {
					inner, _ = at["auth"].(map[string]any)
				}
				saved[as] = fmt.Sprint(inner[member])
			}
		})
	}
	t.Logf("%d answers", len(rows))
}
