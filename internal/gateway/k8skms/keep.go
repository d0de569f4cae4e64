// SPDX-License-Identifier: Apache-2.0

package k8skms

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"claviger/client"
	"claviger/internal/secret"
)

const (
	// keepEvery is how often the leases are used, so that they are renewed before they
	// end, and news of revocations comes, also while the API server asks nothing.
	keepEvery = 10 * time.Second
	// keepDenied is how often after a no, which the server's audit log keeps each time.
	// Who asks for Status asks the server at once all the same.
	keepDenied = time.Minute
	// keepWait bounds that for each version.
	keepWait = 20 * time.Second
	// maxKnown is how many versions are kept at hand besides the current one.
	maxKnown = 32
)

// sample is a ciphertext of a version, damaged: what asks for its lease, and opens
// nothing.
type sample struct {
	keyID      string
	ciphertext []byte
}

// remember keeps a version's lease from now on. An API server that restarts while no
// key server can be reached needs those of all versions that its objects are of.
func (p *Plugin) remember(keyID string, ciphertext []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := slices.IndexFunc(p.known, func(s sample) bool { return s.keyID == keyID })
	if at == 0 {
		return
	}
	s := sample{keyID: keyID, ciphertext: bytes.Clone(ciphertext)}
	s.ciphertext[len(s.ciphertext)-1] ^= 1
	if at > 0 {
		p.known = slices.Delete(p.known, at, at+1)
	}
	p.known = slices.Insert(p.known, 0, s)
	if len(p.known) > maxKnown {
		p.known = p.known[:maxKnown]
	}
}

// Keep keeps the leases until ctx ends.
func (p *Plugin) Keep(ctx context.Context) {
	for {
		pause := time.NewTimer(p.keep(ctx))
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
	}
}

// keep uses every lease once, and says when to do it again. Failures show in what Status
// says, or when a version is needed.
func (p *Plugin) keep(ctx context.Context) (next time.Duration) {
	p.mu.Lock()
	known := slices.Clone(p.known)
	p.mu.Unlock()
	next = keepEvery
	once := func(f func(context.Context) error) {
		ctx, cancel := context.WithTimeout(ctx, keepWait)
		defer cancel()
		if _, denied := errors.AsType[*client.DeniedError](f(ctx)); denied {
			next = keepDenied
		}
	}
	once(func(ctx context.Context) error {
		_, err := p.Check(ctx)
		return err
	})
	for _, s := range known {
		once(func(ctx context.Context) error {
			plain, err := p.open(ctx, s.ciphertext, annotations())
			secret.Wipe(plain)
			return err
		})
	}
	return next
}
