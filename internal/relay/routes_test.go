// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"claviger/internal/relay"
)

// TestRoutesAreThoseOfTheSpec holds the table to docs/spec/relay.md.
func TestRoutesAreThoseOfTheSpec(t *testing.T) {
	page, err := os.ReadFile("../../docs/spec/relay.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z]+) (/v1/[^`?]+)[^`]*` \\|").FindAllStringSubmatch(string(page), -1) {
		path := m[2]
		if strings.HasPrefix(path, "/v1/mailbox/") {
			path = strings.Replace(path, "ID", "{mailbox}", 1)
		}
		for from, to := range map[string]string{"DOMAIN": "{domain}", "CORRELATION": "{correlation}", "NUMBER": "{number}", "/ID": "/{mailbox}"} {
			path = strings.Replace(path, from, to, 1)
		}
		want = append(want, m[1]+" "+path)
	}
	var got []string
	for _, r := range relay.Routes() {
		got = append(got, r[0]+" "+r[1])
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("routes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestNoSuchRoute(t *testing.T) {
	x, server, token := one(t, setup{})
	c := x.caller()
	other := newDomain(t)
	id := server.box.id().String()
	for _, target := range []string{
		"/", "/v1", "/v1/", "/v2/health", "/v1/health/", "//v1/health", "/v1/../v1/health", "/v1/hea%6Cth", "/v1/board", other.board("introductions"),
		other.board("follow"), "/v1/board/" + strings.ToUpper(server.domain.id().String()) + "/statements", "/v1/board/x/statements",
		"/v1/board/" + server.domain.id().String()[1:] + "/statements", "/v1/board/" + server.domain.id().String() + "/", "/dump", "/metrics", "/" + strings.Repeat("a", 600),
	} {
		c.ask("GET", target, nil).is(t, target, 404, "not-found")
	}
	c.ask("POST", "/v1/mailbox/"+strings.ToUpper(id)+"/exchange", sealed("x"), "Claviger-Token", token).is(t, "upper case", 404, "not-found")
	c.ask("POST", "/v1/mailbox/"+id[1:]+"/exchange", sealed("x"), "Claviger-Token", token).is(t, "a short id", 404, "not-found")
	c.ask("POST", "/v1/answer/00", []byte("x")).is(t, "a short correlation", 404, "not-found")
	for _, number := range []string{"-1", "01", "x", "", "18446744073709551616"} {
		c.owner("DELETE", boxPath(c.id(), "parcels/"+number), nil).is(t, "number "+number, 404, "not-found")
	}
	c.ask("POST", "/v1/health", nil).is(t, "another method", 405, "method")
	c.ask("DELETE", server.board("introductions"), nil).is(t, "another method", 405, "method")
	c.owner("PUT", other.board("introduction"), []byte("x")).is(t, "a domain that isn't served", 404, "not-found")
	for _, r := range []result{c.ask("GET", "/v1/health", nil), c.ask("GET", "/nothing", nil)} {
		if r.header.Get("X-Content-Type-Options") != "nosniff" || r.header.Get("Content-Type") != "application/json" {
			t.Errorf("headers %v", r.header)
		}
	}
	if got := c.ask("GET", "/v1/health", nil); strings.TrimSpace(string(got.body)) != `{"schema":1,"status":"ok"}` {
		t.Errorf("health says %s", got.body)
	}
	c.owner("DELETE", boxPath(c.id(), "parcels/1"), []byte("a body")).is(t, "a body where none is taken", 413, "too-large")
}
