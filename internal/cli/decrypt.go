// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"claviger/client"
	"claviger/internal/wire"
)

func newDecryptCommand(e *env) *cobra.Command {
	var f cipherFlags
	var keys []string
	var compromised bool
	cmd := &cobra.Command{
		Use:   "decrypt [--key NAME]… [IN]",
		Short: "Decrypt a file or a stream",
		Long: "Decrypt a file, or standard input, on this machine. Name the keys that you expect:\n" +
			"whoever stores a ciphertext could have put another in its place. Without --key the\n" +
			"profile's list counts, and without a list every key that you may use; then\n" +
			"standard error says which it was.\n\n" +
			"Of a ciphertext that was changed no file is written. On a pipe, only exit status 0\n" +
			"says that what came out is the whole.",
		Example: "  claviger decrypt --key payments/cards -o cards.csv cards.clv\n" +
			"  claviger decrypt --key backups/home --context home/2026-11 < home.tar.clv | tar x",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.named = cmd.Flags().Changed("partition")
			r, err := e.decrypt(cmd.Context(), args, keys, f, compromised)
			if err != nil {
				return err
			}
			return e.showCipher(r)
		},
	}
	cmd.Flags().StringArrayVar(&keys, "key", nil, "name of a key that may open it; can be given again")
	cmd.Flags().BoolVar(&compromised, "allow-compromised", false, "open it even if the key version is compromised")
	f.add(cmd)
	f.addOut(cmd)
	return cmd
}

func (e *env) decrypt(ctx context.Context, args, keys []string, f cipherFlags, compromised bool) (r cipherResult, err error) {
	if len(args) == 0 && e.InTTY {
		return r, usagef("there is nothing to decrypt: standard input is a terminal").withHint("name a file, or pipe a ciphertext in")
	}
	if err := checkKeyNames(keys...); err != nil {
		return r, err
	}
	in, err := e.openInput(args)
	if err != nil {
		return r, err
	}
	defer in.Close()
	out, err := e.create(f.output(in, false))
	if err != nil {
		return r, err
	}
	defer out.Abort()
	c, p, err := e.dial(ctx, f.reason)
	if err != nil {
		return r, err
	}
	defer c.Close()
	o := f.expect(keys, p)
	o.AllowCompromised, o.Workers = compromised, bulkWorkers()
	var opened client.Opened
	if out.Places() && in.file != nil {
		r.Bytes, opened, err = c.DecryptFile(ctx, out, in.section(), o)
	} else {
		counted := &countedWriter{w: out}
		opened, err = c.DecryptStream(ctx, counted, in.stream(), o)
		r.Bytes = counted.n
	}
	if err != nil {
		return r, err
	}
	if o.AnyKey || opened.State == "compromised" {
		e.opened(opened)
	}
	r.Output, r.Key, r.ID, r.Version = f.out, opened.Key, opened.ID, opened.Version
	return r, out.Commit()
}

// checkKeyNames refuses what no key can be called.
func checkKeyNames(names ...string) error {
	for _, name := range names {
		if !wire.ValidKeyName(name) {
			return usagef("%q is no name of a key", name).withHint("a name has parts of a-z 0-9 . _ - with single slashes between, such as payments/cards")
		}
	}
	return nil
}

// expect says which keys may open: those that were named, else the profile's
// list, else any.
func (f *cipherFlags) expect(keys []string, p *client.Profile) client.DecryptOptions {
	o := client.DecryptOptions{Keys: keys, Partition: f.partitionBytes(), Context: f.contextBytes()}
	if len(o.Keys) == 0 {
		for _, k := range p.Keys {
			o.Keys = append(o.Keys, k.Name)
		}
	}
	o.AnyKey = len(o.Keys) == 0
	return o
}
