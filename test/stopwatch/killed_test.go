// SPDX-License-Identifier: Apache-2.0

package stopwatch

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/client"
	"claviger/internal/relay/natsbus/natstest"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// relayProcess is a relay that can be killed.
type relayProcess struct {
	rig     *rig
	config  string
	address string // with its pin
	log     string // file
	end     func()
}

// relayProcesses starts n on one cluster.
func (r *rig) relayProcesses(n int, cluster *natstest.Cluster, id wire.DomainID) (out []*relayProcess) {
	r.tb.Helper()
	for range n {
		dir := r.tb.TempDir()
		p := &relayProcess{rig: r, config: filepath.Join(dir, "relay.toml"), log: filepath.Join(dir, "log"), end: func() {}}
		p.configure("127.0.0.1:0", cluster.URL(), id)
		p.start()
		// It comes back at the same place; its key lies in its directory.
		at := strings.TrimPrefix(p.address, "https://")
		p.configure(at[:strings.IndexByte(at, '#')], cluster.URL(), id)
		r.tb.Cleanup(func() {
			p.end()
			if text, err := os.ReadFile(p.log); err == nil && r.tb.Failed() {
				r.tb.Logf("a relay's log:\n%s", text)
			}
		})
		out = append(out, p)
	}
	return out
}

func (p *relayProcess) configure(listen, nats string, id wire.DomainID) {
	p.rig.tb.Helper()
	p.rig.must(os.WriteFile(p.config, fmt.Appendf(nil, `schema = 1
dir = %q
domains = [%q]
listen = %q
[nats]
url = %q
[limits]
rate = 100000.0
burst = 100000
`, filepath.Join(filepath.Dir(p.config), "data"), id, listen, nats), 0o600))
}

func (p *relayProcess) start() {
	p.rig.tb.Helper()
	self, err := os.Executable()
	p.rig.must(err)
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	p.rig.must(err)
	defer log.Close()
	cmd := exec.Command(self, "relay", p.config)
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	p.rig.must(err)
	p.rig.must(cmd.Start())
	p.end = func() {
		_ = cmd.Process.Kill() // it may have ended by itself
		_ = cmd.Wait()         // says that it was killed
		p.end = func() {}
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		text, _ := os.ReadFile(p.log) // which says more, if it is there
		p.rig.tb.Fatalf("the relay doesn't start: %v\n%s", err, text)
	}
	go io.Copy(io.Discard, out)
	p.address = strings.TrimSpace(strings.TrimPrefix(line, "Relay at "))
}

// load is what goes on while processes are killed.
type load struct {
	rig *rig

	mu       sync.Mutex
	answered int               // exchanges
	kept     map[string]string // parcels that a relay said it keeps, and when
	at       string
	most     int // retries of one that needed most
	slowest  map[string]time.Duration
}

// maxTries is a first one and a retry.
const maxTries = 2

