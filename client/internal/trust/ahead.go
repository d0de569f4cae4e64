// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"errors"
	"fmt"

	"claviger/internal/secret"
	"claviger/internal/wire"
)

// Ahead believes a release that was made ahead of need, for a standing request, and
// opened with the one-time key of that hash; plain is what was in it, and is wiped.
// Any active server may have made it. It dates no clock and is no news. With
// ErrMembers, introduce a server and call again, with the same plain.
func (v *View) Ahead(a *Asked, key wire.Hash, plain []byte) (out *Answer, err error) {
	defer func() {
		if !errors.Is(err, ErrMembers) {
			secret.Wipe(plain)
		}
	}()
	release, err := wire.ParseRelease(plain)
	if err != nil {
		return nil, fmt.Errorf("%w: release: %w", ErrIntegrity, err)
	}
	defer wipeAll(release.Keys)
	claim, err := wire.PeekGrant(release.Grant)
	if err != nil {
		return nil, fmt.Errorf("%w: grant: %w", ErrIntegrity, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, err := v.state.ServerKey(claim.Server); err != nil && !v.state.Contains(claim.Members) {
		return nil, ErrMembers // of a server that joined since
	}
	grant, err := v.grant(a, claim.Server, key, release.Grant)
	if err != nil {
		return nil, err
	}
	age, err := v.signedAgo(grant.Server, grant.Issued)
	if err != nil {
		return nil, err
	}
	w := word{grant.Epoch, grant.Head, grant.Members, release.Grant, wire.TypeGrant}
	if err := v.checkWord(w, v.mark.Epoch); err != nil {
		return nil, err
	}
	out = &Answer{
		Grant: release.Grant, Epoch: grant.Epoch, Head: grant.Head, Server: grant.Server, SendToken: release.SendToken, Ahead: true,
		heard: heard{grant.Epoch, grant.Head, v.moment(), age},
	}
	if err = v.take(a, grant, release.Keys, out); err == nil {
		err = v.advance(w)
	}
	if err != nil {
		out.Wipe()
		return nil, err
	}
	return out, nil
}
