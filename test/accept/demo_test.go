// SPDX-License-Identifier: Apache-2.0

package accept

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// longestDemo is how long a demo may take from nothing to its end.
const longestDemo = 10 * time.Second

func TestDemoOnce(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	late := time.AfterFunc(longestDemo, func() { t.Errorf("the demo takes longer than %v", longestDemo) })
	defer late.Stop()
	r := p.run("demo", "--once", "--json", "--dir", "D").ends(t, 0)
	late.Stop()
	var got struct {
		Schema int
		Held   bool
		Steps  []struct {
			Command, Evidence string
			ExitCode          *int `json:"exit_code"`
		}
	}
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatalf("%v: %s", err, r.out)
	}
	if got.Schema != 1 || !got.Held || len(got.Steps) < 8 {
		t.Errorf("schema %d, held %t, %d steps", got.Schema, got.Held, len(got.Steps))
	}
	for _, s := range got.Steps {
		if !strings.HasPrefix(s.Command, "claviger ") || s.ExitCode == nil || s.Evidence == "" {
			t.Errorf("a step without command, exit code or evidence: %+v", s)
		}
	}
	p.setsOnly("D/env.sh", "CLAVIGER_PROFILE", "PATH")

	t.Run("stays a demo", func(t *testing.T) { demoAlone(t, &person{t: t, home: p.home}) })
	t.Run("is not joined by real ones", realAlone)
}

// setsOnly fails unless the file changes exactly these variables of a shell.
func (p *person) setsOnly(file string, names ...string) {
	p.t.Helper()
	vars := func(line string) map[string]string {
		out := map[string]string{}
		for v := range strings.Lines(p.shell(line).ends(p.t, 0).out) {
			name, value, _ := strings.Cut(strings.TrimSpace(v), "=")
			out[name] = value
		}
		return out
	}
	before, after := vars("env"), vars(". ./"+file+"; env")
	maps.DeleteFunc(after, func(name, value string) bool { return before[name] == value })
	if got := slices.Sorted(maps.Keys(after)); !slices.Equal(got, names) {
		p.t.Errorf("%s sets %q, not %q", file, got, names)
	}
}

// demoAlone: what a demo left is refused by everything that does not say that it
// is for a demo.
func demoAlone(t *testing.T, p *person) {
	server := p.start("server", "--dir", "D/server").shows("unsealed")
	p.do("--profile", "./D/admin", "key", "list")
	for _, profile := range []string{"app", "admin"} {
		was := p.read("D/" + profile + "/profile.json")
		p.edit("D/"+profile+"/profile.json", `"demo":true`, `"demo":false`)
		p.run("--profile", "./D/"+profile, "key", "list").refuses(t, "demo")
		p.write("D/"+profile+"/profile.json", was)
	}
	p.do("--profile", "./D/admin", "key", "list")
	p.run("--profile", "./D/app", "key", "list").says(t, "this needs a server's own address") // app knows the relay alone
	server.end(interrupt)
	p.edit("D/server/claviger.toml", "demo = true", "demo = false")
	p.run("server", "--dir", "D/server").says(t, "error: ", "demo").ends(t, 1)
	p.edit("D/server/claviger.toml", "demo = false", "demo = true")
	p.start("server", "--dir", "D/server").shows("unsealed").end(interrupt)
}

// realAlone: a real domain is refused by what says that it is for a demo.
func realAlone(t *testing.T) {
	d := enrolled(t)
	d.edit(".config/claviger/app1/profile.json", `"demo":false`, `"demo":true`)
	d.run("--profile", "app1", "key", "list").refuses(t, "demo")
	d.server.end(interrupt)
	d.edit("server/claviger.toml", "demo = false", "demo = true")
	d.start("server", "--dir", "server").shows("Serving ")
	d.run("unseal", "--dir", "server", "--passphrase-file", "root.pass").refuses(t, "demo")
	d.run("--profile", "alice", "status", "--passphrase-file", "admin.pass").refuses(t, "sealed")
}

// edit changes the first old in a file to new. Blanks after colons in JSON are
// left out first, as both spellings mean the same.
func (p *person) edit(name, old, new string) {
	p.t.Helper()
	text := p.read(name)
	if strings.HasSuffix(name, ".json") {
		text = strings.ReplaceAll(text, `": `, `":`)
	}
	changed := strings.Replace(text, old, new, 1)
	if changed == text {
		p.t.Fatalf("%s holds no %q:\n%s", name, old, text)
	}
	p.write(name, changed)
}

func TestDemoStaysUntilInterrupted(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	demo := p.sit([]string{"demo", "--dir", "D"})
	eventually(t, func() error { _, err := os.Stat(p.path("D/env.sh")); return err })

	// Whoever waited for env.sh finds all done.
	r := p.shell(". D/admin/env.sh && claviger key list --json").ends(t, 0)
	var list struct{ Keys []struct{ Name string } }
	if err := json.Unmarshal([]byte(r.out), &list); err != nil || len(list.Keys) == 0 {
		t.Fatalf("%v: %s", err, r.out)
	}
	p.write("in", "text")
	for _, k := range list.Keys {
		out := strings.ReplaceAll(k.Name, "/", "-") + ".clv"
		p.shell(". D/env.sh && claviger encrypt --key "+k.Name+" -o "+out+" in").ends(t, 0)
		if got := p.shell(". D/env.sh && claviger decrypt --key "+k.Name+" "+out).ends(t, 0).out; got != "text" {
			t.Errorf("%s gives back %q", k.Name, got)
		}
	}
	p.shell(". D/admin/env.sh && claviger status").ends(t, 0)

	demo.keyboard.WriteString("\x03")
	demo.ends(0)
	p.absent("D")
	if left := session(t, demo.cmd.Process.Pid); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
}

// session lists the processes of a session.
func session(t *testing.T, id int) []string {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		t.Fatalf("no processes are seen: %v", err)
	}
	var out []string
	for _, name := range stats {
		data, err := os.ReadFile(name)
		if err != nil {
			continue // it ended meanwhile
		}
		_, rest, _ := strings.Cut(string(data), ") ") // state, parent, group, session
		if f := strings.Fields(rest); len(f) > 3 && f[3] == fmt.Sprint(id) && f[0] != "Z" {
			out = append(out, string(data))
		}
	}
	return out
}

func TestDemoStopsOnSignalsEarly(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	demo := p.start("demo", "--dir", "D").shows("demo")
	demo.end(syscall.SIGTERM)
	p.absent("D")
}
