// SPDX-License-Identifier: Apache-2.0

// Package mariadb holds the Vault-compatible door against MariaDB's own plugin for
// keys in Vault (Debian: mariadb-server-core, mariadb-client-core and
// mariadb-plugin-hashicorp-key-management). MARIADB_ROOT names the directory that
// the packages were unpacked into, if they aren't installed.
package mariadb

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/authority/endpoints"
	"claviger/internal/gateway/gatewaytest"
	"claviger/internal/gateway/vaultapi"
	"claviger/internal/gateway/vaultapi/auth"
)

// database is a MariaDB whose tables, and redo log, are encrypted with keys from a
// mount.
type database struct {
	*testing.T
	dir, root string
	stop      context.CancelFunc
	ended     chan error
	log       string // file that the server writes to
}

func (d *database) path(parts ...string) string {
	return filepath.Join(append([]string{d.dir}, parts...)...)
}

// command makes a command of the packages.
func (d *database) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, d.root+program, args...)
	c.Env = append(os.Environ(), fmt.Sprintf("LD_LIBRARY_PATH=%[1]s/usr/lib/x86_64-linux-gnu:%[1]s/lib/x86_64-linux-gnu", d.root))
	return c
}

// newDatabase makes an empty one. The token stands in a file that only its owner
// reads.
func newDatabase(t *testing.T, mount, token string, ca []byte) *database {
	t.Helper()
	short, err := os.MkdirTemp("", "db") // a socket's path has 108 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	d := &database{T: t, dir: short, root: os.Getenv("MARIADB_ROOT"), log: filepath.Join(short, "error.log")}
	config := fmt.Sprintf(`[mariadbd]
datadir=%[1]s/data
socket=%[1]s/sock
pid-file=%[1]s/pid
log-error=%[1]s/error.log
skip-networking
user=%[5]s
plugin-dir=%[2]s/usr/lib/mysql/plugin
lc-messages-dir=%[2]s/usr/share/mysql
character-sets-dir=%[2]s/usr/share/mysql/charsets
plugin-load-add=hashicorp_key_management.so
hashicorp-key-management-vault-url=%[3]s
hashicorp-key-management-token=%[4]s
hashicorp-key-management-vault-ca=%[1]s/ca.pem
hashicorp-key-management-timeout=15
innodb-encrypt-tables=FORCE
innodb-encrypt-log=ON
innodb-encryption-threads=0
`, d.dir, d.root, mount, token, "root")
	if os.Getuid() != 0 {
		config = strings.ReplaceAll(config, "user=root\n", "")
	}
	for name, text := range map[string][]byte{"my.cnf": []byte(config), "ca.pem": ca} {
		if err := os.WriteFile(d.path(name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(d.path("data"), 0o700); err != nil {
		t.Fatal(err)
	}
	d.install()
	return d
}

// install makes the system tables: in a bootstrap run, from the package's own SQL.
func (d *database) install() {
	d.Helper()
	var sql bytes.Buffer
	sql.WriteString("CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n")
	for _, name := range []string{"mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql", "fill_help_tables.sql"} {
		text, err := os.ReadFile(d.root + "/usr/share/mysql/" + name)
		if err != nil {
			d.Fatalf("MariaDB isn't installed (mariadb-server-core, mariadb-client-core, mariadb-plugin-hashicorp-key-management), and MARIADB_ROOT names no directory with it: %v", err)
		}
		sql.Write(text)
	}
	ctx, cancel := context.WithTimeout(d.Context(), 3*time.Minute)
	defer cancel()
	c := d.command(ctx, "/usr/sbin/mariadbd", "--defaults-file="+d.path("my.cnf"), "--bootstrap", "--silent-startup", "--skip-grant-tables", "--max-allowed-packet=8M")
	c.Stdin = &sql
	if out, err := c.CombinedOutput(); err != nil {
		d.Fatalf("bootstrap: %v\n%s\n%s", err, out, d.tail())
	}
}

func (d *database) tail() string {
	text, _ := os.ReadFile(d.log)
	return string(text[max(0, len(text)-3000):])
}

// start runs the server; an error if it ended before it answered.
func (d *database) start() error {
	d.Helper()
	ctx, stop := context.WithCancel(context.Background())
	c := d.command(ctx, "/usr/sbin/mariadbd", "--defaults-file="+d.path("my.cnf"))
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = time.Minute
	if err := c.Start(); err != nil {
		d.Fatal(err)
	}
	d.stop, d.ended = stop, make(chan error, 1)
	go func() { d.ended <- c.Wait() }()
	d.Cleanup(stop)
	for {
		select {
		case err := <-d.ended:
			d.ended <- err
			return fmt.Errorf("mariadbd ended: %v\n%s", err, d.tail())
		case <-time.After(200 * time.Millisecond):
		}
		if _, err := d.sql("SELECT 1"); err == nil {
			return nil
		}
	}
}

// halt ends the server in order.
func (d *database) halt() {
	d.Helper()
	if _, err := d.sql("SHUTDOWN"); err != nil {
		d.Fatal(err)
	}
	<-d.ended
	d.stop()
}

func (d *database) sql(text string) (string, error) {
	c := d.command(d.Context(), "/usr/bin/mariadb", "--no-defaults", "--socket="+d.path("sock"), "--user=root", "--batch", "--skip-column-names",
		"--character-sets-dir="+d.root+"/usr/share/mysql/charsets")
	c.Stdin = strings.NewReader(text)
	out, err := c.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", text, err, out)
	}
	return strings.TrimSpace(string(out)), err
}

func (d *database) must(text string) string {
	d.Helper()
	out, err := d.sql(text)
	if err != nil {
		d.Fatalf("%v\n%s", err, d.tail())
	}
	return out
}

// onDisk reports whether any file of the database has a text in it.
func (d *database) onDisk(text string) (found bool) {
	d.Helper()
	err := filepath.WalkDir(d.path("data"), func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		found = found || bytes.Contains(data, []byte(text))
		return err
	})
	if err != nil {
		d.Fatal(err)
	}
	return found
}

// door is an endpoint with a mount, and a token for it.
func door(t *testing.T) (r *gatewaytest.Rig, token string) {
	keep := func(r *gatewaytest.Rig, e *authority.Endpoint, use, subject string) string {
		made, err := auth.Credential(use, subject)
		if err != nil {
			t.Fatal(err)
		}
		made.Credential.Material = endpoints.MaterialHash(made.Material.Expose())
		if status, body := r.AsAdmin("POST", "/v1/admin/material", slices.Clone(made.Material.Expose())); status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
		e.Credentials = append(e.Credentials, made.Credential)
		return made.Show
	}
	r = gatewaytest.New(t, &gatewaytest.Suite{
		Kind: vaultapi.Kind(),
		Endpoint: authority.Endpoint{
			Name: "vault", Kind: "vault", Host: "localhost", Options: []authority.Tag{gatewaytest.Tag("kv.secret", "secrets/db")},
		},
		Before: func(r *gatewaytest.Rig, e *authority.Endpoint) {
			keep(r, e, "", "")
			token = keep(r, e, auth.UseToken, "mariadb")
		},
	})
	r.CreateKey("secrets/db", authority.AES256)
	r.Allow(`permit (principal in Endpoint::"vault", action in [Action::"secret:read", Action::"secret:write"], resource in Folder::"secrets/db");`)
	return r, token
}

// put writes a key of MariaDB's by its number.
func put(t *testing.T, r *gatewaytest.Rig, token string, number int) {
	t.Helper()
	key := make([]byte, 32)
	rand.Read(key)
	req, err := http.NewRequestWithContext(t.Context(), "POST", fmt.Sprintf("%s/v1/secret/data/%d", r.Base(), number),
		strings.NewReader(`{"data":{"data":"`+hex.EncodeToString(key)+`"}}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", token)
	resp, err := r.Client(nil).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %s %v", resp.StatusCode, body, err)
	}
}

// TestMariaDB: an encrypted table whose keys are secrets of ours outlives a restart
// of the database and of the key server, goes on with a key's next version, and the
// database doesn't start while the key that backs its secrets is disabled.
func TestMariaDB(t *testing.T) {
	r, token := door(t)
	put(t, r, token, 1)
	put(t, r, token, 2)
	d := newDatabase(t, r.Base()+"/v1/secret", token, r.PEM())
	if err := d.start(); err != nil {
		t.Fatal(err)
	}
	const canary = "canary-8f2b1c-attack-at-dawn"
	d.must(`CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY, note VARCHAR(200)) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=2;
		INSERT INTO shop.orders VALUES (1, '` + canary + `');`)
	read := func() string { return d.must("SELECT note FROM shop.orders WHERE id = 1") }
	if got := read(); got != canary {
		t.Fatalf("read %q", got)
	}
	d.halt()
	if d.onDisk(canary) {
		t.Error("the table lies on the disk as it is")
	}
	if err := r.Server.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Server.Unseal(t.Context(), r.Open()); err != nil {
		t.Fatal(err)
	}
	r.Introduce()
	if err := d.start(); err != nil {
		t.Fatal(err)
	}
	if got := read(); got != canary {
		t.Errorf("after a restart of both: %q", got)
	}
	put(t, r, token, 2) // the next version: what is there stays readable under the one before
	d.must("INSERT INTO shop.orders VALUES (2, 'more')")
	d.halt()
	if err := d.start(); err != nil {
		t.Fatal(err)
	}
	if got := read(); got != canary {
		t.Errorf("after the next version: %q", got)
	}
	d.halt()
	id := r.KeyOf("secrets/db").ID
	r.Propose(authority.KindKeyDisable, authority.KeyRef{ID: id})
	if err := d.start(); err == nil {
		t.Error("the database starts, though the key is disabled")
	} else if !strings.Contains(err.Error(), `{"errors":["the key is disabled"]}`) {
		t.Errorf("it doesn't start, and not because of the key: %v", err)
	}
	r.Propose(authority.KindKeyEnable, authority.KeyRef{ID: id})
	if err := d.start(); err != nil {
		t.Fatal(err)
	}
	if got := read(); got != canary {
		t.Errorf("after the key was enabled: %q", got)
	}
	d.halt()
}
