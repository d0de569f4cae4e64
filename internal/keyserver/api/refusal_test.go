// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"fmt"
	"testing"

	"claviger/internal/authority"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/api"
)

// TestRefusalSaysItOnce: the code says "refused"; the message says why.
func TestRefusalSaysItOnce(t *testing.T) {
	err := fmt.Errorf("%w: %w", keyserver.ErrRefused, fmt.Errorf("%w: it was applied before", authority.ErrRefused))
	if got := api.TroubleOf(err); got.Code != "refused" || got.Message != "it was applied before" {
		t.Errorf("%q: %q", got.Code, got.Message)
	}
}
