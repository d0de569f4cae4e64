// SPDX-License-Identifier: Apache-2.0

package keyserver_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/internal/audit"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// serveEnv makes the test program a key server: the value is its directory and
// domain. It prints its address and serves until it is killed.
const serveEnv = "CLAVIGER_TEST_SERVE"

func TestMain(m *testing.M) {
	if arg, ok := os.LookupEnv(serveEnv); ok {
		if err := serveForTest(arg); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func serveForTest(arg string) error {
	dir, domain, _ := strings.Cut(arg, " ")
	id, err := hex.DecodeString(domain)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(dir, "unlock"))
	if err != nil {
		return err
	}
	r, err := root.Open(filepath.Join(dir, "root"), root.Unlock{Key: secret.Take(key)})
	if err != nil {
		return err
	}
	s, err := keyserver.New(keyserver.Options{Dir: dir, Domain: wire.DomainID(id), Clock: clock.System()})
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
	ctx, stop := context.WithCancel(context.Background())
	go func() { // the parent's end of the pipe closes when it wants an orderly end
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	return s.Serve(ctx, keyserver.Listeners{API: l})
}

// process is a key server of its own.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// spawn starts one on the rig's directory, through a wrapper if there is one.
func (r *rig) spawn(wrapper ...string) *process {
	r.t.Helper()
	args := append(wrapper, os.Args[0])
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), serveEnv+"="+r.dir+" "+r.founded.Domain.String())
	var trouble bytes.Buffer
	cmd.Stderr = &trouble
	in, err := cmd.StdinPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		r.t.Fatalf("the server does not start: %s", trouble.String())
	}
	r.addr = strings.TrimSpace(line)
	r.introduce()
	return &process{cmd, in}
}

// kill ends it as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// promised is what the server acknowledged so far.
type promised struct {
	mu     sync.Mutex
	epoch  wire.Epoch // of the newest entry that it said was applied
	keys   []string
	grants []*wire.Grant
}

// processRig is a rig whose server runs in processes.
func processRig(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	r.halt()
	key := secret.Random(32)
	if err := os.WriteFile(filepath.Join(r.dir, "unlock"), key.Expose(), 0o600); err != nil {
		t.Fatal(err)
	}
	s := r.open()
	defer s.Wipe()
	if err := root.Reseal(filepath.Join(r.dir, "root"), s, root.Sealing{Key: key}); err != nil {
		t.Fatal(err)
	}
	return r
}

// try does one thing to the server and notes what it promised; errors are what
// one gets from a server that dies.
func (p *promised) try(r *rig, app *workload, c *http.Client, n int) error {
	if n%4 == 0 {
		name := fmt.Sprintf("k%d-%d", n, rand.Uint64())
		epoch, err := r.tryCreate(name)
		if err != nil {
			return err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.keys = append(p.keys, name)
		if epoch.Compare(p.epoch) > 0 {
			p.epoch = epoch
		}
		return nil
	}
	sealed, hpke := r.request(app, dataKey("k", "encrypt", "decrypt"), 30*time.Second)
	resp, err := c.Post("https://"+r.addr+"/v1/exchange", "application/cbor", bytes.NewReader(sealed))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		return fmt.Errorf("%d %w", resp.StatusCode, err)
	}
	rel, err := wire.ParseRelease(r.unseal(hpke, wire.TypeRelease, sealed, body))
	if err != nil {
		return err
	}
	grant, err := wire.ParseGrant(rel.Grant, r.serverKey())
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.grants = append(p.grants, grant)
	return nil
}

