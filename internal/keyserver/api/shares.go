// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"sync"

	"claviger/internal/keyserver"
	"claviger/internal/root"
	"claviger/internal/secret"
)

// unsealer collects what is brought to a sealed server.
type unsealer struct {
	dir string     // of the custody file
	one sync.Mutex // one unseal request at a time

	mu     sync.Mutex
	shares map[int]*secret.Bytes // brought so far, by index
}

func (u *unsealer) have() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.shares)
}

func (u *unsealer) drop() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, share := range u.shares {
		share.Wipe()
	}
	clear(u.shares)
}

// gather adds a share. It returns copies of all once there are enough; nil
// without an error means that more are needed.
func (u *unsealer) gather(text []byte) ([]*secret.Bytes, error) {
	share := secret.Take(text)
	who, err := root.CheckShare(u.dir, share)
	if err != nil {
		share.Wipe()
		return nil, fmt.Errorf("%w: %w", keyserver.ErrRefused, err)
	}
	info, err := root.Describe(u.dir)
	if err != nil {
		share.Wipe()
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.shares[who.Index] != nil {
		share.Wipe()
		return nil, fmt.Errorf("%w: share %d was brought already; bring another custodian's", keyserver.ErrRefused, who.Index)
	}
	u.shares[who.Index] = share
	if len(u.shares) < info.Threshold {
		return nil, nil
	}
	all := make([]*secret.Bytes, 0, len(u.shares))
	for _, have := range u.shares {
		all = append(all, have.Clone())
	}
	return all, nil
}

func wipeAll(secrets []*secret.Bytes) {
	for _, s := range secrets {
		s.Wipe()
	}
}
