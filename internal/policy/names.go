// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go"

	"claviger/internal/wire"
)

// Bounds of what a request may carry. They are far above what the doors accept
// and only keep one request from being arbitrarily costly.
const (
	maxNameBytes  = 512
	maxValueBytes = 4096
	maxSetItems   = 16384
	maxTags       = 64
)

// checkID says what is wrong with an entity's id, or "". Requests and the
// literals of policies pass the same check, so a policy can't name what no
// request can ever be: such a rule would look effective and never match.
func checkID(t cedar.EntityType, id string) string {
	switch t {
	case "Workload":
		if !wire.ValidID(id) {
			return "a workload is named by its SPIFFE id, spiffe://DOMAIN/workload/NAME (or compare principal.path)"
		}
	case "Admin", "Endpoint":
		if !wire.ValidNamePart(id) {
			return "the name needs to be of a-z 0-9 . _ -"
		}
	case "Subject":
		endpoint, name, found := strings.Cut(id, ":")
		if !found || !wire.ValidNamePart(endpoint) || !plainText(name) || len(id) > maxNameBytes {
			return `a subject is named "ENDPOINT:NAME"`
		}
	case "Key":
		if !wire.ValidKeyName(id) {
			return "a key's name is parts of a-z 0-9 . _ - with single slashes between"
		}
	case "Path":
		if !wire.ValidPath(id) {
			return "a path is parts of a-z 0-9 . _ - with single slashes between"
		}
	case "Secret", "Folder":
		if !pathText(id) {
			return "the name needs to be parts with single slashes between, none of them . or .."
		}
	default:
		if !plainText(id) || len(id) > maxNameBytes {
			return "the name is empty, too long or not text"
		}
	}
	return ""
}

// ValidSecret reports whether s can name a secret in a request or a policy.
func ValidSecret(s string) bool { return checkID("Secret", s) == "" }

// pathText reports whether s is a path of non-empty parts. Secrets may have
// wider names than keys, but the folders above them have to be unambiguous.
func pathText(s string) bool {
	if len(s) > maxNameBytes || !plainText(s) {
		return false
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

// plainText reports whether s is non-empty UTF-8 without invisible characters.
func plainText(s string) bool {
	return s != "" && utf8.ValidString(s) && !strings.ContainsFunc(s, invisible)
}

// invisible are characters that a reader can't see or that move others about:
// controls, bidirectional and zero-width ones. Security: in a policy they could
// make what is approved look unlike what is evaluated.
func invisible(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co) || r == '\u115f' || r == '\u1160' || r == '\u3164' || r == '\uffa0'
}

// parent returns the folder (or path) that a name lies in: "a/b" for "a/b/c".
func parent(name string) (string, bool) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return "", false
	}
	return name[:i], true
}
