// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"

	"claviger/internal/wire"
)

// ErrAddress means that a text is no address of a server, relay or directory.
var ErrAddress = errors.New("no valid address")

// Kind says what an address leads to.
type Kind int

// The kinds of addresses (docs/spec/relay.md, section 1). The zero Kind is none.
const (
	KindDirect    Kind = iota + 1 // host:port: a key server
	KindRelay                     // https://host[:port][#pin]
	KindDirectory                 // file:///path
)

// RelayPort is the port of a relay whose address names none.
const RelayPort = "8444"

const maxAddress = 1024 // bytes

// Address is where one or more servers can be asked.
type Address struct {
	Kind Kind
	Host string    // host:port of a server or relay, in lower case
	Pin  wire.Hash // of a relay's TLS key; zero: the system's certificate roots decide
	Path string    // of a directory, absolute
}

// ParseAddress reads an address as it stands in invites, profiles and
// configurations. Anything beyond the three forms is refused with [ErrAddress]:
// a name and password, a path behind a relay, a relative directory.
func ParseAddress(text string) (Address, error) {
	if len(text) > maxAddress || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return Address{}, fmt.Errorf("%w: it is too long, or holds a space or control character", ErrAddress)
	}
	if rest, ok := strings.CutPrefix(text, "https://"); ok {
		return parseRelay(rest)
	}
	if strings.HasPrefix(text, "file://") {
		return parseDirectory(text)
	}
	host, err := checkHostPort(text)
	if err != nil {
		return Address{}, fmt.Errorf("%w: %q: %w", ErrAddress, text, err)
	}
	return Address{Kind: KindDirect, Host: host}, nil
}

func parseRelay(rest string) (Address, error) {
	rest, fragment, pinned := strings.Cut(rest, "#")
	a := Address{Kind: KindRelay}
	if pinned {
		pin, err := hex.DecodeString(fragment)
		if err != nil || len(pin) != len(a.Pin) || fragment != strings.ToLower(fragment) || wire.Hash(pin).IsZero() {
			return Address{}, fmt.Errorf("%w: a relay's pin is 64 lower-case hexadecimal digits", ErrAddress)
		}
		a.Pin = wire.Hash(pin)
	}
	if _, _, err := net.SplitHostPort(rest); err != nil {
		host, bracketed := rest, false
		if inner, ok := strings.CutPrefix(rest, "["); ok {
			host, bracketed = strings.CutSuffix(inner, "]")
		}
		if bracketed != strings.Contains(host, ":") || strings.ContainsAny(host, "[]") {
			return Address{}, fmt.Errorf("%w: %q", ErrAddress, rest)
		}
		rest = net.JoinHostPort(host, RelayPort)
	}
	host, err := checkHostPort(rest)
	if err != nil || strings.Contains(host, "%") {
		return Address{}, fmt.Errorf("%w: a relay is https://host[:port][#pin], and nothing follows: %q", ErrAddress, rest)
	}
	a.Host = host
	return a, nil
}

func parseDirectory(text string) (Address, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return Address{}, fmt.Errorf("%w: a directory is file:///path", ErrAddress)
	}
	a := Address{Kind: KindDirectory, Path: u.Path}
	if !path.IsAbs(a.Path) || path.Clean(a.Path) != a.Path || a.Path == "/" || strings.ContainsRune(a.Path, 0) || a.String() != text {
		return Address{}, fmt.Errorf("%w: a directory is file:// and an absolute path in its shortest form", ErrAddress)
	}
	return a, nil
}

// checkHostPort returns host:port in lower case.
func checkHostPort(text string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", errors.New("not host:port")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return "", errors.New("the port is not a number from 1 to 65535")
	}
	if _, err := netip.ParseAddr(host); err != nil && !validHost(host) {
		return "", errors.New("the host is neither a name nor an address")
	}
	return net.JoinHostPort(strings.ToLower(host), port), nil
}

// validHost reports whether host could be a name: letters, digits, hyphens and
// underscores in parts of 1 to 63 bytes.
func validHost(host string) bool {
	if len(host) > 253 {
		return false
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		odd := strings.Trim(part, "-_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
		if part == "" || len(part) > 63 || odd != "" || strings.HasPrefix(part, "-") {
			return false
		}
	}
	return true
}

// String renders the address so that ParseAddress reads the same. A relay's port
// is always named.
func (a Address) String() string {
	switch a.Kind {
	case KindRelay:
		if a.Pin.IsZero() {
			return "https://" + a.Host
		}
		return "https://" + a.Host + "#" + a.Pin.String()
	case KindDirectory:
		return (&url.URL{Scheme: "file", Path: a.Path}).String()
	}
	return a.Host
}
