// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"claviger/internal/keyserver"
)

// metrics are the server's counters. No label ever holds a key, a client or
// anything else that a caller chooses.
type metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	decisions *prometheus.CounterVec
	alarms    *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "claviger_requests_total", Help: "Requests by route and outcome code.",
		}, []string{"route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "claviger_request_seconds", Help: "Time to answer by route.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 2, 16),
		}, []string{"route"}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "claviger_decisions_total", Help: "Decisions by action and result.",
		}, []string{"action", "decision"}),
		alarms: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "claviger_alarms_total", Help: "Alarms by kind.",
		}, []string{"kind"}),
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "claviger_build_info", Help: "Always 1."}, []string{"version"})
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	build.WithLabelValues(version).Set(1)
	m.registry.MustRegister(m.requests, m.seconds, m.decisions, m.alarms, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) request(route string, err error, took time.Duration) {
	code := http.StatusOK
	if err != nil {
		code, _ = classify(err)
	}
	m.requests.WithLabelValues(route, strconv.Itoa(code)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

// watch adds what is asked of the server when somebody reads.
func (m *metrics) watch(sealed func() bool) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "claviger_sealed", Help: "1 while the server is sealed."}, func() float64 {
		if sealed() {
			return 1
		}
		return 0
	}))
}

// Decision counts a decision: with Alarm it makes metrics a keyserver.Meter.
func (m *metrics) Decision(action, decision string) {
	m.decisions.WithLabelValues(actionLabel(action), decision).Inc()
}

// actionLabel keeps the label's values to those listed here: an admin's body can
// name any kind.
func actionLabel(action string) string {
	switch action {
	case "release", "encrypt", "decrypt", "sign", "verify", "mac", "list", "enroll", "renew", "state:read", "audit:read", "backup":
		return action
	}
	return "propose"
}

// Alarm counts an alarm.
func (m *metrics) Alarm(kind string) { m.alarms.WithLabelValues(kind).Inc() }

func (s *Server) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{"schema": 1, "status": "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		err := s.With(r.Context(), func(_ context.Context, c *keyserver.Core) error { return c.Usable() })
		if err != nil {
			s.fail(w, err)
			return
		}
		writeJSON(w, http.StatusOK, map[string]any{"schema": 1, "status": "ready"})
	})
	return mux
}
