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
	gone  chan struct{} // closed when it has ended
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
	p := &process{cmd, in, make(chan struct{})}
	go func() { _ = cmd.Wait(); close(p.gone) }()
	r.Introduce()
	return p
}

// kill ends it as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.gone
}

// stop ends it in order.
func (p *process) stop() {
	p.stdin.Close()
	<-p.gone
}

// promised is what the server acknowledged so far.
type promised struct {
	mu     sync.Mutex
	epoch  wire.Epoch // of the newest entry that it said was applied
	keys   []string
	gone   []string // destroyed
	leaf   []byte   // of the key that stays
	grants []*wire.Grant
	no     error // why the last request brought nothing

	moved chan struct{} // holds something when there is more
}

func newPromised() *promised { return &promised{moved: make(chan struct{}, 1)} }

// note adds what was acknowledged.
func (p *promised) note(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	select {
	case p.moved <- struct{}{}:
	default:
	}
}

// count is how much was acknowledged so far.
func (p *promised) count() (keys, gone, grants int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.keys), len(p.gone), len(p.grants)
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
		p.note(func() {
			p.keys = append(p.keys, name)
			if epoch.Compare(p.epoch) > 0 {
				p.epoch = epoch
			}
		})
		if n%8 == 0 {
			return p.tryDestroy(r, name)
		}
		return nil
	}
	sealed, hpke := r.Request(app, keyservertest.DataKey("k", "encrypt", "decrypt"), 50*time.Second)
	resp, err := c.Post("https://"+r.Addr+"/v1/exchange", "application/cbor", bytes.NewReader(sealed))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != 200 {
		return fmt.Errorf("%d %s", resp.StatusCode, body)
	}
	rel, err := wire.ParseRelease(r.Unseal(hpke, wire.TypeRelease, sealed, body))
	if err != nil {
		return err
	}
	grant, err := wire.ParseGrant(rel.Grant, r.ServerKey())
	if err != nil {
		return err
	}
	p.note(func() { p.grants = append(p.grants, grant) })
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
	if err != nil {
		return err
	}
	if status != 200 || bytes.Contains(body, []byte(`"note"`)) {
		return fmt.Errorf("destroy: %d %s", status, body)
	}
	p.note(func() { p.gone = append(p.gone, name) })
	return nil
}

// work keeps a server busy until it is killed. A request that brings nothing is
// no reason to stop: a slow machine has such.
func (p *promised) work(r *keyservertest.Rig, app *keyservertest.Workload, from, step int, killed <-chan struct{}) {
	c := r.Client(app.Identity())
	c.Transport.(*http.Transport).DisableKeepAlives = false
	defer c.CloseIdleConnections()
	for n := from; ; n += step {
		if err := p.try(r, app, c, n); err != nil {
			p.note(func() { p.no = err })
		}
		select {
		case <-killed:
			return
		default:
		}
	}
}

// wait waits until enough is acknowledged, however slow the machine is.
func (p *promised) wait(t *testing.T, server *process, enough func() bool) {
	t.Helper()
	deadline := time.After(3 * time.Minute)
	for !enough() {
		select {
		case <-p.moved:
		case <-server.gone:
			t.Fatal("the server went by itself")
		case <-deadline:
			server.kill()
			p.mu.Lock()
			defer p.mu.Unlock()
			t.Fatalf("nothing more is acknowledged: %v", p.no)
		}
	}
}

// goal is what has to be acknowledged before kill i: a destruction, a key, or
// any number of grants, also none.
func (p *promised) goal(i int) (enough func() bool) {
	keys, gone, grants := p.count()
	more := rand.IntN(20)
	return func() bool {
		k, d, g := p.count()
		switch {
		case i%8 == 7:
			return d > gone
		case i%8 == 3:
			return k > keys
		}
		return g >= grants+more
	}
}

// TestKill kills the server 200 times while clients use it and an admin changes
// it. Nothing that was acknowledged may be gone, and the audit logs must verify
// against every grant that a client got.
func TestKill(t *testing.T) {
	const kills, workers = 200, 4
	r := processRig(t)
	var app *keyservertest.Workload
	p := newPromised()
	for i := range kills {
		server := spawn(r)
		if app == nil {
			r.CreateKey("k", authority.AES256)
			app = r.Enroll("app1")
			r.Allow(`permit(principal, action, resource);`)
		}
		enough := p.goal(i)
		var clients sync.WaitGroup
		killed := make(chan struct{})
		for w := range workers {
			clients.Go(func() { p.work(r, app, w, workers, killed) })
		}
		p.wait(t, server, enough)
		<-time.After(time.Duration(rand.IntN(30)) * time.Millisecond) // or it would always die after an answer
		server.kill()
		close(killed)
		clients.Wait()
		if i%20 == 19 || i == kills-1 {
			verifyPromises(r, p, app)
		}
		if t.Failed() {
			t.Fatalf("after %d kills", i+1)
		}
	}
	t.Logf("%d kills; %d keys made, %d of them destroyed, %d grants: all as acknowledged", kills, len(p.keys), len(p.gone), len(p.grants))
}

// verifyPromises starts the server once more and looks for what it promised.
func verifyPromises(r *keyservertest.Rig, p *promised, app *keyservertest.Workload) {
	r.T.Helper()
	server := spawn(r)
	defer server.stop()
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

// tryCreate is CreateKey that reports instead of failing the test: the server
// may die at any moment.
func tryCreate(r *keyservertest.Rig, name string) (epoch wire.Epoch, err error) {
	state, err := r.TryReplay()
	if err != nil {
		return epoch, err
	}
	entry, err := state.Entry(authority.KindKeyCreate, keyservertest.NewKey(name, authority.AES256), time.Now().Add(time.Hour), r.Admin)
	if err != nil {
		return epoch, err
	}
	status, body, err := r.TryAdmin("POST", "/v1/admin/entries", entry)
	if err != nil {
		return epoch, err
	}
	var out struct {
		Applied bool
		Epoch   string
		Note    string
	}
	if status != 200 || json.Unmarshal(body, &out) != nil || !out.Applied || out.Note != "" {
		return epoch, fmt.Errorf("create: %d %s", status, body)
	}
	_, err = fmt.Sscanf(out.Epoch, "%d.%d", &epoch.Generation, &epoch.Position)
	return epoch, err
}
