// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"claviger/client"
)

func newEncryptCommand(e *env) *cobra.Command {
	var f cipherFlags
	var key string
	var hide bool
	cmd := &cobra.Command{
		Use:   "encrypt --key NAME [IN]",
		Short: "Encrypt a file or a stream",
		Long: "Encrypt a file, or standard input, on this machine. The server leases the key; it\n" +
			"sees neither the data nor the ciphertext. The output appears under its name when\n" +
			"it is whole.",
		Example: "  claviger encrypt --key payments/cards -o cards.clv cards.csv\n" +
			"  tar c dir | claviger encrypt --key backups/home --context home/2026-11 > home.tar.clv",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.named = cmd.Flags().Changed("partition")
			r, err := e.encrypt(cmd.Context(), args, key, f, hide)
			if err != nil {
				return err
			}
			return e.showCipher(r)
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "name of the key")
	cmd.Flags().BoolVar(&hide, "hide-partition", false, "leave the partition out of the ciphertext; whoever opens it has to name it")
	f.add(cmd)
	f.addOut(cmd)
	return cmd
}

func (e *env) encrypt(ctx context.Context, args []string, key string, f cipherFlags, hide bool) (r cipherResult, err error) {
	if key == "" {
		return r, usagef("--key is missing").withHint("claviger key list shows the keys that you may use")
	}
	if err := checkKeyNames(key); err != nil {
		return r, err
	}
	if hide && !f.named {
		return r, usagef("there is no partition to hide").withHint("name it with --partition")
	}
	in, err := e.openInput(args)
	if err != nil {
		return r, err
	}
	defer in.Close()
	out, err := e.create(f.output(in, true))
	if err != nil {
		return r, err
	}
	defer out.Abort()
	c, _, err := e.dial(ctx, f.reason)
	if err != nil {
		return r, err
	}
	defer c.Close()
	o := client.EncryptOptions{Partition: f.partitionBytes(), HidePartition: hide, Context: f.contextBytes(), Workers: bulkWorkers()}
	r = cipherResult{Output: f.out, Key: key}
	if out.Places() && in.file != nil {
		r.Bytes, err = c.EncryptFile(ctx, key, out, in.section(), o)
	} else {
		r.Bytes, err = c.EncryptStream(ctx, key, out, in.stream(), o)
	}
	if err != nil {
		return r, err
	}
	return r, out.Commit()
}
