// SPDX-License-Identifier: Apache-2.0

package leased

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"claviger/client"
	"claviger/envelope"
	"claviger/internal/gateway/localrpc"
)

func TestRefusal(t *testing.T) {
	for want, errs := range map[localrpc.Code][]error{
		localrpc.PermissionDenied: {&client.DeniedError{Client: "spiffe://a/workload/b", Operation: "encrypt", Key: "k", Reason: "the key is disabled"}, client.ErrCompromised},
		localrpc.NotFound:         {&client.DeniedError{Key: "k", Reason: noVersion}, client.ErrUnexpectedKey, envelope.ErrNoKey},
		localrpc.Unavailable:      {client.ErrStale, client.ErrUnavailable, client.ErrClosed, fmt.Errorf("%w: %w", client.ErrStale, client.ErrUnavailable)},
		localrpc.InvalidArgument:  {envelope.ErrFormat, envelope.ErrVersion, envelope.ErrIntegrity, localrpc.Errorf(localrpc.InvalidArgument, "x")},
		localrpc.Internal:         {client.ErrIntegrity, client.ErrFork, client.ErrRollback, errors.New("canary"), fmt.Errorf("%w: %w", client.ErrUnavailable, client.ErrIntegrity)},
		localrpc.DeadlineExceeded: {context.DeadlineExceeded},
		localrpc.Canceled:         {context.Canceled},
	} {
		for _, err := range errs {
			if got := Refusal(err); got.Code != want || strings.Contains(got.Text, "canary") || got.Text == "" {
				t.Errorf("%v is %d %q, want %d", err, got.Code, got.Text, want)
			}
		}
	}
}

// TestWithin: with a lease at hand a call waits briefly for servers, without one for
// nearly all the time that its caller has.
func TestWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := client.Freshness{Keys: []client.KeyFreshness{
			{Key: "a", Operation: "decrypt", Version: 1, Lease: time.Hour, Staleness: time.Minute},
			{Key: "b", Operation: "encrypt", Version: 1, Lease: time.Hour},
		}}
		caller, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		for _, c := range []struct {
			u    Use
			want time.Duration
		}{
			{Use{Key: "a", Operation: "decrypt"}, atHand},
			{Use{Key: "a", Operation: "decrypt", Version: 1}, atHand},
			{Use{Key: "a", Operation: "decrypt", Version: 2}, 3*time.Second - spare},
			{Use{Key: "a", Operation: "encrypt"}, 3*time.Second - spare},
			{Use{Key: "b", Operation: "encrypt"}, 3*time.Second - spare},
		} {
			ctx, cancel := Within(caller, f, c.u)
			end, _ := ctx.Deadline()
			if got := time.Until(end); got != c.want {
				t.Errorf("%+v: %v, want %v", c.u, got, c.want)
			}
			cancel()
		}
		ctx, cancel := Within(t.Context(), f, Use{})
		defer cancel()
		if _, ok := ctx.Deadline(); ok {
			t.Error("who set no bound got one")
		}
	})
}
