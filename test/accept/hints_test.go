// SPDX-License-Identifier: Apache-2.0

package accept

import (
	"strings"
	"testing"
)

func TestHintsSayWhatToDo(t *testing.T) {
	t.Parallel()
	d := enrolled(t)
	d.enroll("app2")
	d.write("cards.txt", "4929 4212 3456 7890\n")

	t.Run("denied", func(t *testing.T) {
		r := d.run("--profile", "app2", "encrypt", "--key", tourKey, "-o", "x.clv", "cards.txt").ends(t, 4)
		want := "error: app2 may not encrypt with payments/cards (no policy allows it)\n" +
			"hint: an admin can run: claviger policy allow app2 payments/cards\n"
		if r.err != want {
			t.Errorf("got %q\nwant %q", r.err, want)
		}
		d.absent("x.clv")
	})
	t.Run("a key that is not there looks the same", func(t *testing.T) {
		r := d.run("--profile", "app2", "encrypt", "--key", "no/such", "-o", "x.clv", "cards.txt").ends(t, 4)
		if !strings.HasPrefix(r.err, "error: app2 may not encrypt with no/such (no policy allows it)\n") {
			t.Errorf("got %q", r.err)
		}
	})
	t.Run("sealed, and nobody to ask", func(t *testing.T) {
		d.server.end(interrupt)
		server := d.start("server", "--dir", "server").shows("[root] credential")
		for _, way := range []string{
			"next: unseal it from another terminal: claviger unseal --dir server\n",
			"next: or name a key file in claviger.toml: [root] key_file\n",
			"next: or, under systemd, name a credential there: [root] credential\n",
		} {
			server.shows(way)
		}
		d.run("--profile", "app1", "encrypt", "--key", tourKey, "-o", "x.clv", "cards.txt").oneError(t, 1, "sealed")
		d.do("unseal", "--dir", "server", "--passphrase-file", "root.pass")
		d.do("--profile", "app1", "encrypt", "--key", tourKey, "-o", "x.clv", "cards.txt")
	})
	t.Run("a terminal is no place for ciphertext", func(t *testing.T) {
		s := d.sit([]string{"--profile", "app1", "encrypt", "--key", tourKey, "cards.txt"}).ends(2)
		s.shows("the output is binary and standard output is a terminal").shows("name a file with -o")
	})
	t.Run("output is input", func(t *testing.T) {
		d.run("--profile", "app1", "encrypt", "--key", tourKey, "-o", "cards.txt", "cards.txt").oneError(t, 2, "input and output are the same file", "hint: name another file with -o")
		if d.read("cards.txt") != "4929 4212 3456 7890\n" {
			t.Error("the input was changed")
		}
	})
	t.Run("a profile is not overwritten", func(t *testing.T) {
		profile, key := d.read(".config/claviger/app2/profile.json"), d.read(".config/claviger/app2/key.pem")
		d.admin("client", "invite", "app2", "-o", "again.invite").ends(t, 0)
		d.run("client", "enroll", "again.invite").oneError(t, 2, "hint: name another with --profile")
		if d.read(".config/claviger/app2/profile.json") != profile || d.read(".config/claviger/app2/key.pem") != key {
			t.Error("the profile was changed")
		}
		d.do("--profile", "app2b", "client", "enroll", "again.invite") // the invite was not used up
	})
}
