// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"fmt"

	"claviger/internal/audit"
	"claviger/internal/authority"
	"claviger/internal/wire"
)

// Books are the two logs of a server, as a [Log].
type Books struct {
	Log        *authority.Log
	Audit      *audit.Log
	Unwritable error // what an error of the audit log is for the callers
}

// Epoch is that of the present state.
func (b Books) Epoch() (e wire.Epoch) {
	b.Log.View(func(s *authority.State) { e = s.Epoch })
	return e
}

// Chain is the member chain.
func (b Books) Chain() (chain [][]byte) {
	b.Log.View(func(s *authority.State) { chain = s.Members.Chain })
	return chain
}

// Told is what a statement says of the present state.
func (b Books) Told(now int64) (out Told, err error) {
	cp, err := b.Audit.Checkpoint()
	if err != nil {
		return out, fmt.Errorf("%w: %w", b.Unwritable, err)
	}
	out.Checkpoint = cp.Checkpoint
	b.Log.View(func(s *authority.State) {
		out.Epoch, out.Head, out.Members, out.Revoked = s.Epoch, s.Head, s.Members.Newest, s.Revocations(now)
	})
	return out, nil
}
