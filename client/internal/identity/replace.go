// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"claviger/client/internal/keep"
	"claviger/internal/secret"
)

// Names of a profile's own certificate and key in its directory. A renewal writes them
// under the other two names first, then renames the key, then the certificate. Finish
// ends what a crash left half done.
const (
	FileCert = "cert.pem"
	FileKey  = "key.pem"

	FileNextKey  = "next-key.pem"
	FileNextCert = "next-cert.pem"
)

// Replace puts a new key and its chain, DER, in place of those in a profile's
// directory.
func Replace(dir string, key *ecdsa.PrivateKey, chain [][]byte) error {
	keyPEM, err := FormatKey(key)
	if err != nil {
		return err
	}
	defer secret.Wipe(keyPEM)
	return keep.Locked(dir, func() error {
		if err := keep.WriteFile(filepath.Join(dir, FileNextCert), FormatChain(chain)); err != nil {
			return err
		}
		if err := keep.WriteFile(filepath.Join(dir, FileNextKey), keyPEM); err != nil {
			return err
		}
		return install(dir)
	})
}

// install puts the next key and certificate in place.
func install(dir string) error {
	err := os.Rename(filepath.Join(dir, FileNextKey), filepath.Join(dir, FileKey))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(filepath.Join(dir, FileNextCert), filepath.Join(dir, FileCert)); err != nil {
		return err
	}
	return keep.SyncDir(dir)
}

// Finish completes a replacement for a client that a crash cut short. Without the next
// key, which is written last and moved first, either nothing happened yet or only the
// certificate is left to move: its key says which.
func Finish(dir, client string) error {
	if _, err := os.Stat(filepath.Join(dir, FileNextCert)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return keep.Locked(dir, func() error {
		next := filepath.Join(dir, FileNextCert)
		for _, key := range []string{FileNextKey, FileKey} {
			if _, err := Load(next, filepath.Join(dir, key), client); err == nil {
				return install(dir)
			}
		}
		if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("finish renewal: %w", err)
		}
		return nil
	})
}
