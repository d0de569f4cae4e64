// SPDX-License-Identifier: Apache-2.0

// Package install founds a trust domain on disk: the root secret's custody, the
// server's keys and log, and a drill that shows that the root can be recovered.
//
// [Make] is all there is. It works in a directory that is empty or not there,
// and leaves it so when anything fails: a data directory is whole, or it has no
// configuration and no server starts on it. The configuration is written last.
//
// # What it does not do
//
// It makes no authority key (that is an admin's, package admin) and asks nobody
// for anything. It does not decide how the drill runs: a caller that can starts
// a fresh process, which knows only what lies on the disk and what a person
// will have.
//
// # Threats
//
// A root that nobody can open again is worth less than none, since data will be
// encrypted under it. So Make refuses to finish unless the drill recovered the
// very secret that was sealed, by its fingerprint.
package install

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"claviger/internal/clock"
	"claviger/internal/keyserver/datadir"
	"claviger/internal/members"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// rootDir is where the custody file lies in a data directory.
const rootDir = "root"

// ErrNotEmpty means that the directory holds something already.
var ErrNotEmpty = errors.New("the directory is not empty")

// ErrDrill means that the root could not be recovered from what is on disk, or
// that another secret was.
var ErrDrill = errors.New("restore drill failed: the root secret was not recovered from what is on disk")

// Plan of an installation. Strict, ServerName, Recovery and Anchors may be left
// out.
type Plan struct {
	Dir        string // data directory: empty, or not there
	ConfigFile string // name of the configuration in it
	// Config renders the configuration of the domain that was founded.
	Config func(wire.DomainID) []byte

	Name       string // of the domain; SPIFFE trust domain of the embedded CA
	ServerName string
	Demo       bool
	Strict     bool // backups carry no erasure-epoch key
	Sealing    root.Sealing
	Keys       members.Keys
	Recovery   members.Recovery
	Anchors    []members.Anchor // none: the embedded CA
	Admin      crypto.Signer    // signs the genesis
	Clock      clock.Clock

	// Drill recovers the root in a directory with what opens it, and returns the
	// fingerprint of what it recovered.
	Drill func(ctx context.Context, dir string, with root.Unlock) ([root.Size]byte, error)
}

// Made is a founded domain.
type Made struct {
	*datadir.Founded
	Fingerprint [root.Size]byte // of the root secret
}

// Make founds a domain as planned. ErrNotEmpty, ErrDrill, or what the packages
// root and keyserver say; after an error the directory is as it was before.
func Make(ctx context.Context, p Plan) (*Made, error) {
	existed, err := prepare(p.Dir)
	if err != nil {
		return nil, err
	}
	made, err := p.fill(ctx)
	if err != nil {
		return nil, errors.Join(err, clear(p.Dir, existed))
	}
	return made, nil
}

// prepare makes the directory and says whether it was there, empty.
func prepare(dir string) (existed bool, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			return false, fmt.Errorf("make data directory: %w", err)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			return false, fmt.Errorf("make data directory: %w", err)
		}
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("make data directory: %w", err)
	}
	if len(entries) > 0 {
		return true, fmt.Errorf("%w: %s", ErrNotEmpty, dir)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return true, fmt.Errorf("make data directory: %w", err)
	}
	return true, nil
}

// clear undoes what fill began. The directory was empty, so all in it is ours.
func clear(dir string, existed bool) error {
	if !existed {
		return os.RemoveAll(dir)
	}
	entries, err := os.ReadDir(dir) // it may be a mount point: it stays
	for _, entry := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, entry.Name())))
	}
	return err
}

func (p Plan) fill(ctx context.Context) (*Made, error) {
	with := root.Unlock{Passphrase: p.Sealing.Passphrase, Key: p.Sealing.Key}
	defer func() {
		for _, share := range with.Shares {
			share.Wipe()
		}
	}()
	p.Sealing.Keep = func(share *secret.Bytes) { with.Shares = append(with.Shares, share) }
	dir := filepath.Join(p.Dir, rootDir)
	sealed, err := root.Create(dir, 1, p.Sealing)
	if err != nil {
		return nil, err
	}
	defer sealed.Wipe()
	founded, err := datadir.Init(ctx, datadir.InitOptions{
		Dir: p.Dir, Name: p.Name, Demo: p.Demo, Strict: p.Strict, Root: sealed, Keys: p.Keys, Recovery: p.Recovery,
		Anchors: p.Anchors, ServerName: p.ServerName, Admin: p.Admin, Clock: p.Clock,
	})
	if err != nil {
		return nil, fmt.Errorf("found domain: %w", err)
	}
	if err := p.drill(ctx, dir, with, sealed.Fingerprint()); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := writeNew(filepath.Join(p.Dir, p.ConfigFile), p.Config(founded.Domain)); err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	return &Made{Founded: founded, Fingerprint: sealed.Fingerprint()}, nil
}

// drill shows that the root opens with as little as will be there: of shares
// with no more than the threshold, the last ones.
func (p Plan) drill(ctx context.Context, dir string, with root.Unlock, want [root.Size]byte) error {
	if n := len(with.Shares); n > p.Sealing.Threshold {
		with.Shares = slices.Clone(with.Shares[n-p.Sealing.Threshold:])
	}
	got, err := p.Drill(ctx, dir, with)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDrill, err)
	}
	if got != want {
		return ErrDrill
	}
	return nil
}

// writeNew makes a file of mode 0600 and syncs it and its directory.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