// do does one thing with at most one retry.
func (l *load) do(ctx context.Context, what string, f func(ctx context.Context, try int) error) bool {
	began := l.rig.clock.Boot()
	err := context.Canceled // what was never tried was never done
	tries := 0
	for tries < maxTries && ctx.Err() == nil {
		if err = f(ctx, tries); err == nil {
			break
		}
		tries++
	}
	if err != nil && ctx.Err() == nil {
		l.rig.tb.Errorf("%s: not with a retry: %v", what, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.most, l.slowest[what] = max(l.most, tries), max(l.slowest[what], l.rig.clock.Boot()-began)
	return err == nil
}

// exchanges has a client ask for one key after the other until ctx ends.
func (l *load) exchanges(ctx context.Context, c *client.Client, who int) {
	for n := 0; ctx.Err() == nil; n++ {
		pause(pace)
		o := client.EncryptOptions{Partition: fmt.Appendf(nil, "%d/%d", who, n)}
		if l.do(ctx, "exchange", func(ctx context.Context, _ int) error {
			_, err := c.Encrypt(ctx, keyName, []byte("4111"), o)
			return err
		}) {
			l.mu.Lock()
			l.answered++
			l.mu.Unlock()
		}
	}
}

// pace is the time of the machine between two things that one of them does.
const pace = 5 * time.Millisecond

// boxful is how many parcels one mailbox takes here; relays keep 64.
const boxful = 50

// parcels puts parcels into mailboxes until ctx ends, and returns these.
func (l *load) parcels(ctx context.Context) (boxes []*transport.Mailbox) {
	r := l.rig
	for n := 0; ctx.Err() == nil; n++ {
		pause(pace)
		if n%boxful == 0 {
			boxes = append(boxes, transport.NewMailbox())
		}
		text := fmt.Sprintf("parcel %d", n)
		data := wire.Marshal(wire.Sealed{Type: wire.TypeRelease, Enc: make([]byte, 1120), CT: []byte(text)})
		if l.do(ctx, "parcel", func(ctx context.Context, try int) error {
			by := r.relays[(n+try)%len(r.relays)]
			return by.As(r.mailbox).PutParcel(ctx, boxes[len(boxes)-1].ID(), r.clock.Now().Add(time.Hour), data)
		}) {
			l.mu.Lock()
			l.kept[string(data)] = fmt.Sprintf("%s: number %d, at %v", l.at, n, r.clock.Now().UTC())
			l.mu.Unlock()
		}
	}
	return boxes
}

func (l *load) done() (answered, kept int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answered, len(l.kept)
}

// goesOn waits until more was done.
func (l *load) goesOn(what string) {
	l.rig.tb.Helper()
	answered, kept := l.done()
	l.mu.Lock()
	l.at = what
	l.mu.Unlock()
	l.rig.until(what+": exchanges and parcels", func() bool {
		a, k := l.done()
		return a >= answered+20 && k >= kept+10
	})
}

// find strikes off what lies in the mailboxes.
func (l *load) find(boxes []*transport.Mailbox) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var all sync.WaitGroup
	for i, box := range boxes {
		all.Go(func() {
			for n := i; ctx.Err() == nil; n++ { // a relay that has just come back may cut the first stream
				l.findIn(ctx, cancel, l.rig.relays[n%len(l.rig.relays)].As(box))
				pause(pace)
			}
		})
	}
	all.Wait()
}

// findIn strikes off what one stream brings until it is quiet.
func (l *load) findIn(ctx context.Context, done func(), box *transport.RelayOwner) {
	ctx, cancel := context.WithTimeout(ctx, patience/6)
	defer cancel()
	for d, err := range box.Receive(ctx) {
		if err != nil {
			return
		}
		l.mu.Lock()
		delete(l.kept, string(d.Data))
		left := len(l.kept)
		l.mu.Unlock()
		if left == 0 {
			done()
		}
	}
}

// TestKilled: of three NATS nodes and of three relay processes any one may be
// killed at any time. No parcel that was acknowledged is lost, and nobody has to
// try more than once again.
func TestKilled(t *testing.T) {
	cluster := natstest.Processes(t, 3)
	r := &rig{tb: t, clock: newFast(), dir: profiles(t)}
	var relays []*relayProcess
	r.found(stating, func(id wire.DomainID) (out []*transport.Relay) {
		relays = r.relayProcesses(3, cluster, id)
		for _, p := range relays {
			out = append(out, r.way(p.address, id))
		}
		return out
	})
	cluster.Ready()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{rig: r, kept: map[string]string{}, slowest: map[string]time.Duration{}}
	var all sync.WaitGroup
	for i := range 4 {
		addresses := []string{relays[i%3].address, relays[(i+1)%3].address, relays[(i+2)%3].address}
		p, err := r.enrol(name(i), r.invite(name(i), addresses...))
		r.must(err)
		c, err := client.Dial(ctx, p, client.Options{Timeout: patience})
		r.must(err)
		t.Cleanup(func() { r.must(c.Close()) })
		all.Go(func() { l.exchanges(ctx, c, i) })
	}
	var boxes []*transport.Mailbox
	all.Go(func() { boxes = l.parcels(ctx) })
	l.goesOn("before")
	for i := range 3 {
		cluster.Kill(i)
		l.goesOn(fmt.Sprintf("without node %d", i))
		cluster.Start(i)
		cluster.Ready()
		relays[i].end()
		l.goesOn(fmt.Sprintf("without relay %d", i))
		relays[i].start()
	}
	cancel()
	all.Wait()
	answered, kept := l.done()
	t.Logf("%d exchanges and %d parcels, at most %d retries, the slowest took %v", answered, kept, l.most, l.slowest)
	l.find(boxes)
	for _, lost := range l.kept {
		t.Errorf("a parcel is lost that was acknowledged %s", lost)
	}
}
