// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"reflect"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"claviger/internal/cli/doors"
	"claviger/internal/settings"
	"claviger/internal/wire"
)

// sample is a configuration to decode into.
type sample struct {
	Schema int    `toml:"schema"`
	A      string `toml:"a"`
	B      bool   `toml:"b"`
	T      struct {
		N int `toml:"n"`
	} `toml:"t"`
}

func TestSettings(t *testing.T) {
	const one = "schema = 1\n"
	cases := []struct{ text, want string }{
		{one + "a='two' # why\r\n\n# note\nb = true\n[t]\nn = -12", "{1 two true {-12}}"},
		{one + "a = \"th\\\"r\\u0065e\"", "{1 th\"ree false {0}}"},
		{one + "a = \"\"\"\nx\"\"\"\nt.n = 3", "{1 x false {3}}"},
		{one + "t = {n = 4}", "{1  false {4}}"},
		{"", "schema is missing"},
		{"schema = '1'", "line 1 (last key \"schema\"): incompatible types: TOML value has type string; destination has type integer"},
		{"\nschema = 2\nnew = 1", "line 2: it has schema 2; this program knows 1"},
		{one + "a = 'x'\na = 'y'", "line 3: key 'a' has already been defined."},
		{one + "[t]\n[t]", "line 3: key 't' has already been defined."},
		{one + "[t]\nn=1\n[u]\n[t]", "line 5: key 't' has already been defined."},
		{one + "t.n = 1\n[t]\nn = 2", "line 4: key 't.n' has already been defined."},
		{one + "x = 1", "line 2: unknown key \"x\""},
		{one + "\n[t]\nn = 1\nm = 1", "line 5: unknown key \"t.m\""},
		{one + "t = {n = 4, m = 5}", "line 2: unknown key \"t.m\""},
		{one + "t.m = 5", "line 2: unknown key \"t.m\""},
		{one + "\n[u]\nn = 1", "line 3: unknown key \"u\""},
		{one + "\n[[u]]\nn = 1", "line 3: unknown key \"u\""},
		{one + "u.v.w = 1", "line 2: unknown key \"u.v.w\""},
		{one + "A = 'x'", "line 2: unknown key \"A\""},
		{one + "[T]\nn = 1", "line 2: unknown key \"T\""},
		{one + "a = 'x'\nA = 'y'", "line 3: unknown key \"A\""},
		{one + "'' = 1", "line 2: unknown key "},
		{one + "a = 1", "line 2 (last key \"a\"): incompatible types"},
		{one + "t = 1", "line 2 (last key \"t\"): type mismatch"},
		{one + "[[t]]\nn = 1", "line 2 (last key \"t\")"},
		{one + "[t]\nn = 1.5", "line 3 (last key \"t.n\"): incompatible types"},
		{one + "a = ", "line 2: unexpected EOF; expected value"},
		{one + "a", "line 2: "},
		{one + "a = 'x' y", "line 2: "},
		{one + "a = \"x", "line 2: "},
		{one + "a = \"x\ay\"", "line 2: TOML files cannot contain control characters"},
		{one + "a = '\xff'", "it is not UTF-8 text of at most 16384 bytes"},
		{one + strings.Repeat("a.", 1024) + "a = 1", "line 2: it is longer than 2048 bytes"},
		{strings.Repeat("#\n", settings.MaxSize), "it is not UTF-8 text of at most 16384 bytes"},
	}
	for _, c := range cases {
		var got sample
		if err := settings.Decode(c.text, &got); err != nil {
			wantIn(t, c.text[:min(40, len(c.text))], err.Error(), c.want)
		} else {
			want(t, c.text, sprint(got), c.want)
		}
	}
}

// What is accepted says the same to a decoder that knows nothing of our types.
func FuzzSettings(f *testing.F) {
	f.Add("schema = 1\n[t]\nn = 1\n")
	f.Add("schema = 1\na = 'x' # y\nb = true\nt = {n = -1}")
	f.Add("[[schema]]\na.b.c = [[[1979-05-27T07:32:00Z]]]")
	f.Fuzz(func(t *testing.T, text string) {
		var got sample
		if err := settings.Decode(text, &got); err != nil {
			return
		}
		var plain map[string]any
		if _, err := toml.Decode(text, &plain); err != nil {
			t.Fatal(err)
		}
		table, _ := plain["t"].(map[string]any)
		for name := range table {
			if name != "n" {
				t.Errorf("t.%s was taken in %q", name, text)
			}
		}
		for name, value := range plain {
			is := map[string]any{"schema": int64(1), "a": got.A, "b": got.B, "t": value}[name]
			if !reflect.DeepEqual(is, value) {
				t.Errorf("%s is %v, taken as %v, in %q", name, value, is, text)
			}
		}
	})
}

