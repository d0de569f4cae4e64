// SPDX-License-Identifier: Apache-2.0

package authn_test

import (
	"testing"
	"time"

	"claviger/internal/authn"
	"claviger/internal/pki"
	"claviger/internal/pki/pkitest"
)

// counted counts how often a verifier is asked.
type counted struct {
	authn.ChainVerifier
	asked int
}

func (c *counted) Verify(chain [][]byte, now time.Time) (*pki.Identity, error) {
	c.asked++
	return c.ChainVerifier.Verify(chain, now)
}

// TestChainsAreRememberedWhileTheyLast: a certificate is judged once, but never
// outlives its end or stands before the time at which it was judged.
func TestChainsAreRememberedWhileTheyLast(t *testing.T) {
	w := newWorld(t)
	behind := &counted{ChainVerifier: w.trust.Chains}
	r := authn.Remember(behind)
	judge := func(leaf *pkitest.Leaf, now time.Time, good bool, asked int) *pki.Identity {
		t.Helper()
		id, err := r.Verify(leaf.Chain, now)
		if (err == nil) != good || behind.asked != asked {
			t.Fatalf("at %v: %v, %d asked, want good %v, %d asked", now.Sub(w.now), err, behind.asked, good, asked)
		}
		return id
	}
	first := judge(w.app, w.now, true, 1)
	if second := judge(w.app, w.now.Add(time.Second), true, 1); second != first || second.ID != app {
		t.Errorf("remembered %+v, judged %+v", second, first)
	}
	judge(w.app, w.now.Add(-time.Second), true, 2) // good then too, but nobody had said so
	if id := judge(w.other, w.now, true, 3); id.ID == app {
		t.Error("one chain was taken for another")
	}
	judge(w.app, first.NotAfter.Add(time.Second), false, 4)
	judge(w.app, first.NotAfter.Add(time.Second), false, 5)
	judge(w.app, w.app.Cert.NotBefore.Add(-time.Second), false, 6)
}

// TestRememberedChainsAreBounded: many certificates take no more room than some.
func TestRememberedChainsAreBounded(t *testing.T) {
	w := newWorld(t)
	r := authn.Remember(anything{})
	for i := range 5000 {
		if _, err := r.Verify([][]byte{{byte(i), byte(i >> 8)}}, w.now); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.Known(); n != 2048 {
		t.Errorf("%d chains remembered", n)
	}
	refusing := authn.Remember(w.trust.Chains)
	if _, err := refusing.Verify([][]byte{{1}}, w.now); err == nil || refusing.Known() != 0 {
		t.Errorf("a refusal took room: %d, %v", refusing.Known(), err)
	}
}

// anything takes any chain.
type anything struct{}

func (anything) Verify(_ [][]byte, now time.Time) (*pki.Identity, error) {
	return &pki.Identity{NotAfter: now.Add(time.Hour)}, nil
}
