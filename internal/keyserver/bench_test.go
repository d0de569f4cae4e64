// SPDX-License-Identifier: Apache-2.0

package keyserver_test

import (
	"crypto/rand"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/keyserver/keyservertest"
	"claviger/internal/pki/tlscert"
	"claviger/internal/wire"
)

// BenchmarkUseOverTLS is one server-side encryption of 32 bytes over mTLS, with
// policy and durable audit, from 16 connections a processor.
func BenchmarkUseOverTLS(b *testing.B) {
	r, app := benchRig(b)
	body := `{"items":[{"op":"encrypt","key":"payments/cards","plaintext":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}]}`
	b.SetParallelism(16)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: tlscert.ClientConfig(r.Desc.TLS, app.Identity())}}
		for pb.Next() {
			resp, err := c.Post("https://"+r.Addr+"/v1/use", "application/json", strings.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 200 {
				b.Errorf("status %d", resp.StatusCode)
				return
			}
		}
	})
}

// BenchmarkRelease is one release of one key over mTLS, the requests made
// beforehand.
func BenchmarkRelease(b *testing.B) {
	r, app := benchRig(b)
	reqs := make([][]byte, b.N)
	for i := range reqs {
		hpke := wire.NewKey()
		req := wire.Request{
			Type: wire.TypeRequest, Domain: r.Founded.Domain, Client: app.ID, HPKE: hpke.Public(),
			Items:      []wire.Item{{Name: "payments/cards", Purpose: wire.PurposeData, Operations: []string{"encrypt"}}},
			Descriptor: wire.DescriptorHash(r.Signed), NotAfter: time.Now().Add(59 * time.Second).UnixMilli(),
		}
		rand.Read(req.Nonce[:])
		msg, _ := wire.SignChain(wire.TypeRequest, wire.Marshal(req), app.Chain, app.Key)
		reqs[i], _ = wire.Seal(r.Desc.HPKE, wire.TypeRequest, wire.DescriptorHash(r.Signed), msg)
	}
	var next atomic.Int64
	b.SetParallelism(8)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: tlscert.ClientConfig(r.Desc.TLS, app.Identity())}}
		for pb.Next() {
			resp, err := c.Post("https://"+r.Addr+"/v1/exchange", "application/cbor", strings.NewReader(string(reqs[next.Add(1)-1])))
			if err != nil {
				b.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 200 {
				b.Errorf("status %d", resp.StatusCode)
				return
			}
		}
	})
}

func benchRig(b *testing.B) (*keyservertest.Rig, *keyservertest.Workload) {
	r := keyservertest.New(b)
	r.CreateKey("payments/cards", authority.AES256)
	app := r.Enroll("app1")
	r.Allow(keyservertest.AllowApp1)
	return r, app
}
