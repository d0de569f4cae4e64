// SPDX-License-Identifier: Apache-2.0

package executor

import (
	"context"
	"fmt"
	"io"

	"claviger/internal/authority"
	"claviger/internal/hierarchy"
	"claviger/internal/root"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// Backup streams a backup of the store and of the custody file in a directory.
// The authority log lists it before its first byte leaves, so that a
// destruction's receipt can name it.
func (e *Executor) Backup(ctx context.Context, from store.Store, rootDir string, w io.Writer) error {
	custody, err := root.Export(rootDir)
	if err != nil {
		return err
	}
	var strict bool
	e.o.Ledger.View(func(s *authority.State) { strict = s.Members.Genesis.Strict })
	_, err = e.o.Keys.Backup(ctx, w, hierarchy.BackupInput{
		Custody: custody, Strict: strict,
		Records: from.Read(ctx, 1, false), Slots: from.List(ctx, ""),
		Announce: func(info hierarchy.BackupInfo) error {
			return e.o.Ledger.Append(ctx, authority.KindBackup, authority.Backup{
				ID: wire.BodyID(info.ID), Server: e.o.Server, ErasureEpoch: info.Epoch.Number, HoldsEEK: info.CarriesEEK,
			})
		},
	})
	if err != nil {
		return fmt.Errorf("make backup: %w", err)
	}
	return nil
}
