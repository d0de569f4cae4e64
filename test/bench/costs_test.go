// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/pki/tlscert"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// BenchmarkCosts is what docs/scaling.md reckons with besides releases: a server's
// processor time for a renewal of a certificate, for an acknowledgement, and for
// telling one follower of a change.
func BenchmarkCosts(b *testing.B) {
	b.Run("Renew", renewals)
	b.Run("Acknowledge", acknowledgements)
	b.Run("Push", pushes)
}

func renewals(b *testing.B) {
	w, raw := loaded(b)
	signed, descriptor, _ := w.Introduction()
	bodies := make([][]byte, b.N)
	for i := range bodies {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(b, err)
		csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
		must(b, err)
		req := wire.Renew{
			Type: wire.TypeRenew, Domain: w.Founded.Domain, Client: raw.ID, CSR: csr, HPKE: wire.NewKey().Public(),
			Descriptor: wire.DescriptorHash(signed), NotAfter: w.Clock().Now().UnixMilli() + 55_000,
		}
		rand.Read(req.Nonce[:])
		msg, err := wire.SignChain(wire.TypeRenew, wire.Marshal(req), raw.Chain, raw.Key)
		must(b, err)
		msg, err = wire.AddSignature(msg, wire.TypeRenew, wire.MaxEnroll, key)
		must(b, err)
		sealed, err := wire.Seal(descriptor.HPKE, wire.TypeRenew, wire.DescriptorHash(signed), msg)
		must(b, err)
		bodies[i] = post("/v1/exchange", sealed)
	}
	w.load(raw.Identity, 16, func(i int64) []byte { return bodies[i] })
}

func acknowledgements(b *testing.B) {
	w, raw := loaded(b)
	signed, descriptor, _ := w.Introduction()
	at := w.State()
	bodies := make([][]byte, b.N)
	for i := range bodies {
		box, now := transport.NewMailbox(), w.Clock().Now().UnixMilli()
		msg, err := box.Sign(wire.TypeAck, wire.Marshal(wire.Ack{
			Type: wire.TypeAck, Domain: w.Founded.Domain, Mailbox: box.Public(), Descriptor: wire.DescriptorHash(signed),
			Epoch: at.Epoch, Head: at.Head, At: now, NotAfter: now + 55_000,
		}))
		must(b, err)
		sealed, err := wire.Seal(descriptor.HPKE, wire.TypeAck, wire.DescriptorHash(signed), msg)
		must(b, err)
		bodies[i] = post("/v1/exchange", sealed)
	}
	w.load(raw.Identity, 16, func(i int64) []byte { return bodies[i] })
}

// listeners is how many hear of each change.
const listeners = 1000

func pushes(b *testing.B) {
	w, raw := loaded(b)
	all := make([]*bufio.Reader, listeners)
	for i := range all {
		all[i] = w.follow(raw.Identity)
	}
	before := w.processorTime()
	b.ResetTimer()
	for n := range b.N {
		w.CreateKey(fmt.Sprintf("bench/%d", n), authority.AES256)
		want := w.State().Epoch
		for _, follower := range all {
			must(b, hears(follower, want))
		}
	}
	b.StopTimer()
	pushed := float64(b.N) * listeners
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/pushed, "ns/op")
	b.ReportMetric(float64((w.processorTime()-before).Nanoseconds())/pushed, "cpu-ns/op")
	b.ReportMetric(w.memory("VmRSS"), "MiB-RSS")
}

// follow opens a stream of statements.
func (w *world) follow(identity *tls.Certificate) *bufio.Reader {
	b := w.b
	b.Helper()
	conn, err := tls.Dial("tcp", w.Address, tlscert.ClientConfig(w.Pin(), identity))
	must(b, err)
	b.Cleanup(func() { conn.Close() })
	must(b, conn.SetDeadline(clock.System().Now().Add(10*time.Minute)))
	_, err = io.WriteString(conn, "GET /v1/follow HTTP/1.1\r\nHost: claviger\r\n\r\n")
	must(b, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(b, err)
	if resp.StatusCode != http.StatusOK {
		b.Fatalf("follow: %s", resp.Status)
	}
	return bufio.NewReaderSize(resp.Body, 4096)
}

// hears reads frames until a statement of an epoch or a later one.
func hears(follower *bufio.Reader, want wire.Epoch) error {
	for {
		frame, err := transport.ReadFrame(follower, wire.MaxStatement)
		if err != nil {
			return err
		}
		if len(frame) == 0 {
			continue
		}
		claim, err := wire.PeekStatement(frame)
		if err != nil {
			return err
		}
		if claim.Epoch.Compare(want) >= 0 {
			return nil
		}
	}
}
