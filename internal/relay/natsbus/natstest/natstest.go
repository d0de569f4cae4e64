// SPDX-License-Identifier: Apache-2.0

// Package natstest runs NATS servers for tests of relays on a cluster: real ones,
// with JetStream and a listener on 127.0.0.1, inside the test's process.
//
//	urls := natstest.Servers(t, 3)
//
// It deliberately has no accounts and no TLS: those are NATS's, and its own.
package natstest

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// patience is how long servers may take to find each other on a busy machine.
const patience = time.Minute

// Servers runs n servers until the test ends, as one cluster if n is above 1, and
// returns a URL of each.
func Servers(tb testing.TB, n int) []string {
	tb.Helper()
	ports := freePorts(tb, 2*n)
	var routes []string
	for _, p := range ports[n:] {
		routes = append(routes, "nats-route://127.0.0.1:"+strconv.Itoa(p))
	}
	var urls []string
	var servers []*server.Server
	for i := range n {
		o := &server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: ports[i], NoSigs: true, NoLog: true, JetStream: true, StoreDir: tb.TempDir(),
		}
		if n > 1 {
			o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[n+i]}
			o.Routes = server.RoutesFromStr(strings.Join(routes, ","))
		}
		s, err := server.NewServer(o)
		if err != nil {
			tb.Fatal(err)
		}
		go s.Start()
		tb.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		servers = append(servers, s)
		urls = append(urls, "nats://127.0.0.1:"+strconv.Itoa(ports[i]))
	}
	ready(tb, servers)
	return urls
}

// ready waits until all serve and, in a cluster, one leads.
func ready(tb testing.TB, servers []*server.Server) {
	tb.Helper()
	for _, s := range servers {
		if !s.ReadyForConnections(patience) {
			tb.Fatal("NATS doesn't start")
		}
	}
	end := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for led := len(servers) == 1; !led; {
		for _, s := range servers {
			led = led || s.JetStreamIsLeader()
		}
		select {
		case <-end:
			tb.Fatal("the NATS cluster has no leader")
		case <-tick.C:
		}
	}
}

// freePorts finds ports that nobody listens on.
func freePorts(tb testing.TB, n int) []int {
	tb.Helper()
	out := make([]int, n)
	for i := range out {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		defer l.Close()
		out[i] = l.Addr().(*net.TCPAddr).Port
	}
	return out
}