// TestKill kills the server 200 times while clients use it and an admin changes
// it. Nothing that was acknowledged may be gone, and the audit logs must verify
// against every grant that a client got.
func TestKill(t *testing.T) {
	kills := 200
	if testing.Short() {
		kills = 20
	}
	r := processRig(t)
	var app *workload
	p := &promised{}
	for i := range kills {
		server := r.spawn()
		if app == nil {
			r.createKey("k", authority.AES256)
			app = r.enroll("app1")
			r.allow(`permit(principal, action, resource);`)
		}
		var clients sync.WaitGroup
		for w := range 4 {
			clients.Go(func() {
				c := r.client(app.identity())
				c.Transport.(*http.Transport).DisableKeepAlives = false
				defer c.CloseIdleConnections()
				for n := w; p.try(r, app, c, n) == nil; n += 4 {
				}
			})
		}
		<-time.After(time.Duration(rand.IntN(120)) * time.Millisecond)
		server.kill()
		clients.Wait()
		if i%20 == 19 || i == kills-1 {
			r.verifyPromises(p)
		}
		if t.Failed() {
			t.Fatalf("after %d kills", i+1)
		}
	}
	t.Logf("%d kills, %d keys made, %d grants, all there", kills, len(p.keys), len(p.grants))
}

// verifyPromises starts the server once more and looks for what it promised.
func (r *rig) verifyPromises(p *promised) {
	r.t.Helper()
	server := r.spawn()
	defer func() { server.stdin.Close(); _ = server.cmd.Wait() }()
	state := r.replay()
	if state.Epoch.Compare(p.epoch) < 0 || len(state.Voids) > 0 {
		r.t.Errorf("the log ends at %s, %s was acknowledged; voids %+v", state.Epoch, p.epoch, state.Voids)
	}
	for _, name := range p.keys {
		if k := state.KeyNamed(name); k == nil || len(k.Versions) == 0 {
			r.t.Errorf("key %s was acknowledged and is %+v", name, k)
		}
	}
	status, archive := r.asAdmin("GET", "/v1/admin/audit/export", nil)
	if status != 200 {
		r.t.Fatalf("export: %d", status)
	}
	o := audit.VerifyOptions{Domain: r.founded.Domain, Keys: map[wire.ServerID]ed25519.PublicKey{r.founded.Server: r.serverKey().(ed25519.PublicKey)}}
	for _, g := range p.grants {
		o.Receipts = append(o.Receipts, audit.Receipts(g)...)
	}
	if at, ok := state.Anchor(r.founded.Server); ok {
		o.Anchors = append(o.Anchors, audit.Anchor{Server: r.founded.Server, Checkpoint: at, Source: "authority log"})
	}
	report, err := audit.Verify(o, bytes.NewReader(archive))
	if err != nil || !report.OK() {
		r.t.Errorf("audit: %v %+v", err, report.Faults[:min(3, len(report.Faults))])
	}
	if len(report.Logs) != 1 {
		r.t.Errorf("%d audit logs: a kill made the server give one up", len(report.Logs))
	}
}

// tryCreate is createKey that reports instead of failing the test: the server
// may die at any moment.
func (r *rig) tryCreate(name string) (epoch wire.Epoch, err error) {
	status, body, err := r.tryPropose(name)
	if err != nil || status != 200 {
		return epoch, fmt.Errorf("%d %s: %w", status, body, err)
	}
	var out struct {
		Applied bool
		Epoch   string
		Note    string
	}
	if err := json.Unmarshal(body, &out); err != nil || !out.Applied || out.Note != "" {
		return epoch, fmt.Errorf("%s: %w", body, err)
	}
	_, err = fmt.Sscanf(out.Epoch, "%d.%d", &epoch.Generation, &epoch.Position)
	return epoch, err
}

func (r *rig) tryPropose(name string) (int, []byte, error) {
	state, err := r.tryReplay()
	if err != nil {
		return 0, nil, err
	}
	p := newKey(name, authority.AES256)
	entry, err := state.Entry(authority.KindKeyCreate, p, time.Now().Add(time.Hour), r.admin)
	if err != nil {
		return 0, nil, err
	}
	return r.tryAdmin("POST", "/v1/admin/entries", entry)
}
