// SPDX-License-Identifier: Apache-2.0

package kes

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"

	"claviger/internal/gateway"
	"claviger/internal/keyserver"
)

// version is open to everybody, as it is in KES. It names the protocol's server
// that this stands for, and no build of ours.
func (d *door) version(context.Context, *gateway.Request) (*gateway.Response, error) {
	return reply(struct {
		Version string `json:"version"`
		Commit  string `json:"commit"`
	}{versionName, ""}, false)
}

const versionName = "claviger"

// ready is open to everybody: load balancers and orchestrators have no certificate.
func (d *door) ready(ctx context.Context, _ *gateway.Request) (*gateway.Response, error) {
	if err := d.site.Health(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", keyserver.ErrUnavailable, err)
	}
	return &gateway.Response{}, nil
}

// status tells whether keys can be used. What KES says of its machine's memory is
// nobody's business here.
func (d *door) status(ctx context.Context, _ *call) (*gateway.Response, error) {
	start := d.site.Clock.Boot()
	err := d.site.Health(ctx)
	return reply(struct {
		Version     string `json:"version"`
		OS          string `json:"os"`
		Arch        string `json:"arch"`
		UpTime      uint64 `json:"uptime"` // seconds
		CPUs        int    `json:"num_cpu"`
		UsableCPUs  int    `json:"num_cpu_used"`
		Latency     int64  `json:"keystore_latency,omitempty"` // milliseconds
		Unreachable bool   `json:"keystore_unreachable,omitempty"`
		Unavailable bool   `json:"keystore_unavailable,omitempty"`
	}{
		Version: versionName, OS: runtime.GOOS, Arch: runtime.GOARCH, UpTime: uint64(d.site.Clock.Now().Sub(d.started).Seconds()),
		CPUs: runtime.NumCPU(), UsableCPUs: runtime.GOMAXPROCS(0),
		Latency:     max(1, (d.site.Clock.Boot() - start).Milliseconds()),
		Unreachable: err != nil, Unavailable: err != nil,
	}, false)
}

// apiRoute is one route as KES tells it.
type apiRoute struct {
	Method  string `json:"method"`
	Path    string `json:"path"`
	MaxBody int64  `json:"max_body"`
	Timeout int64  `json:"timeout"` // seconds
}

// api lists the routes, without the parts that are a key's name.
func (d *door) api(context.Context, *call) (*gateway.Response, error) {
	var out []apiRoute
	for _, r := range d.Routes() {
		method, _, _ := strings.Cut(r.Method, " ")
		path, _, _ := strings.Cut(r.Path, "{")
		out = append(out, apiRoute{method, path, r.Limit, int64(r.Deadline / time.Second)})
	}
	return reply(out, false)
}

// identity tells a client who it is. What it may do stands in the domain's policy,
// which is no policy of KES.
func (d *door) identity(_ context.Context, c *call) (*gateway.Response, error) {
	return reply(struct {
		Identity  string    `json:"identity"`
		Admin     bool      `json:"admin"`
		Policy    string    `json:"policy"`
		CreatedAt time.Time `json:"created_at"`
	}{identityOf(c.caller), false, "", d.started.UTC()}, false)
}
