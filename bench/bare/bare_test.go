// SPDX-License-Identifier: Apache-2.0

package bare

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAnswers(t *testing.T) {
	h, err := Handler()
	if err != nil {
		t.Fatal(err)
	}
	ask := func(body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/v1/use", strings.NewReader(body)))
		return w
	}
	w := ask(`{"items":[{"op":"encrypt","key":"a","plaintext":"AAAA"},{"op":"encrypt","key":"b","plaintext":""}]}`)
	var a Answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != http.StatusOK || len(a.Items) != 2 {
		t.Fatalf("%d %s %v", w.Code, w.Body, err)
	}
	if n := len(a.Items[0].Ciphertext); n != 12+3+16 || a.Items[1].Key != "b" {
		t.Errorf("%+v", a)
	}
	if w := ask("{"); w.Code != http.StatusBadRequest {
		t.Errorf("half a question is answered with %d", w.Code)
	}
}
