// SPDX-License-Identifier: Apache-2.0

package endpoints

import "strings"

// validWord reports whether s is a short word: [a-z][a-z0-9-]{0,31}.
func validWord(s string) bool {
	return s != "" && len(s) <= 32 && s[0] >= 'a' && s[0] <= 'z' && only(s, "-", isLower, isDigit)
}

// validText reports whether s is 1 to MaxText printable ASCII characters without
// blanks.
func validText(s string) bool {
	return s != "" && len(s) <= MaxText && only(s, "", func(c byte) bool { return c > ' ' && c < 0x7f })
}

// validHost reports whether s is a DNS name in lower case: labels of 1 to 63
// letters, digits and inner hyphens (RFC 1123, section 2.1), the last one not
// all digits, so that no IP address is one.
func validHost(s string) bool {
	if len(s) > 253 {
		return false
	}
	last := ""
	for last = range strings.SplitSeq(s, ".") {
		if last == "" || len(last) > 63 || last[0] == '-' || last[len(last)-1] == '-' || !only(last, "-", isLower, isDigit) {
			return false
		}
	}
	return !only(last, "", isDigit)
}

// ValidURL reports whether s is an absolute URL that keys may be fetched from:
// https with a host in lower case, or http to this machine; no user, no fragment.
// It is written by hand because it is part of the fold.
func ValidURL(s string) bool {
	if !validText(s) || strings.ContainsAny(s, `#\"<>^{|}`+"`") {
		return false
	}
	scheme, rest, ok := strings.Cut(s, "://")
	authority, _, _ := strings.Cut(rest, "/")
	authority, _, _ = strings.Cut(authority, "?")
	host, port, hasPort := authority, "", false
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		host, port, hasPort = authority[:i], authority[i+1:], true
	}
	if !ok || hasPort && !validPort(port) {
		return false
	}
	loopback := host == "127.0.0.1" || host == "[::1]" || host == "localhost"
	return scheme == "https" && (validHost(host) || loopback) || scheme == "http" && loopback
}

// validPort reports whether s is a port number, written in the one way.
func validPort(s string) bool {
	return s != "" && s[0] != '0' && only(s, "", isDigit) && (len(s) < 5 || len(s) == 5 && s <= "65535")
}

// oneSequence reports whether der is one DER SEQUENCE with nothing before or
// after it (X.690, section 8.1).
func oneSequence(der []byte) bool {
	if len(der) < 2 || der[0] != 0x30 {
		return false
	}
	size, head := int(der[1]), 2
	if size >= 0x80 {
		n := size - 0x80
		if n == 0 || n > 3 || len(der) < 2+n || der[2] == 0 {
			return false
		}
		size, head = 0, 2+n
		for _, b := range der[2:head] {
			size = size<<8 | int(b)
		}
		if size < 0x80 {
			return false
		}
	}
	return len(der) == head+size
}

func isLower(c byte) bool { return c >= 'a' && c <= 'z' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// only reports whether every byte of s is one of also, or of one of the classes.
func only(s, also string, classes ...func(byte) bool) bool {
	for _, c := range []byte(s) {
		ok := strings.IndexByte(also, c) >= 0
		for _, in := range classes {
			ok = ok || in(c)
		}
		if !ok {
			return false
		}
	}
	return true
}
