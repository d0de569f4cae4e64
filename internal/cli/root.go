// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"claviger/internal/root"
	"claviger/internal/wire"
)

func newRootCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{Use: "root", Short: "Look after the root secret's custody"}
	cmd.AddCommand(newRootCheckCommand(e), newRootShareCommand(e), newRootDrillCommand(e))
	return cmd
}

// rootCheckResult says how the root is sealed, and what was proved.
type rootCheckResult struct {
	Kind        string `json:"kind"`
	Generation  uint64 `json:"generation"`
	Fingerprint string `json:"fingerprint"`
	Need        int    `json:"need,omitempty"` // shares
	Of          int    `json:"of,omitempty"`
	Share       int    `json:"share,omitempty"` // the one that was checked
	Custodian   string `json:"custodian,omitempty"`
	Opened      bool   `json:"opened"`
}

func (r rootCheckResult) human(p *printer) {
	kind := r.Kind
	if r.Of > 0 {
		kind = fmt.Sprintf("%d of %d shares", r.Need, r.Of)
	}
	p.pairs("sealed under", kind, "generation", strconv.FormatUint(r.Generation, 10), "fingerprint", r.Fingerprint)
	switch {
	case r.Opened:
		p.line("The root secret opens, and it is the one with this fingerprint.")
	case r.Share > 0:
		p.line("Share %d is whole and belongs to this root (custodian %s).", r.Share, r.Custodian)
	default:
		p.line("Nothing was opened: give the passphrase, the key file or a share to test it.")
	}
}

func newRootCheckCommand(e *env) *cobra.Command {
	var dir, share, keyFile string
	pass := secretSource{Prompt: "Passphrase of the root secret"}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Test that a passphrase, key file or share still opens the root",
		Long: "Test that a passphrase or key file opens the root secret in a data directory, or\n" +
			"that a decrypted share is whole and belongs to it. Nothing is changed, and the\n" +
			"server need not run.",
		Example: "  claviger root check --dir D\n  age -d -i identity share.age | claviger root check --dir D --share -",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needDir(dir); err != nil {
				return err
			}
			at := filepath.Join(dir, rootDirName)
			r, err := describeRoot(at)
			if err != nil {
				return err
			}
			if share != "" {
				r, err = e.checkShare(r, at, share)
			} else if r.Of == 0 {
				r, err = e.checkRoot(cmd.Context(), r, at, keyFile, pass)
			}
			if err != nil {
				return err
			}
			return e.show(r)
		},
	}
	dirFlag(cmd, &dir)
	cmd.Flags().StringVar(&share, "share", "", "file that holds a decrypted share; - reads standard input")
	cmd.Flags().StringVar(&keyFile, "key-file", "", "the key file")
	secretFlags(cmd.Flags(), &pass, "passphrase", "the root's passphrase")
	return cmd
}

// dirFlag adds --dir, the data directory of a server on this machine.
func dirFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "dir", "", "data directory of the server")
	bindEnv(cmd.Flags(), "dir", "CLAVIGER_DIR")
}

func needDir(dir string) error {
	if dir == "" {
		return usagef("--dir is missing").withHint("it names the server's data directory; CLAVIGER_DIR does so too")
	}
	return nil
}

func describeRoot(at string) (rootCheckResult, error) {
	info, err := root.Describe(at)
	if err != nil {
		return rootCheckResult{}, err
	}
	return rootCheckResult{
		Kind: string(info.Kind), Generation: info.Generation, Fingerprint: wire.Hash(info.Fingerprint).String(),
		Need: info.Threshold, Of: len(info.Custodians),
	}, nil
}

func (e *env) checkRoot(ctx context.Context, r rootCheckResult, at, keyFile string, pass secretSource) (rootCheckResult, error) {
	var with root.Unlock
	var err error
	if r.Kind == string(root.KindKeyFile) {
		if keyFile == "" {
			return r, usagef("the root is sealed under a key file").withHint("name it with --key-file")
		}
		if with.Key, err = root.ReadKey(keyFile); err != nil {
			return r, err
		}
		defer with.Key.Wipe()
	} else {
		if with.Passphrase, err = e.readSecret(ctx, pass); err != nil {
			return r, err
		}
		defer with.Passphrase.Wipe()
	}
	_, err = root.Drill(at, with)
	r.Opened = err == nil
	return r, err
}

func (e *env) checkShare(r rootCheckResult, at, path string) (rootCheckResult, error) {
	share, err := e.readShare(path)
	if err != nil {
		return r, err
	}
	defer share.Wipe()
	who, err := root.CheckShare(at, share)
	if err != nil {
		return r, err
	}
	r.Share, r.Custodian = who.Index, who.Recipient
	return r, nil
}

func newRootShareCommand(e *env) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "share INDEX",
		Short:   "Print a custodian's share, sealed as an age file",
		Example: "  claviger root share --dir D 1 | age -d -i identity",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := needDir(dir); err != nil {
				return err
			}
			index, err := strconv.Atoi(args[0])
			if err != nil {
				return usagef("%q is no number of a share", args[0])
			}
			sealed, err := root.SealedShare(filepath.Join(dir, rootDirName), index)
			if err != nil {
				return err
			}
			_, err = e.Out.Write(sealed)
			return wrapWrite(err)
		},
	}
	dirFlag(cmd, &dir)
	return cmd
}
