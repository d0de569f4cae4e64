// SPDX-License-Identifier: Apache-2.0

package authn

import (
	"sync"
	"time"

	"claviger/internal/pki"
	"claviger/internal/wire"
)

// maxChains is how many chains are remembered, some kilobytes each.
const maxChains = 2048

// Remembered is a ChainVerifier that judges a chain once. What it remembers is
// found by the hash of the whole chain and holds from when it was judged until
// [pki.Identity].NotAfter, which a revocation list's next update bounds too. It
// dies with the verifier that it stands before, so make a new one where anchors
// or lists change. Refusals are not remembered: who has no certificate takes no
// room. It is safe for concurrent use.
type Remembered struct {
	chains ChainVerifier
	mu     sync.Mutex
	known  map[wire.Hash]judged
}

// judged is a verdict and the time from which it holds.
type judged struct {
	id   *pki.Identity
	from time.Time
}

// Remember returns a verifier that remembers what chains says.
func Remember(chains ChainVerifier) *Remembered {
	return &Remembered{chains: chains, known: map[wire.Hash]judged{}}
}

// Verify is that of the verifier behind. The identity is shared: nobody changes
// it.
func (r *Remembered) Verify(chain [][]byte, now time.Time) (*pki.Identity, error) {
	name := wire.Sum("chain", chain...)
	r.mu.Lock()
	have, ok := r.known[name]
	r.mu.Unlock()
	// Security: a certificate ends while it is remembered, and a clock that was set
	// back may stand before its beginning.
	if ok && !now.Before(have.from) && now.Before(have.id.NotAfter) {
		return have.id, nil
	}
	id, err := r.chains.Verify(chain, now)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for other := range r.known {
		if len(r.known) < maxChains {
			break
		}
		delete(r.known, other) // any one
	}
	r.known[name] = judged{id, now}
	return id, nil
}
