// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"

	"claviger/client"
	"claviger/internal/authority"
	"claviger/internal/pki/tlscert"
	"claviger/internal/testkit"
	"claviger/internal/wire"
)

// cards is the key that the load is about.
const cards = "payments/cards"

// BenchmarkServer asks a server, which has one processor to run on and is a
// process of its own, from as many connections as keep it busy. Requests are made
// beforehand. Besides the time that passes it reports what the server's process
// used of its processor (in it and in the kernel for it): requests for each
// second of that are what a server does for each processor it is given, whatever
// else the machine does.
func BenchmarkServer(b *testing.B) {
	b.Run("Release", func(b *testing.B) {
		w, raw := loaded(b)
		bodies := make([][]byte, b.N)
		signed, descriptor, _ := w.Introduction()
		for i := range bodies {
			sealed, err := wire.Seal(descriptor.HPKE, wire.TypeRequest, wire.DescriptorHash(signed), raw.Sign(request(w, raw, signed)))
			must(b, err)
			bodies[i] = sealed
		}
		w.load(raw.Identity, "/v1/exchange", func(i int64) []byte { return bodies[i] })
	})
	b.Run("Encrypt", func(b *testing.B) {
		w, raw := loaded(b)
		body := []byte(`{"items":[{"op":"encrypt","key":"` + cards + `","plaintext":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}]}`)
		w.load(raw.Identity, "/v1/use", func(int64) []byte { return body })
	})
}

// loaded is a running server with a key, and a workload that may use it.
func loaded(b *testing.B) (*world, *testkit.Raw) {
	b.Helper()
	var profile *client.Profile
	w := newWorld(b, func(d *testkit.Domain) {
		d.CreateKey(cards, authority.AES256)
		profile = d.Enroll("app1")
		d.Allow("app1", cards)
	})
	w.up(1)
	return w, w.Raw(profile.Dir)
}

// request is raw.Request without a question to the server for each.
func request(w *world, raw *testkit.Raw, descriptor []byte) *wire.Request {
	req := &wire.Request{
		Type: wire.TypeRequest, Domain: w.Founded.Domain, Client: raw.ID, HPKE: wire.NewKey().Public(),
		Items:      []wire.Item{testkit.DataItem(cards, "encrypt")},
		Descriptor: wire.DescriptorHash(descriptor), NotAfter: w.Clock().Now().UnixMilli() + 55_000,
	}
	rand.Read(req.Nonce[:])
	return req
}

// load sends b.N requests over a few connections.
func (w *world) load(identity *tls.Certificate, path string, body func(int64) []byte) {
	b := w.b
	const connections = 16
	clients := make([]*http.Client, connections)
	for i := range clients {
		transport := &http.Transport{TLSClientConfig: tlscert.ClientConfig(w.Pin(), identity)}
		b.Cleanup(transport.CloseIdleConnections)
		clients[i] = &http.Client{Transport: transport}
		must(b, ping(clients[i], "https://"+w.Address+"/v1/ready"))
	}
	var next, client atomic.Int64
	before := w.processorTime()
	b.SetParallelism(max(1, connections/runtime.GOMAXPROCS(0)))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		c := clients[int(client.Add(1)-1)%connections]
		for pb.Next() {
			if err := post(c, "https://"+w.Address+path, body(next.Add(1)-1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	used := w.processorTime() - before
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(w.memory("VmRSS"), "MiB-RSS")
}

func ping(c *http.Client, url string) error {
	resp, err := c.Get(url)
	if err != nil {
		return err
	}
	return finish(resp)
}

func post(c *http.Client, url string, body []byte) error {
	resp, err := c.Post(url, "application/octet-stream", bytes.NewReader(body))
	if err != nil {
		return err
	}
	return finish(resp)
}

func finish(resp *http.Response) error {
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}
