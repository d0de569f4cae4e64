// SPDX-License-Identifier: Apache-2.0

package keep

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"claviger/internal/wire"
)

// MaxReceipts is how many grants a profile keeps.
const MaxReceipts = 10000

// pruneEvery is after how many new receipts the directory is counted.
const pruneEvery = 500

// Receipts keeps signed grants, so that the audit log can be held against what
// was really released. A receipt that can't be written stops nobody: it serves
// the client, and the server has its own record.
type Receipts struct {
	dir string

	mu    sync.Mutex
	fresh int // written since the directory was counted
}

// NewReceipts returns the receipts of a profile.
func NewReceipts(profile string) *Receipts {
	return &Receipts{dir: filepath.Join(profile, DirReceipts)}
}

// Save writes one grant under a name that sorts by time.
func (r *Receipts) Save(grant []byte) {
	g, err := wire.PeekGrant(grant)
	if err != nil {
		return
	}
	name := fmt.Sprintf("%013d-%s.cbor", g.Issued, wire.Sum("receipt", grant).String()[:16])
	if os.MkdirAll(r.dir, 0o700) != nil || os.WriteFile(filepath.Join(r.dir, name), grant, 0o600) != nil {
		return
	}
	r.mu.Lock()
	r.fresh++
	due := r.fresh >= pruneEvery
	r.mu.Unlock()
	if due {
		_ = r.Prune() // only room is at stake; Close reports it
	}
}

// Prune removes the oldest receipts beyond MaxReceipts.
func (r *Receipts) Prune() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fresh == 0 {
		return nil
	}
	entries, err := os.ReadDir(r.dir) // sorted by name, so by time
	if err != nil {
		return fmt.Errorf("count receipts: %w", err)
	}
	for i := range max(0, len(entries)-MaxReceipts) {
		err := os.Remove(filepath.Join(r.dir, entries[i].Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove old receipt: %w", err)
		}
	}
	r.fresh = 0
	return nil
}
