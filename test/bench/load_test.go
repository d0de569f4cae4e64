// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
	b.Run("Release", func(b *testing.B) { release(b, 1, 16) })
	b.Run("Release64", func(b *testing.B) { release(b, 64, 4) })
	b.Run("Encrypt", func(b *testing.B) { encrypt(b, 1, 16) })
	b.Run("Encrypt64", func(b *testing.B) { encrypt(b, 1, 64) })
	b.Run("EncryptBatch", func(b *testing.B) { encrypt(b, 64, 4) })
}

// release asks for so many keys at once.
func release(b *testing.B, items, connections int) {
	w, raw := loaded(b)
	bodies := make([][]byte, b.N)
	signed, descriptor, _ := w.Introduction()
	for i := range bodies {
		sealed, err := wire.Seal(descriptor.HPKE, wire.TypeRequest, wire.DescriptorHash(signed), raw.Sign(request(w, raw, signed, items)))
		must(b, err)
		bodies[i] = post("/v1/exchange", sealed)
	}
	w.load(raw.Identity, connections, func(i int64) []byte { return bodies[i] })
}

// encrypt has so many values of 32 bytes encrypted at once.
func encrypt(b *testing.B, items, connections int) {
	w, raw := loaded(b)
	item := `{"op":"encrypt","key":"` + cards + `","plaintext":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}`
	body := post("/v1/use", []byte(`{"items":[`+item+strings.Repeat(","+item, items-1)+`]}`))
	w.load(raw.Identity, connections, func(int64) []byte { return body })
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
func request(w *world, raw *testkit.Raw, descriptor []byte, items int) *wire.Request {
	req := &wire.Request{
		Type: wire.TypeRequest, Domain: w.Founded.Domain, Client: raw.ID, HPKE: wire.NewKey().Public(),
		Items:      make([]wire.Item, items),
		Descriptor: wire.DescriptorHash(descriptor), NotAfter: w.Clock().Now().UnixMilli() + 55_000,
	}
	for i := range req.Items {
		req.Items[i] = testkit.DataItem(cards, "encrypt")
	}
	rand.Read(req.Nonce[:])
	return req
}

// post is a request that is sent as it stands, so that making it is no part of
// what is measured.
func post(path string, body []byte) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: claviger\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}

// load sends b.N requests over so many connections, each of which waits for its
// answer. Most of a common HTTP client's work is left out: it would run on the
// processors that the server needs.
func (w *world) load(identity *tls.Certificate, connections int, request func(int64) []byte) {
	b := w.b
	conns := make([]*tls.Conn, connections)
	for i := range conns {
		conn, err := tls.Dial("tcp", w.Address, tlscert.ClientConfig(w.Pin(), identity))
		must(b, err)
		b.Cleanup(func() { conn.Close() })
		must(b, ask(conn, bufio.NewReader(conn), []byte("GET /v1/ready HTTP/1.1\r\nHost: claviger\r\n\r\n")))
		conns[i] = conn
	}
	var next atomic.Int64
	var all sync.WaitGroup
	took := make([]time.Duration, b.N)
	before := w.processorTime()
	b.ResetTimer()
	for _, conn := range conns {
		all.Go(func() {
			answers := bufio.NewReader(conn)
			for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
				start := time.Now()
				if err := ask(conn, answers, request(i)); err != nil {
					b.Error(err)
					return
				}
				took[i] = time.Since(start)
			}
		})
	}
	all.Wait()
	b.StopTimer()
	used := w.processorTime() - before
	slices.Sort(took)
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(took[(b.N-1)*99/100].Nanoseconds())/1e6, "p99-ms")
	b.ReportMetric(w.memory("VmRSS"), "MiB-RSS")
}

// ask sends a request and reads the answer, which has to be a good one of a
// length that it says.
func ask(conn io.Writer, answers *bufio.Reader, request []byte) error {
	if _, err := conn.Write(request); err != nil {
		return err
	}
	length := 0
	for line := 0; ; line++ {
		text, err := answers.ReadSlice('\n')
		if err != nil {
			return err
		}
		if line == 0 && !bytes.HasPrefix(text, []byte("HTTP/1.1 200 ")) {
			return fmt.Errorf("answer %q", text)
		}
		if len(text) == len("\r\n") {
			break
		}
		if value, ok := bytes.CutPrefix(text, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	if length == 0 {
		return errors.New("an answer without its length")
	}
	_, err := answers.Discard(length)
	return err
}
