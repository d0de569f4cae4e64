// SPDX-License-Identifier: Apache-2.0

package accept

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// Each case breaks one thing, wants one clear error, mends it, and wants the same
// command to work: nothing was damaged. A clock that is off by a day can't be had
// without changing the machine's; internal/authority and client test that.
func TestBadInputIsToldAndHarmless(t *testing.T) {
	t.Parallel()
	d := enrolled(t)
	d.write("cards.txt", "4929 4212 3456 7890\n")
	d.do("encrypt", "--key", tourKey, "-o", "cards.clv", "cards.txt")
	d.server.end(interrupt)

	config := func(old, new string, parts ...string) func(*testing.T) {
		return func(t *testing.T) {
			was := d.read("server/claviger.toml")
			d.edit("server/claviger.toml", old, new)
			d.run("config", "check", "--dir", "server").oneError(t, 1, parts...)
			d.run("server", "--dir", "server").oneError(t, 1, parts...)
			d.write("server/claviger.toml", was)
		}
	}
	t.Run("unknown setting", config("listen =", "lisen =", "line 8", `unknown key "lisen"`))
	t.Run("configuration of the future", config("schema = 1", "schema = 2", "line 2", "schema 2"))
	t.Run("metrics for all", config(`metrics = "127.0.0.1`, `metrics = "0.0.0.0`, "metrics: 0.0.0.0 is not a loopback address"))
	t.Run("a directory of something else", func(t *testing.T) {
		d.run("server", "--dir", ".config").oneError(t, 3, "claviger.toml")
		d.run("init", "--dir", ".config", "--profile", "./bob", "--as", "bob", "--root-passphrase-file", "root.pass", "--passphrase-file", "admin.pass").oneError(t, 2, "not empty")
	})
	t.Run("port taken", func(t *testing.T) {
		l, err := net.Listen("tcp", d.listen)
		if err != nil {
			t.Fatal(err)
		}
		d.run("server", "--dir", "server").oneError(t, 1, "another program listens on "+d.listen)
		l.Close()
	})
	t.Run("custody file of the future", func(t *testing.T) { d.futureRoot(t) })
	t.Run("another installation's log", func(t *testing.T) { d.foreignLog(t) })

	d.server = d.start("server", "--dir", "server").shows("Serving ")
	t.Run("wrong passphrase", func(t *testing.T) {
		d.run("unseal", "--dir", "server", "--passphrase-file", "admin.pass").oneError(t, 4, "passphrase")
		d.run("root", "check", "--dir", "server", "--passphrase-file", "admin.pass").oneError(t, 4, "passphrase")
		d.run("status", "--passphrase-file", "root.pass").refuses(t)
	})
	d.do("unseal", "--dir", "server", "--passphrase-file", "root.pass")
	d.do("decrypt", "--key", tourKey, "-o", "out", "cards.clv")
	if d.read("out") != d.read("cards.txt") {
		t.Error("what was decrypted differs")
	}
	t.Run("ciphertext of the future", func(t *testing.T) { d.futureCiphertext(t) })
	t.Run("full disk", func(t *testing.T) { d.fullDisk(t) })
}

// futureRoot: a custody file of a later version.
func (d *domain) futureRoot(t *testing.T) {
	was := d.read("server/root/custody.json")
	d.edit("server/root/custody.json", `"version":1`, `"version":2`)
	d.run("root", "check", "--dir", "server", "--passphrase-file", "root.pass").refuses(t, "version")
	d.write("server/root/custody.json", was)
	d.do("root", "check", "--dir", "server", "--passphrase-file", "root.pass")
}

// foreignLog: the log of another domain under this configuration.
func (d *domain) foreignLog(t *testing.T) {
	other := installed(t)
	other.server.end(interrupt)
	was := d.read("server/state.db")
	d.write("server/state.db", other.read("server/state.db"))
	server := d.start("server", "--dir", "server")
	eventually(t, func() error {
		if !strings.Contains(server.String(), "Serving ") && !strings.Contains(server.String(), "error: ") {
			return errors.New("it neither serves nor fails")
		}
		return nil
	})
	d.run("unseal", "--dir", "server", "--passphrase-file", "root.pass").refuses(t)
	server.end(interrupt)
	d.write("server/state.db", was)
}

// futureCiphertext: version 2 of the format, with an otherwise good header.
func (d *domain) futureCiphertext(t *testing.T) {
	sealed := []byte(d.read("cards.clv"))
	inspected := d.do("inspect", "--json", "cards.clv")
	if !strings.Contains(inspected, `"format_version":1`) {
		t.Fatal(inspected)
	}
	at := strings.IndexByte(string(sealed[:16]), 1) // the version follows the magic
	sealed[at] = 2
	d.write("future.clv", string(sealed))
	d.run("decrypt", "--key", tourKey, "-o", "never", "future.clv").oneError(t, 6, "not a ciphertext of a known format")
	d.absent("never")
}

// fullDisk: no more than some KiB may be written to a file, so neither a result
// nor a profile is whole.
func (d *domain) fullDisk(t *testing.T) {
	d.write("big", strings.Repeat("0123456789abcdef", 1<<16))
	full := func(line string) result { return d.shell("trap '' XFSZ; ulimit -f 64; " + line) }
	full("claviger encrypt --key "+tourKey+" -o big.clv big").oneError(t, 1, "file too large")
	d.absent("big.clv")
	full("claviger encrypt --key "+tourKey+" big > piped").refuses(t, "file too large")
	leftovers(t, d.home)
	d.do("encrypt", "--key", tourKey, "-o", "big.clv", "big")
	if os.Getuid() != 0 {
		return // only root can mount
	}
	if err := os.Mkdir(d.path("small"), 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=16k", "none", d.path("small")).CombinedOutput(); err != nil {
		t.Logf("no small file system can be mounted here: %s", out)
		return
	}
	defer syscall.Unmount(d.path("small"), syscall.MNT_DETACH)
	d.run("encrypt", "--key", tourKey, "-o", "small/big.clv", "big").oneError(t, 1, "no space left on device")
	leftovers(t, d.path("small"))
	d.run("init", "--dir", "small/D", "--as", "bob", "--root-passphrase-file", "root.pass", "--passphrase-file", "admin.pass").refuses(t, "no space left on device")
	d.absent("small/D")
	d.absent(".config/claviger/bob")
}

func TestUnwritableDirectory(t *testing.T) {
	t.Parallel()
	p := user(t, 64003)
	p.do("init", "--dir", "D", "--as", "alice", "--root-passphrase-file", "root.pass", "--passphrase-file", "admin.pass")
	for _, dir := range []string{"D", "."} {
		if err := os.Chmod(p.path(dir), 0o500); err != nil {
			t.Fatal(err)
		}
	}
	defer os.Chmod(p.path("."), 0o700)
	p.run("server", "--dir", "D").oneError(t, 1, "the data directory can't be written")
	p.run("init", "--dir", "E", "--as", "bob", "--root-passphrase-file", "root.pass", "--passphrase-file", "admin.pass").oneError(t, 1, "permission denied")
	os.Chmod(p.path("."), 0o700)
	os.Chmod(p.path("D"), 0o700)
	p.do("config", "check", "--dir", "D")
}
