// SPDX-License-Identifier: Apache-2.0

package vaultapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"claviger/internal/gateway/gatewaytest"
)

// BenchmarkEncrypt asks over the real port, with an audit log that is synced: one item
// a request, and many.
func BenchmarkEncrypt(b *testing.B) {
	k := &client{}
	s := k.suite()
	s.Endpoint.Name, s.Endpoint.Kind, s.Cases = "door", name, nil
	s.Endpoint.Rate = 1_000_000
	r := gatewaytest.New(b, &s)
	r.Allow(`permit(principal in Endpoint::"door", action, resource);`)
	for _, n := range []int{1, 32, 1000} {
		b.Run(fmt.Sprintf("items=%d", n), func(b *testing.B) {
			body := `{"plaintext":"` + b64(make([]byte, 64)) + `"}`
			if n > 1 {
				body = `{"batch_input":[` + strings.TrimSuffix(strings.Repeat(body+",", n), ",") + `]}`
			}
			req := post("/transit/encrypt/k", body)
			for b.Loop() {
				if reply := r.Call(&gatewaytest.Case{Route: "encrypt"}, req); reply.Status != http.StatusOK {
					b.Fatalf("%d %s", reply.Status, reply.Body)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "items/s")
		})
	}
}
