// SPDX-License-Identifier: Apache-2.0

package load

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestHistogram(t *testing.T) {
	var h, half Histogram
	for i := 1; i <= 1000; i++ {
		half.Note(time.Duration(i) * time.Millisecond)
	}
	h.Add(&half)
	for share, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: time.Second} {
		got := h.Quantile(share)
		if got < want || got > want+want/32 {
			t.Errorf("%v: %v, want %v or a little more", share, got, want)
		}
	}
	if h.Count() != 1000 || (&Histogram{}).Quantile(0.5) != 0 {
		t.Error("counted wrong")
	}
	last := -1
	for _, ns := range []uint64{0, 1, 31, 32, 33, 63, 64, 1000, 1 << 20, 1<<62 + 1} {
		b := bucket(ns)
		if b <= last || upper(b) < time.Duration(ns) || b > 0 && upper(b-1) >= time.Duration(ns) {
			t.Errorf("%d ns is in bucket %d, up to %v", ns, b, upper(b))
		}
		last = b
	}
}

func TestLoops(t *testing.T) {
	var asked atomic.Int64
	bad := atomic.Bool{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked.Add(1)
		if bad.Load() || string(body) != "question" {
			http.Error(w, "no", http.StatusTeapot)
			return
		}
		_, _ = io.WriteString(w, r.Proto)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	target := Target{URL: server.URL + "/x", Body: []byte("question"), TLS: server.Client().Transport.(*http.Transport).TLSClientConfig}
	h2 := target
	h2.HTTP2 = true
	for name, c := range map[string]struct {
		target Target
		plan   Plan
	}{
		"closed":         {target, Plan{Connections: 2, Duration: 100 * time.Millisecond, Warmup: 10 * time.Millisecond}},
		"closed, HTTP/2": {h2, Plan{Connections: 2, Duration: 100 * time.Millisecond}},
		"open":           {target, Plan{Connections: 2, Duration: 100 * time.Millisecond, Rate: 200}},
	} {
		asked.Store(0)
		bad.Store(false)
		r, err := Run(t.Context(), c.target, c.plan)
		if err != nil || r.Errors > 0 {
			t.Errorf("%s: %v, %v", name, err, r.First)
			continue
		}
		if n := int64(r.Times.Count()); n == 0 || n > asked.Load() || r.PerSecond() == 0 {
			t.Errorf("%s: noted %d of %d answers", name, n, asked.Load())
		}
		bad.Store(true)
		if r, err = Run(t.Context(), c.target, c.plan); err != nil || r.Errors == 0 || r.First == nil || r.Times.Count() != 0 {
			t.Errorf("%s: bad answers are noted as %+v, %v", name, r, err)
		}
	}
	if _, err := Run(t.Context(), target, Plan{}); err == nil {
		t.Error("a plan of nothing was carried out")
	}
}

// TestWaitCounts: in an open loop the time of a request begins when it is due.
func TestWaitCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Result
		due := time.Now()
		time.Sleep(time.Second)
		r.note(t.Context(), due, false, nil)
		if got := r.Times.Quantile(1); got != time.Second {
			t.Errorf("%v, want a second", got)
		}
	})
}
