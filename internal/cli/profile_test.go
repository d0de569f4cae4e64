// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// home makes a home directory with profiles, "NAME KIND" each.
func home(t *testing.T, profiles ...string) *session {
	t.Helper()
	dir := t.TempDir()
	for _, line := range profiles {
		name, kind, _ := strings.Cut(line, " ")
		writeProfile(t, filepath.Join(dir, ".config", "claviger", name), kind)
	}
	return &session{vars: map[string]string{"HOME": dir}}
}

func writeProfile(t *testing.T, dir, kind string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	data := `{"schema":1,"kind":"` + kind + `","demo":true,"domain":"00ff","addresses":["127.0.0.1:8443"],"client":"more"}`
	if err := os.WriteFile(filepath.Join(dir, profileFile), []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestProfileIsFound(t *testing.T) {
	elsewhere := filepath.Join(t.TempDir(), "app")
	writeProfile(t, elsewhere, kindClient)
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.MkdirAll(broken, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"future": `{"schema":2,"kind":"client"}`, "text": `hello`, "twice": `{"schema":1,"kind":"client","kind":"admin"}`} {
		dir := filepath.Join(broken, name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, profileFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	both := []string{"root admin", "app1 client", "app2 client"}
	cases := []struct {
		name, profile, kind string
		have                []string
		found, message      string
	}{
		{"none", "", kindClient, nil, "", "there is no client's profile on this machine"},
		{"none of any kind", "", "", nil, "", "there is no profile on this machine"},
		{"none of the kind", "", kindAdmin, []string{"a client"}, "", "there is no admin's profile"},
		{"the only one", "", kindAdmin, both, "root", ""},
		{"several", "", kindClient, both, "", "several client profiles: app1, app2"},
		{"an admin goes first", "", "", both, "root", ""},
		{"any", "", "", []string{"a client"}, "a", ""},
		{"by name", "app2", kindClient, both, "app2", ""},
		{"of the wrong kind", "app2", kindAdmin, both, "", "the profile app2 is of kind client"},
		{"by directory", elsewhere, kindClient, nil, elsewhere, ""},
		{"missing", "nobody", "", both, "", "there is no profile in "},
		{"no name", "no body", "", both, "", "is no name of a profile"},
		{"newer", filepath.Join(broken, "future"), "", nil, "", "has schema 2; this program knows 1"},
		{"a member twice", filepath.Join(broken, "twice"), "", nil, "", "a member is given twice"},
		{"no JSON", filepath.Join(broken, "text"), "", nil, "", "is not a profile"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := home(t, c.have...).env()
			e.profile = c.profile
			dir, err := e.profileDir(c.kind)
			if c.message != "" {
				if err == nil {
					t.Fatalf("found %s", dir)
				}
				wantIn(t, "error", err.Error(), c.message)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !filepath.IsAbs(c.found) {
				c.found = filepath.Join(e.getenv("HOME"), ".config", "claviger", c.found)
			}
			want(t, "directory", dir, c.found)
		})
	}
}

func TestProfileUse(t *testing.T) {
	s := home(t, "root admin", "app1 client", "app2 client")
	want(t, "exit status", s.run(t, "profile", "use", "app2"), 0)
	dir, err := s.env().profileDir(kindClient)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "chosen", filepath.Base(dir), "app2")
	if dir, err = s.env().profileDir(kindAdmin); err != nil || filepath.Base(dir) != "root" {
		t.Errorf("the admin's profile is %s, %v: kinds are chosen apart", dir, err)
	}
	s.out.Reset()
	want(t, "exit status", s.run(t, "profile", "list", "--json"), 0)
	var got struct{ Profiles []profileRow }
	if err := json.Unmarshal(s.out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want(t, "profiles", len(got.Profiles), 3)
	for _, row := range got.Profiles {
		want(t, row.Name+" chosen", row.Chosen, row.Name == "app2")
		want(t, row.Name+" domain", row.Domain, "00ff")
	}
	want(t, "a missing profile", s.run(t, "profile", "use", "nobody"), int(ExitNotFound))

	elsewhere := filepath.Join(t.TempDir(), "app3")
	writeProfile(t, elsewhere, kindClient)
	want(t, "a directory", s.run(t, "profile", "use", elsewhere), 0)
	if dir, err = s.env().profileDir(kindClient); err != nil || dir != elsewhere {
		t.Errorf("chosen is %s, %v", dir, err)
	}
	writeProfile(t, elsewhere, "novelty")
	want(t, "a kind that nobody knows", s.run(t, "profile", "use", elsewhere), int(ExitFailure))
}

func TestNewProfileNeverReplaces(t *testing.T) {
	e := home(t, "root admin").env()
	if _, err := e.newProfileDir("root"); err == nil {
		t.Error("the directory of a profile was given out for a new one")
	}
	dir, err := e.newProfileDir("other")
	if err != nil {
		t.Fatal(err)
	}
	want(t, "name", filepath.Base(dir), "other")
	e.profile = "third"
	if dir, err = e.newProfileDir("other"); err != nil || filepath.Base(dir) != "third" {
		t.Errorf("--profile does not name the new profile: %s, %v", dir, err)
	}
	e.Getenv = nil
	if _, err := e.newProfileDir("x"); err == nil {
		t.Error("a home directory out of nowhere")
	}
}
