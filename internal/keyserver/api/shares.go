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
	shares map[int]*secret.Bytes       // brought so far, by index
	file   func() (root.Unlock, error) // reads what the configuration names; nil if it names nothing
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

// unlock is what a request opens the root with; nil without an error means that
// more shares are needed.
func (u *unsealer) unlock(in UnsealRequest) (*root.Unlock, error) {
	switch {
	case in.KeyFile:
		return u.read()
	case len(in.Share) == 0:
		return &root.Unlock{Passphrase: secret.Take(in.Passphrase)}, nil
	}
	shares, err := u.gather(in.Share)
	if err != nil || shares == nil {
		return nil, err
	}
	return &root.Unlock{Shares: shares}, nil
}

// read reads what the configuration names.
func (u *unsealer) read() (*root.Unlock, error) {
	u.mu.Lock()
	file := u.file
	u.mu.Unlock()
	if file == nil {
		return nil, fmt.Errorf("%w: the configuration names no file that opens the root", keyserver.ErrRefused)
	}
	with, err := file()
	if err != nil {
		wipeUnlock(&with)
		return nil, err
	}
	return &with, nil
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

func wipeUnlock(u *root.Unlock) {
	for _, b := range append(u.Shares, u.Key, u.Passphrase) {
		if b != nil {
			b.Wipe()
		}
	}
}
