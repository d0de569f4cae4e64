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
	"claviger/internal/keyserver/holding"
	"claviger/internal/wire"
)

// usualDecision is one of those that come with every request.
type usualDecision struct{ action, decision string }

// metrics are the server's counters. No label ever holds a key, a client or
// anything else that a caller chooses.
type metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	decisions *prometheus.CounterVec
	alarms    *prometheus.CounterVec
	dark      prometheus.Histogram
	acks      *prometheus.CounterVec

	usual map[usualDecision]prometheus.Counter // of decisions; read only

	relayUp        *prometheus.GaugeVec
	relayExchanges *prometheus.CounterVec
	relayAgain     *prometheus.CounterVec
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
		relayUp: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "claviger_relay_connected", Help: "1 while the relay or directory takes what the server says, by its place in the configuration.",
		}, []string{"relay"}),
		relayExchanges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "claviger_relay_exchanges_total", Help: "Messages answered through a relay or directory by outcome code.",
		}, []string{"relay", "code"}),
		relayAgain: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "claviger_relay_reconnects_total", Help: "Times that a relay or directory was lost.",
		}, []string{"relay"}),
		dark: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "claviger_time_to_dark_seconds", Help: "From a revocation to the end of its use by each holder, by its own word or by the rules.",
			Buckets: []float64{0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 4 * 3600, 24 * 3600},
		}),
		acks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "claviger_acknowledgements_total", Help: "Acknowledgements of revocations by what became of them.",
		}, []string{"outcome"}),
	}
	m.usual = map[usualDecision]prometheus.Counter{}
	for _, action := range []string{"release", "encrypt", "decrypt"} {
		for _, decision := range []string{wire.DecisionAllowed, wire.DecisionDenied} {
			m.usual[usualDecision{action, decision}] = m.decisions.WithLabelValues(action, decision)
		}
	}
	for _, outcome := range []string{holding.AckTaken, holding.AckUnknown, holding.AckRefused} {
		m.acks.WithLabelValues(outcome) // so that rates are right from the first one on
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "claviger_build_info", Help: "Always 1."}, []string{"version"})
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	build.WithLabelValues(version).Set(1)
	m.registry.MustRegister(m.requests, m.seconds, m.decisions, m.alarms, m.relayUp, m.relayExchanges, m.relayAgain, m.dark, m.acks, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// route returns what counts the requests of a route, by what became of them.
func (m *metrics) route(path string) func(err error, took time.Duration) {
	good, seconds := m.requests.WithLabelValues(path, strconv.Itoa(http.StatusOK)), m.seconds.WithLabelValues(path)
	return func(err error, took time.Duration) {
		seconds.Observe(took.Seconds())
		if err == nil {
			good.Inc()
			return
		}
		code, _ := classify(err)
		m.requests.WithLabelValues(path, strconv.Itoa(code)).Inc()
	}
}

// ask adds what is asked of the server when somebody reads.
func (m *metrics) ask(sealed func() bool, holders func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "claviger_holders", Help: "Holders of leases."}, func() float64 { return float64(holders()) }))
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "claviger_sealed", Help: "1 while the server is sealed."}, func() float64 {
		if sealed() {
			return 1
		}
		return 0
	}))
}

// Dark counts a holder of what was revoked that can't use it any more.
func (m *metrics) Dark(after time.Duration) { m.dark.Observe(after.Seconds()) }

// Ack counts an acknowledgement.
func (m *metrics) Ack(outcome string) { m.acks.WithLabelValues(outcome).Inc() }

// Decision counts a decision: with the other three it makes metrics a
// keyserver.Meter.
func (m *metrics) Decision(action, decision string) {
	if c, ok := m.usual[usualDecision{action, decision}]; ok {
		c.Inc()
		return
	}
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

// Metrics is where what serves beside the API registers its own.
func (s *Server) Metrics() prometheus.Registerer { return s.metrics.registry }

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
