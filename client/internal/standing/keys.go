// SPDX-License-Identifier: Apache-2.0

package standing

import (
	"runtime"
	"slices"
	"sync"

	"claviger/internal/secret"
	"claviger/internal/wire"
)

// Keys are the one-time keys of one standing request: private halves in protected
// memory, each erased when it has opened something.
type Keys struct {
	public [][]byte

	mu    sync.Mutex
	seeds []seed // those that are left
}

type seed struct {
	hash wire.Hash // HPKEHash of the public half
	*secret.Bytes
}

// NewKeys makes as many keys as a request may name.
func NewKeys() *Keys {
	k := &Keys{}
	for range wire.MaxStanding {
		key := wire.NewKey()
		raw, err := key.Seed()
		if err != nil {
			panic("standing: a new key has no seed: " + err.Error())
		}
		k.seeds = append(k.seeds, seed{wire.HPKEHash(key.Public()), secret.Take(raw)})
		k.public = append(k.public, key.Public())
		key.Wipe()
	}
	return k
}

// Public are the public halves, 1216 bytes each.
func (k *Keys) Public() [][]byte { return slices.Clone(k.public) }

// left is how many keys are left.
func (k *Keys) left() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.seeds)
}

// open opens a sealed release with the key that fits, erases that and returns its
// hash. ok is false if none fits.
//
// Security: a second release to the same key would be one that was played again,
// or that two servers made; a key that is gone opens neither (T-16).
func (k *Keys) open(info wire.Hash, sealed []byte) (plain []byte, hash wire.Hash, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for n, s := range k.seeds {
		key, err := wire.KeyFromSeed(s.Expose())
		runtime.KeepAlive(s.Bytes)
		if err != nil {
			panic("standing: a kept key is not one: " + err.Error())
		}
		plain, err = key.Open(wire.TypeRelease, info, sealed, wire.MaxParcel)
		key.Wipe()
		if err != nil {
			continue
		}
		k.seeds = slices.Delete(k.seeds, n, n+1)
		s.Wipe()
		return plain, s.hash, true
	}
	return nil, wire.Hash{}, false
}

// wipe erases all keys.
func (k *Keys) wipe() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.seeds {
		s.Wipe()
	}
	k.seeds = nil
}
