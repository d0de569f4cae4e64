// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics count what goes on. No label holds anything that a caller chooses.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(f *Front) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "claviger_relay_requests_total", Help: "Requests by route and status."}, []string{"route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "claviger_relay_request_seconds", Help: "Time to answer by route, streams left out.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, []string{"route"}),
	}
	gauge := func(name, help string, value func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "claviger_relay_" + name, Help: help}, func() float64 { return float64(value()) })
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "claviger_build_info", Help: "Always 1."}, []string{"version"})
	build.WithLabelValues(Version()).Set(1)
	m.registry.MustRegister(m.requests, m.seconds, build,
		gauge("followers", "Streams of statements.", func() int { return int(f.followers.Load()) }),
		gauge("receivers", "Mailboxes that are read.", func() int { return len(f.reading()) }),
		gauge("connections", "Open connections.", f.connections.Running),
		gauge("under_way", "Requests that wait for an answer.", f.underWay.Running),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) request(route string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	if route != "follow" && route != "receive" {
		m.seconds.WithLabelValues(route).Observe(took.Seconds())
	}
}

// Version is that of the module, as the build recorded it.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// Metrics serves the counters and the health on a loopback address.
func (f *Front) Metrics() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(f.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := f.health(&call{w: w}); err != nil {
			fail(w, classify(err))
		}
	})
	return mux
}
