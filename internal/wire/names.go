// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"strings"
	"unicode/utf8"
)

// Bounds of names and values that stand in messages.
const (
	MaxKeyName   = 128 // bytes of a key's path name
	MaxPartition = 256 // bytes of a partition
	MaxID        = 256 // bytes of a SPIFFE id
	MaxReason    = 256 // bytes of a free-text reason
	MaxEndpoint  = 63  // bytes of an endpoint's name
	MaxSubject   = 512 // bytes of what an endpoint's credential names

	// MaxTime is the latest time that a message may name, in Unix milliseconds: in
	// the year 2248. The difference of two such times fits a time.Duration, and
	// sums of a few don't overflow.
	MaxTime = 1<<43 - 1
)

// validTime reports whether t is a time that a message may name.
func validTime(t int64) bool { return t > 0 && t <= MaxTime }

// ValidKeyName reports whether s is a key's path name: parts of [a-z0-9._-],
// separated by single slashes, no part "." or "..", at most 128 bytes. The
// alphabet has no case, accent or separator twins, so two names that look alike
// are alike.
func ValidKeyName(s string) bool {
	if s == "" || len(s) > MaxKeyName {
		return false
	}
	for part := range strings.SplitSeq(s, "/") {
		if !ValidNamePart(part) {
			return false
		}
	}
	return true
}

// ValidNamePart reports whether s is one part of a path name, or the name of an
// admin or a server.
func ValidNamePart(s string) bool {
	if s == "" || s == "." || s == ".." || len(s) > MaxKeyName {
		return false
	}
	for _, c := range []byte(s) {
		ok := c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
		if !ok {
			return false
		}
	}
	return true
}

// ValidTrustDomain reports whether s can name a trust domain: a name part whose
// dots stand alone between other characters, with at least one letter. The
// letter keeps out IP addresses, on which the name constraints of certificates
// can't work (RFC 5280, section 4.2.1.10).
func ValidTrustDomain(s string) bool {
	return ValidNamePart(s) && s[0] != '.' && s[len(s)-1] != '.' && !strings.Contains(s, "..") &&
		strings.ContainsAny(s, "abcdefghijklmnopqrstuvwxyz")
}

// ValidID reports whether s has the form of a workload's SPIFFE id,
// spiffe://NAME/workload/PATH, with NAME a trust domain's and PATH in the
// alphabet of path names (SPIFFE-ID, section 2, narrowed).
func ValidID(s string) bool {
	rest, ok := strings.CutPrefix(s, "spiffe://")
	if !ok || len(s) > MaxID {
		return false
	}
	name, path, ok := strings.Cut(rest, "/workload/")
	return ok && ValidTrustDomain(name) && ValidPath(path)
}

// ValidPrefix reports whether s covers workloads' SPIFFE ids: what stands before
// whole parts of their paths, spiffe://NAME/workload/ and perhaps PART/…, with
// its slash. So ".../pay/" never covers ".../payments", and there is a valid
// id under every valid prefix.
func ValidPrefix(s string) bool {
	return strings.HasSuffix(s, "/") && ValidID(s+"x")
}

// ValidPath is ValidKeyName without its length limit: the part of a SPIFFE id
// after /workload/.
func ValidPath(s string) bool {
	if s == "" || len(s) > MaxID {
		return false
	}
	for part := range strings.SplitSeq(s, "/") {
		if !ValidNamePart(part) {
			return false
		}
	}
	return true
}

// ValidEndpointName reports whether s can name an endpoint: [a-z0-9][a-z0-9-]*,
// at most MaxEndpoint bytes. It has no colon, so that what precedes the first one
// in a subject is the endpoint.
func ValidEndpointName(s string) bool {
	if s == "" || len(s) > MaxEndpoint || s[0] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

// ValidSubjectName reports whether s can be what an endpoint's credential names,
// such as an ARN, an e-mail address or a token's subject: UTF-8 of at most
// MaxSubject bytes, with single blanks inside and no other space, control or
// format character, by which two names could look alike.
func ValidSubjectName(s string) bool {
	if s == "" || len(s) > MaxSubject || !utf8.ValidString(s) || s[0] == ' ' || s[len(s)-1] == ' ' || strings.Contains(s, "  ") {
		return false
	}
	return !strings.ContainsFunc(s, invisible)
}

// invisible reports whether c shows nothing. The list is written down, not the
// standard library's: servers of different builds must agree on what is valid.
func invisible(c rune) bool {
	switch {
	case c < 0x20, c >= 0x7f && c <= 0xa0, c == 0xad, c == 0x34f, c == 0x61c, c == 0x115f, c == 0x1160, c == 0x1680,
		c == 0x180e, c >= 0x2000 && c <= 0x200f, c >= 0x2028 && c <= 0x202f, c >= 0x205f && c <= 0x206f, c == 0x2800,
		c == 0x3000, c == 0x3164, c >= 0xfe00 && c <= 0xfe0f, c == 0xfeff, c == 0xffa0, c >= 0xfff0 && c <= 0xfffd,
		c >= 0xe0000:
		return true
	}
	return false
}

// ValidSubject reports whether s names a subject in full: ENDPOINT:NAME. It is
// never a workload's SPIFFE id.
func ValidSubject(s string) bool {
	endpoint, name, ok := strings.Cut(s, ":")
	return ok && ValidEndpointName(endpoint) && ValidSubjectName(name) && !strings.HasPrefix(s, "spiffe://")
}
