// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"claviger/client"
	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/api"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/testkit"
	"claviger/internal/wire"
)

// roles of this test program as a process of its own, by its first argument.
var roles = map[string]func(args []string) error{"child-server": childServer, "child-client": childClient}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if role, ok := roles[os.Args[1]]; ok {
			if err := role(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// child is a process of this program in a role.
type child struct {
	*exec.Cmd
	lines *bufio.Scanner
}

func spawn(t *testing.T, role string, args ...string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{Cmd: exec.Command(self, append([]string{role}, args...)...)}
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	c.lines = bufio.NewScanner(out)
	t.Cleanup(func() { c.end() })
	return c
}

// line is the next line that the process prints.
func (c *child) line(t *testing.T) string {
	t.Helper()
	if !c.lines.Scan() {
		t.Fatalf("the process ended: %v", c.Wait())
	}
	return c.lines.Text()
}

// end kills the process, as a machine that loses it would.
func (c *child) end() {
	_ = c.Process.Kill() // it may have ended by itself
	_ = c.Wait()         // says that it was killed
}

// childServer serves a data directory until it is killed: directory, domain id, key
// file of the root.
func childServer(args []string) error {
	key, err := root.ReadKey(args[2])
	if err != nil {
		return err
	}
	r, err := root.Open(filepath.Join(args[0], "root"), root.Unlock{Key: key})
	if err != nil {
		return err
	}
	id, err := hex.DecodeString(args[1])
	if err != nil {
		return err
	}
	s, err := api.New(keyserver.Options{Dir: args[0], Domain: wire.DomainID(id), Clock: clock.System()}, nil)
	if err != nil {
		return err
	}
	if err := s.Unseal(context.Background(), r); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return s.Serve(context.Background(), api.Listeners{API: l})
}

// childClient takes a lease, tells when it has it and when it has ended, and waits:
// profile directory.
func childClient(args []string) error {
	p, err := client.OpenProfile(args[0])
	if err != nil {
		return err
	}
	c, err := client.Dial(context.Background(), p, client.Options{})
	if err != nil {
		return err
	}
	object, err := c.Encrypt(context.Background(), cards, []byte("x"), client.EncryptOptions{})
	if err != nil {
		return err
	}
	if _, _, err := c.Decrypt(context.Background(), object, client.DecryptOptions{Keys: []string{cards}}); err != nil {
		return err
	}
	// Something that a scan has to find, or it finds nothing.
	control := bytes.ToUpper([]byte("a control that lies in ordinary memory"))
	fmt.Println("leased")
	<-time.After(4 * time.Second) // the lease is one of two seconds, and nobody uses the client
	for range 3 {
		runtime.GC()
	}
	fmt.Println("ended")
	select {
	case <-time.After(time.Minute):
	case <-context.Background().Done():
	}
	runtime.KeepAlive(control)
	runtime.KeepAlive(c)
	return nil
}

// processWorld is a domain whose server runs as a process of its own.
type processWorld struct {
	*world
	keyFile string
	server  *child
}

func newProcessWorld(t *testing.T) *processWorld {
	t.Helper()
	file := filepath.Join(t.TempDir(), "root.key")
	raw := secret.Random(32)
	defer raw.Wipe()
	if err := os.WriteFile(file, []byte(hex.EncodeToString(raw.Expose())), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := root.ReadKey(file)
	if err != nil {
		t.Fatal(err)
	}
	w := worldWith(t, testkit.Options{
		Clock: clock.System(), Sealing: root.Sealing{Key: key}, Unlock: func() root.Unlock { return root.Unlock{Key: key} },
	})
	w.Stop()
	return &processWorld{world: w, keyFile: file}
}

// up starts the server's process.
func (p *processWorld) up() {
	p.t.Helper()
	p.server = spawn(p.t, "child-server", p.Dir, p.Founded.Domain.String(), p.keyFile)
	p.Adopt(p.server.line(p.t))
}
