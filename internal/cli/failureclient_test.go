// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"testing"

	"claviger/client"
	"claviger/envelope"
	"claviger/internal/admin"
	"claviger/internal/transport"
)

// What a client's errors become: the exit status is what scripts branch on.
func TestFailuresOfTheClient(t *testing.T) {
	const app1 = "spiffe://example.org/workload/app1"
	cases := []struct {
		err     error
		code    ExitCode
		message string // "" stands for the error's own
		hint    bool
	}{
		{client.ErrIntegrity, ExitIntegrity, "", true},
		{client.ErrFork, ExitIntegrity, "", true},
		{client.ErrRollback, ExitIntegrity, "", true},
		{client.ErrUnexpectedKey, ExitIntegrity, "", true},
		{client.ErrCompromised, ExitIntegrity, "", true},
		{client.ErrStale, ExitFailure, "", true},
		{client.ErrUnavailable, ExitFailure, "", true},
		{fmt.Errorf("%w: %w", client.ErrUnavailable, &transport.Error{Address: "a:1", Status: 503, Code: "sealed", Message: "x"}), ExitFailure, "", true},
		{client.ErrInvite, ExitDenied, "", true},
		{client.ErrNotFound, ExitNotFound, "", false},
		{client.ErrExists, ExitUsage, "", true},
		{client.ErrDemo, ExitDenied, "", true},
		{admin.ErrDemo, ExitDenied, "", true},
		{envelope.ErrVersion, ExitIntegrity, "", true},
		{envelope.ErrFormat, ExitIntegrity, "", false},
		{&client.DeniedError{Client: app1, Operation: "encrypt", Key: "a/b", Reason: "no policy allows it"},
			ExitDenied, "app1 may not encrypt with a/b (no policy allows it)", true},
		{&client.DeniedError{Client: app1, Operation: "decrypt", Key: "a/b", Reason: "the key is disabled"},
			ExitDenied, "app1 may not decrypt with a/b (the key is disabled)", true},
		{&client.DeniedError{Client: app1, Operation: "decrypt", Key: "a/b", Reason: "the client is revoked"},
			ExitDenied, "app1 may not decrypt with a/b (the client is revoked)", true},
		{&client.DeniedError{Client: "spiffe://example.org/workload/team/app1", Operation: "enroll", Reason: "the invite was used"},
			ExitDenied, "team/app1 may not enroll (the invite was used)", false},
		{&client.DeniedError{Client: "elsewhere", Operation: "sign", Key: "k", Reason: "policy x forbids it"},
			ExitDenied, "elsewhere may not sign with k (policy x forbids it)", false},
	}
	want(t, "hint of a sealed server", asFailure(&transport.Error{Code: "sealed"}).Hint, hintSealed)
	for _, c := range cases {
		f := asFailure(fmt.Errorf("do it: %w", c.err))
		if c.message == "" {
			c.message = "do it: " + c.err.Error()
		}
		want(t, c.message, f.Message, c.message)
		want(t, c.message, f.Code, c.code)
		want(t, c.message+": hint", f.Hint != "", c.hint)
	}
}
