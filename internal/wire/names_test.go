// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"strings"
	"testing"

	"claviger/internal/wire"
)

func TestTrustDomains(t *testing.T) {
	long := strings.Repeat("a", 128)
	for _, good := range []string{"acme", "acme.example", "a", "a_b-c.d", "1.2.3.a", "-", "_a", long} {
		if want := good != "-"; wire.ValidTrustDomain(good) != want {
			t.Errorf("%q: %t", good, !want)
		}
	}
	for _, bad := range []string{
		"", ".", "..", "a..b", ".a", "a.", "1", "1.2.3.4", "0-1_2", "A", "acme.Example", "a b", "a/b", "a:1", "u@a", "caf\u00e9", "a\x00", long + "a",
	} {
		if wire.ValidTrustDomain(bad) {
			t.Errorf("accepted %q", bad)
		}
		if id := "spiffe://" + bad + "/workload/x"; wire.ValidID(id) {
			t.Errorf("accepted the id %q", id)
		}
		if p := "spiffe://" + bad + "/workload/"; wire.ValidPrefix(p) {
			t.Errorf("accepted the prefix %q", p)
		}
	}
}

func TestPrefixes(t *testing.T) {
	long := strings.Repeat("a", 127) + "/"
	for _, good := range []string{"spiffe://a/workload/", "spiffe://a/workload/pay/", "spiffe://a.b/workload/pay/workload/x/", "spiffe://a/workload/" + long} {
		if !wire.ValidPrefix(good) {
			t.Errorf("refused %q", good)
		}
		if !wire.ValidID(good + "x") {
			t.Errorf("no name can stand under %q", good)
		}
	}
	for _, bad := range []string{
		"", "/", "spiffe://a/", "spiffe://a/workload", "spiffe://a/workload/pay", "spiffe://a/workload//", "spiffe://a/workload/../", "spiffe://a/workload/./",
		"spiffe://a/workload/Pay/", "spiffe://a/server/", "https://a/workload/", "spiffe://a/workload/pay//", "spiffe://a/workload/" + long + long,
	} {
		if wire.ValidPrefix(bad) {
			t.Errorf("accepted %q", bad)
		}
	}
}

func TestSubjects(t *testing.T) {
	long := strings.Repeat("x", wire.MaxSubject)
	for _, s := range []string{"a:b", "xks-1:arn:aws:iam::1:user/ann", "g:ann.lee@example.com", "g:Zoë Ü", "0:" + long, strings.Repeat("e", 63) + ":x", "spiffe:/x"} {
		if !wire.ValidSubject(s) {
			t.Errorf("%q is refused", s)
		}
	}
	for _, s := range []string{
		"", "a", ":b", "a:", "-a:b", "A:b", "a.b:c", "a/b:c", "a: b", "a:b ", "a:b  c", "a:b\tc", "a:b\nc", "a:b\x00", "a:\xff", "a:b\u00a0c",
		"a:b\u200bc", "a:b\u202ec", "a:b\ufeff", "a:\u00ad", "a:b\U000e0041", "a:" + long + "x", strings.Repeat("e", 64) + ":x",
		"spiffe://acme/workload/x",
	} {
		if wire.ValidSubject(s) {
			t.Errorf("%q is taken", s)
		}
		if wire.ValidID(s) != (s == "spiffe://acme/workload/x") {
			t.Errorf("%q as a workload's id", s)
		}
	}
}
