// SPDX-License-Identifier: Apache-2.0

package wire

import "strings"

// Bounds of names and values that stand in messages.
const (
	MaxKeyName   = 128 // bytes of a key's path name
	MaxPartition = 256 // bytes of a partition
	MaxID        = 256 // bytes of a SPIFFE id
	MaxReason    = 256 // bytes of a free-text reason

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
