// SPDX-License-Identifier: Apache-2.0

package xks

import (
	"context"
	"sync"
	"time"

	"claviger/internal/gateway"
)

// healthFor is how long a deep answer stands (the specification allows a minute).
const healthFor = 20 * time.Second

// health is the newest deep answer about the key server.
type health struct {
	mu   sync.Mutex
	at   time.Duration // boot time
	err  error
	done bool
}

// ask gives the answer that stands, or a new one.
func (h *health) ask(ctx context.Context, site gateway.Site) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := site.Clock.Boot()
	if !h.done || now-h.at >= healthFor || now < h.at {
		h.err, h.at, h.done = site.Health(ctx), now, true
	}
	return h.err
}

// healthStatus is GetHealthStatus. No policy stands before it.
func (d *door) healthStatus(ctx context.Context, _ *asked) (*gateway.Response, error) {
	status := "ACTIVE"
	if d.health.ask(ctx, d.site) != nil {
		status = "UNAVAILABLE"
	}
	type server struct {
		ID     string `json:"id"`
		Model  string `json:"model"`
		Health string `json:"healthStatus"`
	}
	return answer(struct {
		Fleet   int      `json:"xksProxyFleetSize"`
		Vendor  string   `json:"xksProxyVendor"`
		Model   string   `json:"xksProxyModel"`
		EKM     string   `json:"ekmVendor"`
		Servers []server `json:"ekmFleetDetails"`
	}{1, "Claviger", "Claviger XKS proxy 1", "Claviger", []server{{d.site.Endpoint.Name, "Claviger key server", status}}}, false)
}