// goodConfig is a configuration that passes.
func goodConfig() serverConfig {
	return serverConfig{
		Schema: 1, Domain: strings.Repeat("0a", 32), Name: "example.org", Listen: defaultListen, Metrics: defaultMetrics,
		Root: rootConfig{KeyFile: "/a \"b\" \\c\x7f\n'"},
	}
}

// What a hint tells people to run can be copied as it is.
func TestHintsQuoteWhatTheyName(t *testing.T) {
	want(t, "hint", notInstalled("/no such/dir").Hint, "claviger init --dir '/no such/dir'")
	want(t, "hint", notInstalled("/plain/dir").Hint, "claviger init --dir /plain/dir")
}

func TestServerConfigRoundTrip(t *testing.T) {
	for _, c := range []serverConfig{
		goodConfig(), {Schema: 1, Domain: wire.DomainID{}.String(), Name: "x", Demo: true, Listen: ":1"},
		{Schema: 1, Domain: wire.DomainID{}.String(), Name: "x", Relay: []string{"https://relay.example", "file:///mnt/share"}, Pad: true},
		{Schema: 1, Domain: wire.DomainID{}.String(), Name: "x", Listen: ":1", Doors: doors.Config{Listen: doors.DefaultListen, Public: "https://keys.example.com"}},
	} {
		got, err := parseServerConfig(string(c.encode()))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, c) {
			t.Errorf("%+v, want %+v", got, c)
		}
	}
}

func TestServerConfigIsStrict(t *testing.T) {
	cases := []struct{ name, old, new, message string }{
		{"unknown key", "demo = false", "demo = false\nlisen = \"x\"", `line 6: unknown key "lisen"`},
		{"unknown table", "[root]", "[rot]", `line 13: unknown key "rot"`},
		{"twice", "demo = false", "demo = false\ndemo = true", "line 6: key 'demo' has already been defined"},
		{"twice by case", "demo = false", "demo = false\nDemo = true", `line 6: unknown key "Demo"`},
		{"key in the wrong table", "[root]", "[root]\nlisten = ''", `line 14: unknown key "root.listen"`},
		{"wrong type", "demo = false", "demo = 0", `line 5 (last key "demo"): incompatible types`},
		{"future", "schema = 1", "schema = 2\nnovelty = true", "line 2: it has schema 2; this program knows 1"},
		{"no schema", "schema = 1", "", "schema is missing"},
		{"no domain", strings.Repeat("0a", 32), "0a", "domain is not 64 hexadecimal digits"},
		{"upper case", strings.Repeat("0a", 32), strings.Repeat("0A", 32), "domain is not 64 hexadecimal digits"},
		{"no name", `"example.org"`, `"Example org"`, "name: "},
		{"no port", `"127.0.0.1:8443"`, `"127.0.0.1"`, "listen: "},
		{"nobody could reach it", `"127.0.0.1:8443"`, `""`, "nobody could reach the server"},
		{"no relay", "[root]", "relay = [\"relay.example\"]\n[root]", "relay: no valid address"},
		{"a server for a relay", "[root]", "relay = [\"relay.example:8444\"]\n[root]", "is a server's address"},
		{"a relay twice", "[root]", "relay = [\"https://R.example\", \"https://r.example:8444\"]\n[root]", "is there twice"},
		{"too many relays", "[root]", "relay = [" + strings.Repeat("\"https://r.example\", ", 9) + "]\n[root]", "more than 8"},
		{"open metrics", `"127.0.0.1:9464"`, `"0.0.0.0:9464"`, "metrics: 0.0.0.0 is not a loopback address"},
		{"metrics by name", `"127.0.0.1:9464"`, `"example.org:9464"`, "is not a loopback address"},
		{"metrics without port", `"127.0.0.1:9464"`, `"127.0.0.1"`, "metrics: "},
		{"a path that is no text", `key_file = "`, "key_file = \"\xff", "it is not UTF-8 text"},
		{"doors without a port", "[doors]\nlisten = \"\"", "[doors]\nlisten = \"x\"", "doors: listen: "},
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
