// SPDX-License-Identifier: Apache-2.0

package endpoint

import (
	"encoding/hex"
	"slices"
	"strings"
)

// Unmet says why no credential at an endpoint of a kind can name a subject, ""
// if one might: a revocation of such a name would read as done and stop nobody.
func Unmet(kind, name string) string {
	switch kind {
	case "dke", "kacls":
		if strings.ContainsAny(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
			return "names of users are in lower case there"
		}
	case "kes":
		if raw, err := hex.DecodeString(name); err != nil || len(raw) != 32 || name != strings.ToLower(name) {
			return "a client's name there is its whole identity, 64 hexadecimal digits in lower case"
		}
	case "vault":
		method, rest, ok := strings.Cut(name, ":")
		if !ok || rest == "" || !slices.Contains([]string{"token", "approle", "jwt", "kubernetes", "cert"}, method) {
			return "names there begin with the method: token:, approle:, jwt:, kubernetes: or cert:"
		}
	}
	return ""
}
