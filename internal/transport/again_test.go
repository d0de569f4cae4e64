// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

var errTest = errors.New("test")

// TestAgain: pauses grow to the bound, are drawn from their upper half, and start
// over once a try worked.
func TestAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		start := time.Now()
		var at []time.Duration
		err := Again(ctx, Pauses{First: time.Second, Most: 4 * time.Second}, func(_ context.Context, works func()) error {
			at = append(at, time.Since(start))
			switch len(at) {
			case 6:
				works()
			case 8:
				time.Sleep(4*time.Second + 1)
			case 9:
				cancel(errTest)
			}
			return errors.ErrUnsupported
		}, func(err error) {
			if !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("failed hears of %v", err)
			}
		})
		if !errors.Is(err, errTest) || len(at) != 9 {
			t.Fatalf("%d tries, %v", len(at), err)
		}
		for i, most := range []time.Duration{1, 2, 4, 4, 4, 1, 2, 5} {
			if i == 7 { // that try lasted longer than the longest pause
				at[i], most = at[i]+4*time.Second+1, 1
			}
			if pause := at[i+1] - at[i]; pause > most*time.Second || pause < most*time.Second/2 {
				t.Errorf("pause %d is %v, want at most %d s", i, pause, most)
			}
		}
	})
}

// TestAgainEnds: whoever cancels doesn't wait for a pause.
func TestAgainEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		err := Again(ctx, Pauses{First: time.Hour, Most: time.Hour}, func(context.Context, func()) error { return nil }, nil)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		cancel()
		if err := Again(ctx, Pauses{}, func(context.Context, func()) error { t.Error("tried"); return nil }, nil); err == nil {
			t.Error("no cause")
		}
	})
}
