// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"claviger/internal/authority"
)

// TestLog: a line for each request to a door, with what finds it again and nothing
// of what it brought; none for strangers who only look around.
func TestLog(t *testing.T) {
	r := newToy(t, authority.Endpoint{})
	c := r.Client(nil)
	const secret = "carried-in-the-request"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://localhost/door/echo/noted?token="+secret, strings.NewReader(secret))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	if reply, err := r.Send(c, req); err != nil || string(reply.Body) != "noted "+secret {
		t.Fatalf("%s %v", reply.Body, err)
	}
	r.Hide([]byte(secret))
	ask(r, c, "localhost", "/door/own")
	ask(r, c, "localhost", "/door/"+secret)
	ask(r, c, "localhost", "/"+secret)
	ask(r, c, "localhost", "/door/nothing")
	ask(r, c, "localhost", "/ping") // over the same connection, so the line before is written
	var lines []string
	for line := range strings.Lines(r.Log()) {
		var l struct {
			Level, Msg, Kind, Endpoint, Operation, What, Failure, Error string
			Status, Bytes                                               int
			Took                                                        *int64 `json:"took_us"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Msg != "Door" {
			continue
		}
		if l.Took == nil {
			t.Errorf("no latency: %s", line)
		}
		lines = append(lines, fmt.Sprintf("%s %s %s %s %d %d %s %s %s", l.Level, l.Kind, l.Endpoint, l.Operation, l.Status, l.Bytes, l.What, l.Failure, l.Error))
	}
	want := []string{
		"INFO toy door echo 200 22 noted  ",
		"INFO toy door own 418 0  refused the door's own words",
		"INFO toy door  418 0  no-route there is nothing here",
		"INFO toy door nothing 418 0  refused the server could not do this: no answer",
	}
	if got := strings.Join(lines, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("logged\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}
