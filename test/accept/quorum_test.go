// SPDX-License-Identifier: Apache-2.0

package accept

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// site is the installation of docs/quorum.md as it grows.
type site struct {
	t      *testing.T
	page   string
	ports  []string
	people map[string]*person
	server *running
	id     string // of the change that waits
}

func newSite(t *testing.T) *site {
	page, err := os.ReadFile("../../docs/quorum.md")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, page: string(page), ports: freePorts(t, 2), people: map[string]*person{}}
	for _, name := range []string{"ann", "bob", "eve", "rex", "dan", "fay"} {
		s.people[name] = newPerson(t)
		s.people[name].write("cards.csv", "4929 4212 3456 7890\n")
	}
	for file, owner := range map[string]string{ // one machine
		"D": "ann", "domain.invite": "ann", "recovery.txt": "rex", "recovered.invite": "rex", "dan.txt": "dan", "fay.txt": "fay",
	} {
		for name, p := range s.people {
			if name == owner {
				continue
			}
			if err := os.Symlink(s.people[owner].path(file), p.path(file)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s
}

// play runs the commands of one section and returns what the last one showed.
func (s *site) play(section string) (shown string) {
	s.t.Helper()
	_, rest, found := strings.Cut(s.page, "\n## "+section)
	if !found {
		s.t.Fatalf("docs/quorum.md has no section %q", section)
	}
	text, _, _ := strings.Cut(rest, "\n## ")
	blocks := regexp.MustCompile("(?ms)^([a-z]+):\n\n```sh\n(.*?)^```").FindAllStringSubmatch(text, -1)
	if len(blocks) == 0 || len(blocks) != strings.Count(text, "```sh") {
		s.t.Fatalf("section %q: %d blocks of commands have a person", section, len(blocks))
	}
	for _, b := range blocks {
		for line := range strings.Lines(b[2]) {
			shown = s.line(s.people[b[1]], strings.TrimSpace(line))
		}
	}
	return shown
}

// waits finds the id of a change in what a command shows.
var waits = regexp.MustCompile(`claviger approve sign ([0-9a-f]{32})`)

// line runs one command line as its reader would, on a terminal.
func (s *site) line(p *person, line string) string {
	s.t.Helper()
	line, comment, _ := strings.Cut(line, " #")
	if strings.HasPrefix(line, "claviger server ") {
		s.server = p.start(strings.Fields(line)[1:]...).shows("sealed")
		return ""
	}
	if strings.Contains(line, " init ") {
		line = strings.Replace(line, "--recovery-wait 72h", fmt.Sprintf("--recovery-wait %ds", recoveryWait), 1)
		line += fmt.Sprintf(" --listen %s --metrics %s", s.ports[0], s.ports[1]) // 8443 may be taken where tests run
	}
	want := 0
	fmt.Sscanf(comment, " exit status %d", &want)
	cmd := p.command("/bin/sh", "-c", line)
	cmd.Env = append(cmd.Env, "ID="+s.id)
	for name, other := range s.people {
		for _, v := range []struct{ name, file string }{{name, "key.line"}, {name + "_age", "age.line"}} {
			if text, err := os.ReadFile(other.path(v.file)); err == nil {
				cmd.Env = append(cmd.Env, strings.ToUpper(v.name)+"="+strings.TrimSpace(string(text)))
			}
		}
	}
	shown := p.sitAt(cmd, answer{typed: adminPhrase, always: true}).ends(want).String()
	if m := waits.FindStringSubmatch(shown); m != nil {
		s.id = m[1]
	}
	s.handOut(p, line)
	return shown
}

// recoveryWait is the waiting time of a recovery, in seconds.
const recoveryWait = 5

// handOut does what the page asks people to give each other, once they have made
// a key.
func (s *site) handOut(p *person, line string) {
	s.t.Helper()
	switch {
	case strings.Contains(line, "admin keygen "):
		p.write("key.line", p.do("admin", "show"))
	case strings.HasPrefix(line, "age-keygen "):
		p.write("age.line", p.shell("age-keygen -y custodian.key").ends(s.t, 0).out)
	}
}

func TestQuorumInstallationAsDocumented(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ann, bob, eve := s.people["ann"], s.people["bob"], s.people["eve"]
	s.play("1. ")
	s.play("2. ")
	for name, p := range map[string]*person{"bob": bob, "eve": eve} {
		p.write(name+".age", ann.read(name+".age"))
		p.shell("age -d -i custodian.key "+name+".age | claviger root check --dir D --share -").ends(t, 0)
	}
	bob.shell("age -d -i custodian.key eve.age").ends(t, 1) // he has not got it, and could not open it
	if shown := s.play("3. "); !strings.Contains(shown, "The server is unsealed.") {
		t.Errorf("two shares did not open it: %s", shown)
	}

	if status := ann.admin("status").ends(t, 0).out; !strings.Contains(status, "ann, bob (not confirmed), eve (not confirmed)") {
		t.Errorf("status does not list the two who have not confirmed:\n%s", status)
	}
	if shown := s.play("4. "); !strings.Contains(shown, "of the recovery quorum") || !strings.Contains(shown, "1 of 1 (rex)") {
		t.Errorf("rex is not told what his key is for:\n%s", shown)
	}
	if status := ann.do("status"); strings.Contains(status, "not confirmed") || !strings.Contains(status, "2 of 3 admins") || !strings.Contains(status, "2 of 3 custodians") {
		t.Errorf("all have confirmed, two of three decide, and two of three open the root:\n%s", status)
	}

	t.Run("a change waits", func(t *testing.T) { s.waitsForBob(t) })
	if shown := s.play("5. "); !strings.Contains(shown, "Done: ") {
		t.Errorf("the second signature did not land it:\n%s", shown)
	}
	s.play("6. ")
	if ann.read("cards.again") != "4929 4212 3456 7890\n" {
		t.Error("what was decrypted differs")
	}
	t.Run("restart", func(t *testing.T) { s.restarts(t) })
	t.Run("recovery", func(t *testing.T) { s.recovers(t) })
}

// recovers: all three admins lose everything, and rex brings in two others.
func (s *site) recovers(t *testing.T) {
	for _, name := range []string{"ann", "bob", "eve"} {
		if err := os.RemoveAll(s.people[name].path(".config/claviger/" + name)); err != nil {
			t.Fatal(err)
		}
		s.people[name].admin("key", "create", "of/"+name).oneError(t, 3, "there is no admin's profile")
	}
	rex, dan, fay := s.people["rex"], s.people["dan"], s.people["fay"]
	rex.admin("key", "create", "of/rex").oneError(t, 4)
	rex.admin("status").oneError(t, 4)

	s.play("7. ")
	announced := time.Now()
	dan.admin("status").oneError(t, 4, "no authority key")
	eventually(t, func() error { // its time can't have come before
		if left := recoveryWait*time.Second - time.Since(announced); left > 0 {
			return fmt.Errorf("%v are left", left)
		}
		return nil
	})
	if shown := s.play("8. "); !strings.Contains(shown, "Done: ") {
		t.Errorf("the new admins decide nothing:\n%s", shown)
	}
	status := dan.admin("status").ends(t, 0).out
	if !regexp.MustCompile(`(?m)^admins +dan, fay$`).MatchString(status) {
		t.Errorf("the admins are others:\n%s", status)
	}
	if !strings.Contains(fay.do("key", "list"), "payments/accounts") {
		t.Error("the new admin's key is not there")
	}
	s.people["ann"].do("encrypt", "--key", "payments/accounts", "-o", "accounts.clv", "cards.csv") // app1 lives on her machine
}

// waitsForBob: who waits is told all that matters, and no signature counts twice.
func (s *site) waitsForBob(t *testing.T) {
	ann := s.people["ann"]
	r := ann.admin("policy", "allow", "app2", "logs").ends(t, 5)
	r.says(t, "it waits for more signatures, until 20", "signed: ann", "can sign: bob, eve", "hint: one of them can run: claviger approve sign ")
	id := waits.FindStringSubmatch(r.err)[1]
	if again := ann.admin("approve", "sign", id, "--yes"); again.code != 5 && again.code != 1 {
		t.Errorf("her second signature: exit status %d\n%s", again.code, again.err)
	}
	list := s.people["eve"].admin("approve", "list").ends(t, 0).out
	if !strings.Contains(list, id[:8]) || !strings.Contains(list, "bob, eve") {
		t.Errorf("the list lacks it:\n%s", list)
	}
	s.people["eve"].admin("approve", "sign", id, "--yes").ends(t, 0)
	s.people["bob"].admin("approve", "sign", id, "--yes").oneError(t, 3)
}

// restarts: two custodians, each once, with shares of this root.
func (s *site) restarts(t *testing.T) {
	ann, eve := s.people["ann"], s.people["eve"]
	s.server.end(interrupt)
	ann.start("server", "--dir", "D").shows("sealed")
	bring := func(p *person, name string) result {
		return p.shell("age -d -i custodian.key " + name + ".age | claviger unseal --dir D --share -")
	}
	if out := bring(ann, "ann").ends(t, 0).out; !strings.Contains(out, "1 of 2 shares") {
		t.Errorf("one share: %s", out)
	}
	ann.run("decrypt", "--key", tourKey, "cards.clv").oneError(t, 1, "sealed")
	bring(ann, "ann").oneError(t, 1, "share")

	other := newPerson(t) // another root, one of whose custodians is eve
	other.do("init", "--dir", "D2", "--name", "other.org", "--as", "mallory", "--passphrase-file", "admin.pass", "--root", "shares",
		"--custodian", strings.TrimSpace(eve.read("age.line")), "--custodian", strings.TrimSpace(ann.read("age.line")))
	eve.write("foreign.age", other.do("root", "share", "--dir", "D2", "1"))
	bring(eve, "foreign").oneError(t, 1, "share")
	eve.run("unseal", "--dir", "D", "--share", "eve.age").oneError(t, 2, "the share is still encrypted", "hint: age -d -i IDENTITY")
	damaged := ann.read("D/claviger.toml")
	eve.feed(strings.NewReader(damaged), "unseal", "--dir", "D", "--share", "-").oneError(t, 1, "share")

	if out := bring(eve, "eve").ends(t, 0).out; !strings.Contains(out, "unsealed") {
		t.Errorf("two shares: %s", out)
	}
	ann.do("decrypt", "--key", tourKey, "cards.clv")
}
