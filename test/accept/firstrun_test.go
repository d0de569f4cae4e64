// SPDX-License-Identifier: Apache-2.0

package accept

import (
	"os"
	"strings"
	"testing"
)

// firstRun reads the first block of claviger commands in README.md.
func firstRun(t *testing.T) [][]string {
	t.Helper()
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "\nclaviger init ")
	block, _, _ := strings.Cut("claviger init "+rest, "```")
	var out [][]string
	for line := range strings.Lines(block) {
		if command, ok := strings.CutPrefix(line, "claviger "); ok {
			command, _, _ = strings.Cut(command, "#")
			out = append(out, strings.Fields(command))
		}
	}
	return out
}

func TestFirstRunAsTwoUsers(t *testing.T) {
	t.Parallel()
	lines, ports := firstRun(t), freePorts(t, 2)
	if len(lines) != 7 {
		t.Fatalf("README.md shows %d commands at first, not 7: %q", len(lines), lines)
	}
	founding, serving, creating, inviting, enrolling := lines[0], lines[1], lines[2], lines[3], lines[4]
	alice, app := user(t, 64001), user(t, 64002)
	rootKey := answer{asked: "assphrase of the root secret", typed: rootPhrase}
	herKey := answer{asked: "authority key", typed: adminPhrase}

	founding = append(founding, "--listen", ports[0], "--metrics", ports[1]) // 8443 may be taken where tests run
	alice.sit(founding, rootKey, answer{asked: "Once more", typed: rootPhrase}, herKey, answer{asked: "Once more", typed: adminPhrase}).ends(0).shows("next: claviger server --dir D")
	server := alice.sit(serving, rootKey)
	server.shows("Serving example.org on " + ports[0] + ", unsealed").shows("next: claviger key create")
	alice.sit(creating, herKey).ends(0).shows("next: claviger client invite app1")
	alice.sit(inviting, herKey).ends(0).shows("next: claviger client enroll app1.invite")

	app.write("app1.invite", alice.read("app1.invite")) // somebody carries it over
	if app.as != nil {
		os.Chown(app.path("app1.invite"), int(app.as.Uid), int(app.as.Gid))
	}
	app.run(enrolling...).ends(t, 0).says(t, "next: claviger encrypt --key")
	app.give("cards.csv", "4929 4212 3456 7890\n")
	app.do(lines[5]...)
	if strings.Contains(app.read("cards.clv"), "4929") {
		t.Error("the ciphertext holds the plaintext")
	}
	app.do(lines[6]...)
	if out := app.read("cards.again"); out != "4929 4212 3456 7890\n" {
		t.Errorf("decrypted to %q", out)
	}

	// A second key is nobody's until policy says so.
	alice.sit([]string{"key", "create", "logs"}, herKey).ends(0)
	app.run("encrypt", "--key", "logs", "-o", "logs.clv", "cards.csv").ends(t, 4).says(t, "hint: an admin can run: claviger policy allow app1 logs")
	alice.sit([]string{"policy", "allow", "app1", "logs", "--only", "encrypt"}, herKey).ends(0)
	app.do("encrypt", "--key", "logs", "-o", "logs.clv", "cards.csv")
	app.run("decrypt", "--key", "logs", "logs.clv").ends(t, 4)

	app.reaches(alice, false)
	server.keyboard.WriteString("\x03") // Ctrl-C
	server.ends(0)
}

// reaches says whether somebody can read what is another's: only where both are
// different users does it mean anything.
func (p *person) reaches(other *person, want bool) {
	p.t.Helper()
	if p.as == nil {
		return
	}
	for _, name := range []string{".config/claviger/alice/profile.json", "D/claviger.toml", "D/state.db", "app1.invite"} {
		if got := p.finish(p.command("cat", other.path(name))).code == 0; got != want {
			p.t.Errorf("another user reads %s: %t", name, got)
		}
	}
	p.run("seal", "--dir", other.path("D")).ends(p.t, 4)
}

// give makes a file that is this person's own.
func (p *person) give(name, text string) {
	p.t.Helper()
	p.write(name, text)
	if p.as != nil {
		if err := os.Chown(p.path(name), int(p.as.Uid), int(p.as.Gid)); err != nil {
			p.t.Fatal(err)
		}
	}
}
