// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"claviger/internal/authority"
	"claviger/internal/hierarchy"
	"claviger/internal/root"
	"claviger/internal/wire"
)

// backup streams a backup. The authority log lists it before its first byte
// leaves, so that a destruction's receipt can name it.
func (c *Core) backup(ctx context.Context, w io.Writer) error {
	custody, err := root.Export(filepath.Join(c.o.Dir, dirRoot))
	if err != nil {
		return err
	}
	var strict bool
	c.log.View(func(s *authority.State) { strict = s.Members.Genesis.Strict })
	_, err = c.keys.Backup(ctx, w, hierarchy.BackupInput{
		Custody: custody, Strict: strict,
		Records: c.store.Read(ctx, 1, false), Slots: c.store.List(ctx, ""),
		Announce: func(info hierarchy.BackupInfo) error {
			return c.append(ctx, authority.KindBackup, authority.Backup{
				ID: wire.BodyID(info.ID), Server: c.id, ErasureEpoch: info.Epoch.Number, HoldsEEK: info.CarriesEEK,
			})
		},
	})
	if err != nil {
		return fmt.Errorf("make backup: %w", err)
	}
	return nil
}
