// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"errors"
	"strings"
	"testing"

	"claviger/internal/wire"
)

func TestParseAddress(t *testing.T) {
	pin := strings.Repeat("ab", 32)
	hash := wire.Hash{}
	for i := range hash {
		hash[i] = 0xab
	}
	for text, want := range map[string]Address{
		"host:8443":                         {Kind: KindDirect, Host: "host:8443"},
		"Host.Example:8443":                 {Kind: KindDirect, Host: "host.example:8443"},
		"127.0.0.1:1":                       {Kind: KindDirect, Host: "127.0.0.1:1"},
		"[::1]:8443":                        {Kind: KindDirect, Host: "[::1]:8443"},
		"[fe80::1%eth0]:8443":               {Kind: KindDirect, Host: "[fe80::1%eth0]:8443"},
		"key_server.internal:65535":         {Kind: KindDirect, Host: "key_server.internal:65535"},
		"https://relay.example":             {Kind: KindRelay, Host: "relay.example:8444"},
		"https://relay.example:443":         {Kind: KindRelay, Host: "relay.example:443"},
		"https://[::1]":                     {Kind: KindRelay, Host: "[::1]:8444"},
		"https://[::1]:9#" + pin:            {Kind: KindRelay, Host: "[::1]:9", Pin: hash},
		"https://relay.example#" + pin:      {Kind: KindRelay, Host: "relay.example:8444", Pin: hash},
		"https://RELAY.example:8444#" + pin: {Kind: KindRelay, Host: "relay.example:8444", Pin: hash},
		"file:///srv/parcels":               {Kind: KindDirectory, Path: "/srv/parcels"},
		"file:///srv/two%20words":           {Kind: KindDirectory, Path: "/srv/two words"},
	} {
		got, err := ParseAddress(text)
		if err != nil || got != want {
			t.Errorf("%q = %+v, %v", text, got, err)
			continue
		}
		if again, err := ParseAddress(got.String()); err != nil || again != got {
			t.Errorf("%q renders as %q: %+v, %v", text, got.String(), again, err)
		}
	}
}

func TestParseAddressRefuses(t *testing.T) {
	pin := strings.Repeat("ab", 32)
	for _, text := range []string{
		"", "host", ":8443", "host:", "host:0", "host:65536", "host:08443", "host:https", "a:b:c", "ho st:8443", "host:8443\n", "-host:1", "a..b:1",
		strings.Repeat("a", 64) + ":1", strings.Repeat("a.", 600) + "b:1", "http://host:8444", "host:8443/path", "user@host:8443", "höst:8443",
		"https://", "https://:8444", "https://host/", "https://host/path", "https://host?q", "https://user@host", "https://user:pw@host:1",
		"https://host:0", "https://host:", "https://host#", "https://host#" + pin[1:], "https://host#" + pin + "ab", "https://host#" + strings.ToUpper(pin),
		"https://host#" + strings.Repeat("00", 32), "https://host#zz" + pin[2:], "https://::1", "https://[host]", "https://[::1", "https://[fe80::1%25eth0]:1",
		"HTTPS://host", "https://https://host", "https://host#" + pin + "#" + pin,
		"file://", "file:///", "file://host/path", "file:///a/../b", "file:///a/", "file:///a//b", "file:///a?b", "file:///a#b", "file:a", "file:///a%00b",
		"file:///a%2fb", "file:///%61", "file:///a b",
	} {
		if got, err := ParseAddress(text); !errors.Is(err, ErrAddress) {
			t.Errorf("%q = %+v, %v", text, got, err)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	f.Add("host:8443")
	f.Add("https://[::1]:8444#" + strings.Repeat("ab", 32))
	f.Add("file:///srv/two%20words")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAddress(text)
		if err != nil {
			if a != (Address{}) || !errors.Is(err, ErrAddress) {
				t.Errorf("%q = %+v, %v", text, a, err)
			}
			return
		}
		if again, err := ParseAddress(a.String()); err != nil || again != a {
			t.Errorf("%q = %+v renders as %q: %+v, %v", text, a, a.String(), again, err)
		}
		switch a.Kind {
		case KindDirect:
			_, err = NewDirect(text, Options{})
		case KindRelay:
			_, err = NewRelay(a, wire.DomainID{}, Options{})
		case KindDirectory:
			_, err = NewDirectory(a, wire.DomainID{}, Options{})
		}
		if err != nil {
			t.Errorf("%q parses but is of no use: %v", text, err)
		}
	})
}

// TestWrongKind: each way takes addresses of its kind alone.
func TestWrongKind(t *testing.T) {
	relay, _ := ParseAddress("https://host")
	directory, _ := ParseAddress("file:///dir")
	if _, err := NewRelay(directory, wire.DomainID{}, Options{}); !errors.Is(err, ErrAddress) {
		t.Errorf("NewRelay: %v", err)
	}
	if _, err := NewDirectory(relay, wire.DomainID{}, Options{}); !errors.Is(err, ErrAddress) {
		t.Errorf("NewDirectory: %v", err)
	}
	if _, err := NewDirect("https://host", Options{}); !errors.Is(err, ErrAddress) {
		t.Errorf("NewDirect: %v", err)
	}
	if _, err := NewRelay(Address{Kind: KindRelay, Host: "host"}, wire.DomainID{}, Options{}); !errors.Is(err, ErrAddress) {
		t.Errorf("NewRelay without a port: %v", err)
	}
}
