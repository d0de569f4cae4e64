// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/relay"
	"claviger/internal/relay/natsbus"
	"claviger/internal/relay/natsbus/natstest"
	"claviger/internal/wire"
)

// BenchmarkRelayStart is the start of a relay, a process of its own, with parcels
// at rest, until it says where it is reached, and its memory then.
func BenchmarkRelayStart(b *testing.B) {
	for _, parcels := range []int{0, 100_000} {
		b.Run(fmt.Sprintf("%d-parcels", parcels), func(b *testing.B) {
			dir := b.TempDir()
			domain := wire.DomainID(wire.Sum("bench"))
			keep(b, filepath.Join(dir, "nats"), domain, parcels)
			config := filepath.Join(dir, "relay.toml")
			must(b, os.WriteFile(config, fmt.Appendf(nil, "schema = 1\ndir = %q\ndomains = [%q]\nlisten = \"127.0.0.1:0\"\n[limits]\ndomain_bytes = %d\n",
				dir, domain, int64(domainBytes)), 0o600))
			clk := clock.Process()
			var took time.Duration
			for range b.N {
				began := clk.Boot()
				cmd := relayProcess(b, config)
				took += clk.Boot() - began
				b.ReportMetric(memoryOf(b, cmd.Process.Pid, "VmRSS"), "MiB-RSS")
				b.ReportMetric(memoryOf(b, cmd.Process.Pid, "RssAnon"), "MiB-own")
				must(b, cmd.Process.Signal(syscall.SIGTERM))
				must(b, cmd.Wait())
			}
			b.ReportMetric(float64(took.Nanoseconds())/float64(b.N), "ns/op")
		})
	}
}

const domainBytes = 1 << 30

// keep has parcels of 2 KiB kept, as the relay would, but for a sync of each.
func keep(b *testing.B, dir string, domain wire.DomainID, parcels int) {
	b.Helper()
	url, stop := natstest.Unsynced(b, dir, 2*domainBytes)
	defer stop()
	bus, err := natsbus.Open(b.Context(), natsbus.Options{URL: url, Domains: []wire.DomainID{domain}, DomainBytes: domainBytes, Clock: clock.System()})
	must(b, err)
	defer bus.Close()
	const atOnce = 32
	errs := make([]error, atOnce)
	var all sync.WaitGroup
	for w := range atOnce {
		all.Go(func() {
			for n := w; n < parcels && errs[w] == nil; n += atOnce {
				p := relay.Parcel{Domain: domain, Expires: clock.System().Now().Add(24 * time.Hour), Data: make([]byte, 2<<10)}
				binary.BigEndian.PutUint64(p.Data, uint64(n))
				p.Mailbox = wire.Sum("box", p.Data[:8])
				_, errs[w] = bus.Add(context.Background(), p, relay.Quota{Parcels: 64, Bytes: 4 << 20})
			}
		})
	}
	all.Wait()
	must(b, errors.Join(errs...))
}

// relayProcess returns when it says where it is reached.
func relayProcess(b *testing.B, config string) *exec.Cmd {
	b.Helper()
	self, err := os.Executable()
	must(b, err)
	cmd := exec.Command(self, "relay", config)
	out, err := cmd.StdoutPipe()
	must(b, err)
	must(b, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "Relay at ") {
		b.Fatalf("the relay says %q, %v", line, err)
	}
	return cmd
}
