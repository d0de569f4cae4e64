// SPDX-License-Identifier: Apache-2.0

package script

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestReadme runs the commands of README.md as they stand there, in one session.
// What a person does at a terminal is added: passphrases come from files, the
// ports are free ones, and the server is unsealed from outside.
func TestReadme(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	script.WriteString("env HOME=$WORK/home\nchmod 600 root\nchmod 600 own\n")
	blocks := testedBlock.FindAllStringSubmatch(string(page), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d tested blocks in README.md, want 2", len(blocks))
	}
	for _, b := range blocks {
		for line := range strings.Lines(b[1]) {
			script.WriteString(scripted(strings.TrimSpace(line)))
		}
	}
	script.WriteString("cmp cards.csv cards.again\nkill -INT server\nwait server\n")
	script.WriteString("-- home/.keep --\n-- root --\none passphrase for the root\n-- own --\nand another one for me\n-- cards.csv --\nann,4929 4212\n")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "readme.txtar"), []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: dir, RequireExplicitExec: true, Setup: freePorts,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": status, "eventually": eventually},
	})
}

var (
	testedBlock = regexp.MustCompile("(?s)<!-- tested by test/script -->\n```sh\n(.*?)```")
	exitStatus  = regexp.MustCompile(`# exit status (\d)`)
	signs       = regexp.MustCompile(`^claviger (key create|client invite|policy allow|revoke|audit export)\b`)
)

// scripted turns a line of the README into lines of a script.
func scripted(line string) string {
	command, _, _ := strings.Cut(line, "#")
	command = strings.TrimSpace(command)
	switch {
	case command == "":
		return ""
	case strings.HasPrefix(command, "claviger init "):
		command += " --root-passphrase-file root --passphrase-file own --listen 127.0.0.1:$PORT --metrics 127.0.0.1:$PORT2"
	case strings.HasPrefix(command, "claviger server "):
		return "exec " + command + " &server&\neventually claviger unseal --dir D --passphrase-file root\n"
	case signs.MatchString(command):
		command += " --passphrase-file own"
	}
	want := "0"
	if m := exitStatus.FindStringSubmatch(line); m != nil {
		want = m[1]
	}
	return fmt.Sprintf("status %s %s\n", want, command)
}
