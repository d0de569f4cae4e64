// SPDX-License-Identifier: Apache-2.0

package keyserver_test

import (
	"bufio"
	"bytes"
	"context"
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

	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/api"
	"claviger/internal/keyserver/keyservertest"
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
	s, err := api.New(keyserver.Options{Dir: dir, Domain: wire.DomainID(id), Clock: clock.System()}, nil)
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
	return s.Serve(ctx, api.Listeners{API: l})
}

// process is a key server of its own.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// spawn starts one on the rig's directory, through a wrapper if there is one.
func spawn(r *keyservertest.Rig, wrapper ...string) *process {
	r.T.Helper()
	args := append(wrapper, os.Args[0])
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), serveEnv+"="+r.Dir+" "+r.Founded.Domain.String())
	var trouble bytes.Buffer
	cmd.Stderr = &trouble
	in, err := cmd.StdinPipe()
	if err != nil {
		r.T.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		r.T.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		r.T.Fatalf("the server does not start: %s", trouble.String())
	}
	r.Addr = strings.TrimSpace(line)
	r.Introduce()
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
	gone   []string // destroyed
	leaf   []byte   // of the key that stays
	grants []*wire.Grant
}

// processRig is a rig whose server runs in processes.
func processRig(t *testing.T) *keyservertest.Rig {
	t.Helper()
	r := keyservertest.New(t)
	r.Halt()
	key := secret.Random(32)
	if err := os.WriteFile(filepath.Join(r.Dir, "unlock"), key.Expose(), 0o600); err != nil {
		t.Fatal(err)
	}
	s := r.Open()
	defer s.Wipe()
	if err := root.Reseal(filepath.Join(r.Dir, "root"), s, root.Sealing{Key: key}); err != nil {
		t.Fatal(err)
	}
	return r
}

// try does one thing to the server and notes what it promised; errors are what
// one gets from a server that dies.
func (p *promised) try(r *keyservertest.Rig, app *keyservertest.Workload, c *http.Client, n int) error {
	if n%4 == 0 {
		name := fmt.Sprintf("k%d-%d", n, rand.Uint64())
		epoch, err := tryCreate(r, name)
		if err != nil {
			return err
		}
		p.mu.Lock()
		p.keys = append(p.keys, name)
		if epoch.Compare(p.epoch) > 0 {
			p.epoch = epoch
		}
		p.mu.Unlock()
		if n%8 == 0 {
			return p.tryDestroy(r, name)
		}
		return nil
	}
	sealed, hpke := r.Request(app, keyservertest.DataKey("k", "encrypt", "decrypt"), 30*time.Second)
	resp, err := c.Post("https://"+r.Addr+"/v1/exchange", "application/cbor", bytes.NewReader(sealed))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		return fmt.Errorf("%d %w", resp.StatusCode, err)
	}
	rel, err := wire.ParseRelease(r.Unseal(hpke, wire.TypeRelease, sealed, body))
	if err != nil {
		return err
	}
	grant, err := wire.ParseGrant(rel.Grant, r.ServerKey())
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.grants = append(p.grants, grant)
	return nil
}

// tryDestroy has a key destroyed at once: an erasure epoch ends for it.
func (p *promised) tryDestroy(r *keyservertest.Rig, name string) error {
	state, err := r.TryReplay()
	if err != nil {
		return err
	}
	entry, err := state.Entry(authority.KindKeyDestroy, authority.Destroy{ID: state.KeyNamed(name).ID}, time.Now().Add(time.Hour), r.Admin)
	if err != nil {
		return err
	}
	status, body, err := r.TryAdmin("POST", "/v1/admin/entries", entry)
	if err != nil || status != 200 || bytes.Contains(body, []byte(`"note"`)) {
		return fmt.Errorf("destroy: %d %s: %w", status, body, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = append(p.gone, name)
	return nil
}

// TestKill kills the server 200 times while clients use it and an admin changes
// it. Nothing that was acknowledged may be gone, and the audit logs must verify
// against every grant that a client got.
func TestKill(t *testing.T) {
	const kills = 200
	r := processRig(t)
	var app *keyservertest.Workload
	p := &promised{}
	for i := range kills {
		server := spawn(r)
		if app == nil {
			r.CreateKey("k", authority.AES256)
			app = r.Enroll("app1")
			r.Allow(`permit(principal, action, resource);`)
		}
		var clients sync.WaitGroup
		for w := range 4 {
			clients.Go(func() {
				c := r.Client(app.Identity())
				c.Transport.(*http.Transport).DisableKeepAlives = false
				defer c.CloseIdleConnections()
				for n := w; p.try(r, app, c, n) == nil; n += 4 {
				}
			})
		}
		most := 150
		if i%8 == 7 {
			most = 900 // long enough for a destruction
		}
		<-time.After(time.Duration(rand.IntN(most)) * time.Millisecond)
		server.kill()
		clients.Wait()
		if i%20 == 19 || i == kills-1 {
			verifyPromises(r, p, app)
		}
		if t.Failed() {
			t.Fatalf("after %d kills", i+1)
		}
	}
	if len(p.grants) == 0 || len(p.gone) == 0 {
		t.Error("nothing was acknowledged between the kills")
	}
	t.Logf("%d kills; %d keys made, %d of them destroyed, %d grants: all as acknowledged", kills, len(p.keys), len(p.gone), len(p.grants))
}

// verifyPromises starts the server once more and looks for what it promised.
func verifyPromises(r *keyservertest.Rig, p *promised, app *keyservertest.Workload) {
	r.T.Helper()
	server := spawn(r)
	defer func() { server.stdin.Close(); _ = server.cmd.Wait() }()
	state := r.Replay()
	if state.Epoch.Compare(p.epoch) < 0 || len(state.Voids) > 0 {
		r.T.Errorf("the log ends at %s, %s was acknowledged; voids %+v", state.Epoch, p.epoch, state.Voids)
	}
	for _, name := range p.keys {
		if k := state.KeyNamed(name); k == nil || len(k.Versions) == 0 {
			r.T.Errorf("key %s was acknowledged and is %+v", name, k)
		}
	}
	for _, name := range p.gone {
		if v := state.KeyNamed(name).Version(1); v.State != wire.StateDestroyed || len(state.DestroyedExcept(v)) > 0 {
			r.T.Errorf("key %s was said to be destroyed and is %+v", name, v)
		}
	}
	_, rel := r.Release(app, "k", "encrypt")
	if p.leaf == nil {
		p.leaf = rel.Keys[0]
	}
	if !bytes.Equal(p.leaf, rel.Keys[0]) {
		r.T.Error("the key that stays is another one")
	}
	if err := auditHolds(r, p.grants); err != nil {
		r.T.Errorf("audit: %v", err)
	}
}

// tryCreate is createKey that reports instead of failing the test: the server
// may die at any moment.
func tryCreate(r *keyservertest.Rig, name string) (epoch wire.Epoch, err error) {
	status, body, err := tryPropose(r, name)
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

func tryPropose(r *keyservertest.Rig, name string) (int, []byte, error) {
	state, err := r.TryReplay()
	if err != nil {
		return 0, nil, err
	}
	p := keyservertest.NewKey(name, authority.AES256)
	entry, err := state.Entry(authority.KindKeyCreate, p, time.Now().Add(time.Hour), r.Admin)
	if err != nil {
		return 0, nil, err
	}
	return r.TryAdmin("POST", "/v1/admin/entries", entry)
}
