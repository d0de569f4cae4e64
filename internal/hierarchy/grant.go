// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"crypto/subtle"
	"fmt"

	"claviger/internal/secret"
	"claviger/internal/wire"
)

// typeGrant is the type string of the HPKE message in a grant.
const typeGrant = "claviger/v1/eek"

// grantFields is all that both layers of a grant are bound to.
func grantFields(at EpochID, server [16]byte) [][]byte {
	return [][]byte{u64(at.Number), at.ID[:], server[:]}
}

// makeGrant seals an EEK to one server.
func (h *Hierarchy) makeGrant(at EpochID, eek *secret.Bytes, to ServerEpochKey) (Grant, error) {
	fields := grantFields(at, to.Server)
	inner := seal(h.slot, place{h.o.Domain, kindEEK, fields}, eek.Expose())
	sealed, err := wire.Seal(to.Public, typeGrant, h.grantInfo(fields), inner)
	if err != nil {
		return Grant{}, fmt.Errorf("seal erasure-epoch key to server %x: %w", to.Server, err)
	}
	return Grant{Epoch: at, Server: to.Server, Sealed: sealed}, nil
}

func (h *Hierarchy) grantInfo(fields [][]byte) wire.Hash {
	return wire.Sum("eek", append([][]byte{h.o.Domain[:]}, fields...)...)
}

// openGrant opens a grant for this server with its private epoch key.
func (h *Hierarchy) openGrant(g Grant, seed *secret.Bytes) (*secret.Bytes, error) {
	if g.Server != h.o.Server {
		return nil, fmt.Errorf("%w grant: it is for another server", ErrInvalid)
	}
	fields := grantFields(g.Epoch, g.Server)
	key, err := wire.KeyFromSeed(seed.Expose())
	if err != nil {
		return nil, fmt.Errorf("expand epoch key: %w", err)
	}
	inner, err := key.Open(typeGrant, h.grantInfo(fields), g.Sealed, maxGrant)
	if err != nil {
		return nil, fmt.Errorf("open grant: %w", err)
	}
	// Security: anyone can seal to a public key; only who holds the root can
	// have made this layer (TestForgedGrant).
	eek, err := unseal(h.slot, place{h.o.Domain, kindEEK, fields}, inner)
	if err != nil {
		return nil, fmt.Errorf("open grant: %w", err)
	}
	if eek.Len() != keySize {
		eek.Wipe()
		return nil, fmt.Errorf("%w grant", ErrInvalid)
	}
	return eek, nil
}

// Grant seals this server's EEK to another server that joined, or that gave its
// receipt for everything older. The caller has checked in the log that to is the
// key that server recorded, and that it isn't fenced.
func (h *Hierarchy) Grant(to ServerEpochKey) (Grant, error) {
	s, err := h.snapshot()
	if err != nil {
		return Grant{}, err
	}
	defer s.wipe()
	if to.Epoch != s.at.Number {
		return Grant{}, fmt.Errorf("%w: server %x gave no receipt for erasure epoch %d", ErrInvalid, to.Server, s.at.Number)
	}
	return h.makeGrant(s.at, s.eek, to)
}

// Accept takes the EEK that this server waits for; it is durable when Accept
// returns. A server that has its EEK refuses with ErrInvalid.
func (h *Hierarchy) Accept(g Grant) error {
	h.openMu.Lock()
	defer h.openMu.Unlock()
	if h.cur.eek != nil || g.Epoch != h.cur.at {
		return fmt.Errorf("%w grant: this server doesn't wait for it", ErrInvalid)
	}
	eek, err := h.openGrant(g, h.cur.seed)
	if err != nil {
		return err
	}
	next := &epochState{at: h.cur.at, eek: eek, seed: h.cur.seed.Clone(), public: h.cur.public}
	if err := h.storeState(next); err != nil {
		next.wipe()
		return err
	}
	if err := h.eraseAllBut(next); err != nil {
		next.wipe()
		return err
	}
	h.replace(next)
	return nil
}

// takeGrant opens this server's grant of a switch into the next state.
func (h *Hierarchy) takeGrant(sw *Switch, g Grant) (*epochState, error) {
	eek, err := h.openGrant(g, h.cur.seed)
	if err != nil {
		return nil, err
	}
	commit := eekCommitment(eek, h.o.Domain, sw.To)
	// Security: all servers take the same EEK or none (TestSplitGrant).
	if subtle.ConstantTimeCompare(commit[:], sw.Commit[:]) != 1 {
		eek.Wipe()
		return nil, fmt.Errorf("%w grant: not the erasure-epoch key that the switch commits to", ErrInvalid)
	}
	next := &epochState{at: sw.To, eek: eek, seed: secret.Random(keySize)}
	if err := h.setPublic(next); err != nil {
		next.wipe()
		return nil, err
	}
	return next, nil
}
