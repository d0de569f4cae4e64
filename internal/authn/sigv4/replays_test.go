// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"errors"
	"testing"
	"time"

	"claviger/internal/authn"
)

// TestReplays: a request that was kept doesn't work again, until its time is over
// and after, also if the clock is set back.
func TestReplays(t *testing.T) {
	v := verifier("")
	body := []byte("{}")
	r := signed(t, body)
	at := func(d time.Duration) error {
		_, err := v.Verify(t.Context(), r, body, now().Add(d))
		return err
	}
	for _, c := range []struct {
		after time.Duration
		good  bool
	}{
		{0, true}, {0, true}, {Grace, true}, {Grace + time.Millisecond, false}, {time.Minute, false}, {-time.Minute, false},
		{Skew, false}, {Skew + time.Second, false}, {Skew + 2*time.Minute, false},
	} {
		if err := at(c.after); (err == nil) != c.good || err != nil && !errors.Is(err, authn.ErrRefused) {
			t.Errorf("after %s: %v", c.after, err)
		}
	}
	// Others come in the meantime, and what was remembered is dropped.
	later := now().Add(2*Skew + 2*time.Minute)
	other := signed(t, body)
	Signer{id, text(), "eu-west-1", service}.Sign(other, body, later)
	if _, err := v.Verify(t.Context(), other, body, later); err != nil {
		t.Error(err)
	}
	if n := len(v.replays.minutes); n != 1 || v.replays.n != 1 {
		t.Errorf("%d minutes, %d signatures remembered", n, v.replays.n)
	}
	if err := at(0); !errors.Is(err, authn.ErrRefused) {
		t.Errorf("with the clock set back: %v", err)
	}
}

// TestReplaysAreBounded: no more is remembered than may be, and then nothing works
// that would have to be; what doesn't verify is not remembered.
func TestReplaysAreBounded(t *testing.T) {
	v := verifier("")
	v.replays = newReplays(3)
	for i := range 5 {
		r := signed(t, nil)
		Signer{id, text(), "eu-west-1", service}.Sign(r, nil, now().Add(time.Duration(i)*time.Second))
		_, err := v.Verify(t.Context(), r, nil, now())
		if full := i >= 3; errors.Is(err, authn.ErrBusy) != full || (err != nil) != full {
			t.Errorf("request %d: %v", i, err)
		}
		r.Header.Set("X-Amz-Date", now().Add(time.Hour).Format(timeFormat))
		if _, err := v.Verify(t.Context(), r, nil, now()); err == nil {
			t.Error("taken")
		}
	}
	if v.replays.n != 3 {
		t.Errorf("%d remembered", v.replays.n)
	}
}
