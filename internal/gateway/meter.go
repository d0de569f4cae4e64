// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// meter counts requests. Its labels are kinds, operations and failures as the
// program names them, never what a caller chose.
type meter struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// newMeter registers the counters; nil counts for nobody.
func newMeter(r prometheus.Registerer) *meter {
	m := &meter{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "claviger_door_requests_total", Help: "Requests to doors by kind of endpoint, operation and outcome.",
		}, []string{"kind", "operation", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "claviger_door_seconds", Help: "Time to answer by kind of endpoint and operation.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}, []string{"kind", "operation"}),
	}
	if r != nil {
		r.MustRegister(m.requests, m.seconds)
	}
	return m
}

// count counts one request; failure is Failures where there was none.
func (m *meter) count(kind, operation string, failure Failure, took time.Duration) {
	outcome := "ok"
	if failure != Failures {
		outcome = failure.String()
	}
	m.requests.WithLabelValues(kind, operation, outcome).Inc()
	if operation != "" {
		m.seconds.WithLabelValues(kind, operation).Observe(took.Seconds())
	}
}

// String is the failure's name in logs and metrics.
func (f Failure) String() string {
	names := [...]string{
		"internal", "malformed", "unauthenticated", "denied", "key-off", "key-state", "revoked", "endpoint-off", "refused", "no-route",
		"no-method", "media-type", "too-large", "too-slow", "too-many", "busy", "unavailable", "sealed",
	}
	if f < 0 || int(f) >= len(names) {
		return "unknown"
	}
	return names[f]
}
