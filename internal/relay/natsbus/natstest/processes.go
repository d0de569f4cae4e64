// SPDX-License-Identifier: Apache-2.0

package natstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// NodeRole is the first argument of the processes that Processes starts.
const NodeRole = "nats-node"

// node is what one server of a cluster is told, its second argument.
type node struct {
	Name, Dir    string
	Port, Routed int
	Routes       string
}

// Node is the main of such a process: it serves until its standard input ends, so
// that none outlives its test.
func Node(argument string) error {
	var n node
	if err := json.Unmarshal([]byte(argument), &n); err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{
		ServerName: n.Name, Host: "127.0.0.1", Port: n.Port, NoSigs: true, NoLog: true, JetStream: true, StoreDir: n.Dir,
		SyncAlways: true, // else a killed process may forget what it acknowledged
		Cluster:    server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: n.Routed}, Routes: server.RoutesFromStr(n.Routes),
	})
	if err != nil {
		return err
	}
	go s.Start()
	_, err = io.Copy(io.Discard, os.Stdin)
	s.Shutdown()
	return err
}

// Cluster is one of processes that can be killed.
type Cluster struct {
	tb    testing.TB
	nodes []node
	ends  []func() // nil where none runs
}

// Processes runs a cluster of n servers, each a process of the test's own program:
// its TestMain has to call Node for NodeRole.
func Processes(tb testing.TB, n int) *Cluster {
	tb.Helper()
	ports := freePorts(tb, 2*n)
	var routes []string
	for _, p := range ports[n:] {
		routes = append(routes, "nats-route://127.0.0.1:"+strconv.Itoa(p))
	}
	c := &Cluster{tb: tb, ends: make([]func(), n)}
	for i := range n {
		c.nodes = append(c.nodes, node{fmt.Sprintf("n%d", i), tb.TempDir(), ports[i], ports[n+i], strings.Join(routes, ",")})
		c.Start(i)
	}
	tb.Cleanup(func() {
		for i := range c.ends {
			c.Kill(i)
		}
	})
	c.Ready()
	return c
}

// URL names all servers of the cluster.
func (c *Cluster) URL() string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, "nats://127.0.0.1:"+strconv.Itoa(n.Port))
	}
	return strings.Join(all, ",")
}

// Start starts a server, again on the directory of before.
func (c *Cluster) Start(i int) {
	c.tb.Helper()
	self, err := os.Executable()
	if err != nil {
		c.tb.Fatal(err)
	}
	argument, err := json.Marshal(c.nodes[i])
	if err != nil {
		c.tb.Fatal(err)
	}
	cmd := exec.Command(self, NodeRole, string(argument))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		c.tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.tb.Fatal(err)
	}
	c.ends[i] = func() {
		_ = cmd.Process.Kill() // it may have ended by itself
		_ = cmd.Wait()         // says that it was killed
		in.Close()
	}
}

// Kill kills a server with SIGKILL, if it runs.
func (c *Cluster) Kill(i int) {
	if c.ends[i] != nil {
		c.ends[i]()
		c.ends[i] = nil
	}
}

// Ready waits until every stream that is there has a leader and all its replicas.
func (c *Cluster) Ready() {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := c.whole(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			c.tb.Fatalf("the NATS cluster doesn't get ready: %v", err)
		case <-tick.C:
		}
	}
}

func (c *Cluster) whole(ctx context.Context) error {
	conn, err := nats.Connect(c.URL(), nats.MaxReconnects(0))
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := js.AccountInfo(ctx); err != nil {
		return err
	}
	list := js.ListStreams(ctx)
	for s := range list.Info() {
		if s.Cluster == nil || s.Cluster.Leader == "" {
			return errors.New("a stream has no leader")
		}
		for _, r := range s.Cluster.Replicas {
			if !r.Current || r.Offline {
				return errors.New("a replica is behind")
			}
		}
	}
	return list.Err()
}
