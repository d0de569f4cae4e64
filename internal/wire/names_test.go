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
