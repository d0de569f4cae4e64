// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"

	"claviger/internal/wire"
)

func TestSettings(t *testing.T) {
	cases := []struct{ text, want string }{
		{"a = 1\nb='two' # why\r\n\n# note\n[t]\nc = \"th\\\"r\\u0065e\"\nd = true\n[u]# x\nd = false", "1 a 1|2 b two|6 t.c th\"ree|7 t.d true|9 u.d false"},
		{"", ""},
		{"a = -12", "1 a -12"},
		{"a = 'C:\\dir'", "1 a C:\\dir"},
		{"a = 1\na = 2", "line 2: a is on line 1 already"},
		{"[t]\n[t]", "line 2: t is on line 1 already"},
		{"[t]\na=1\n[u]\na=1\n[t]", "line 5: t is on line 1 already"},
		{"\na", "line 2: neither a table nor a setting"},
		{"a.b = 1", "line 1: neither a table nor a setting"},
		{"[[t]]", "line 1: neither a table nor a setting"},
		{"a = ", "line 1: a: a string, a whole number, true or false is wanted"},
		{"a = [1]", "line 1: a: a string, a whole number, true or false is wanted"},
		{"a = 01", "line 1: something follows the end of a"},
		{"a = 1.5", "line 1: something follows the end of a"},
		{"a = truer", "line 1: something follows the end of a"},
		{"a = \"x\" y", "line 1: something follows the end of a"},
		{"[t] x", "line 1: something follows the end of t"},
		{"a = \"x", "line 1: a: malformed string"},
		{"a = \"\\x41\"", "line 1: a: malformed string"},
		{"a = \"\\ud800\"", "line 1: a: malformed string"},
		{"a = 'x", "line 1: a: malformed string"},
		{"a = \"\"\"x\"\"\"", "line 1: a: a string is written on one line"},
		{"a = '''x'''", "line 1: a: a string is written on one line"},
		{"a = \"x\ay\"", "line 1: a: a control character"},
		{"a = '\xff'", "it is not UTF-8 text of at most 65536 bytes"},
		{strings.Repeat("#", maxConfig+1), "it is not UTF-8 text of at most 65536 bytes"},
	}
	for _, c := range cases {
		got, err := parseSettings(c.text)
		if err != nil {
			want(t, c.text[:min(20, len(c.text))], err.Error(), c.want)
			continue
		}
		var parts []string
		for _, s := range got {
			parts = append(parts, strings.TrimSpace(sprint(s.line)+" "+s.name+" "+sprint(s.value)))
		}
		want(t, c.text, strings.Join(parts, "|"), c.want)
	}
}

func FuzzSettings(f *testing.F) {
	f.Add("schema = 1\n[root]\nkey_file = \"a\\u0041\"\n")
	f.Add("a = 'x' # y\nb = -1\nc=true")
	f.Fuzz(func(t *testing.T, text string) {
		settings, err := parseSettings(text)
		if err != nil {
			return
		}
		lines := strings.Split(text, "\n")
		seen := map[string]bool{}
		for _, s := range settings {
			if s.line < 1 || s.line > len(lines) || seen[s.name] {
				t.Fatalf("%+v of %q", s, text)
			}
			seen[s.name] = true
		}
	})
}

// goodConfig is a configuration that passes.
func goodConfig() serverConfig {
	return serverConfig{
		Schema: 1, Domain: strings.Repeat("0a", 32), Name: "example.org", Listen: defaultListen, Metrics: defaultMetrics,
		Root: rootConfig{KeyFile: `/a "b" \c`},
	}
}

func TestServerConfigRoundTrip(t *testing.T) {
	for _, c := range []serverConfig{goodConfig(), {Schema: 1, Domain: wire.DomainID{}.String(), Name: "x", Demo: true, Listen: ":1"}} {
		got, err := parseServerConfig(string(c.encode()))
		if err != nil {
			t.Fatal(err)
		}
		want(t, "configuration", got, c)
	}
}

func TestServerConfigIsStrict(t *testing.T) {
	cases := []struct{ name, old, new, message string }{
		{"unknown key", "demo = false", "demo = false\nlisen = \"x\"", `line 6: unknown key "lisen"`},
		{"unknown table", "[root]", "[rot]", `line 14: unknown key "rot.key_file"`},
		{"key in the wrong table", "[root]", "[root]\nlisten = ''", `line 14: unknown key "root.listen"`},
		{"wrong type", "demo = false", "demo = 0", "line 5: demo is a int here"},
		{"future", "schema = 1", "schema = 2\nnovelty = true", "line 2: it has schema 2; this program knows 1"},
		{"no schema", "schema = 1", "", "schema is missing"},
		{"no domain", strings.Repeat("0a", 32), "0a", "domain is not 64 hexadecimal digits"},
		{"upper case", strings.Repeat("0a", 32), strings.Repeat("0A", 32), "domain is not 64 hexadecimal digits"},
		{"no name", `"example.org"`, `"Example org"`, "name: "},
		{"no port", `"127.0.0.1:8443"`, `"127.0.0.1"`, "listen: "},
		{"open metrics", `"127.0.0.1:9464"`, `"0.0.0.0:9464"`, "metrics: 0.0.0.0 is not a loopback address"},
		{"metrics by name", `"127.0.0.1:9464"`, `"example.org:9464"`, "is not a loopback address"},
		{"metrics without port", `"127.0.0.1:9464"`, `"127.0.0.1"`, "metrics: "},
		{"two ways to unseal", `credential = ""`, `credential = "root"`, "key_file and credential are both set"},
	}
	text := string(goodConfig().encode())
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			changed := strings.Replace(text, c.old, c.new, 1)
			if changed == text {
				t.Fatal("nothing was changed")
			}
			if _, err := parseServerConfig(changed); err == nil {
				t.Error("it was taken")
			} else {
				wantIn(t, "error", err.Error(), c.message)
			}
		})
	}
}
