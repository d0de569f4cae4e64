// SPDX-License-Identifier: Apache-2.0

package endpoint

import (
	"strings"
	"testing"
)

// TestUnmet: names that nobody can have are not revoked as if that stopped somebody.
func TestUnmet(t *testing.T) {
	identity := strings.Repeat("0a", 32)
	for subject, met := range map[[2]string]bool{
		{"dke", "alice@example.com"}: true, {"dke", "Alice@example.com"}: false, {"kacls", "alice@Example.com"}: false,
		{"kes", identity}: true, {"kes", strings.ToUpper(identity)}: false, {"kes", identity[:8]}: false, {"kes", identity + "00"}: false,
		{"vault", "token:ci"}: true, {"vault", "jwt:repo:acme/app"}: true, {"vault", "ci"}: false, {"vault", "role:ci"}: false, {"vault", "token:"}: false,
		{"xks", "arn:aws:iam::123456789012:role/App"}: true, {"salesforce", "User"}: true,
	} {
		if why := Unmet(subject[0], subject[1]); (why == "") != met {
			t.Errorf("%v: %q", subject, why)
		}
	}
}
