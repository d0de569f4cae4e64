// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"claviger/internal/clock"
	"claviger/internal/gateway/leased"
	"claviger/internal/gateway/sopskms"
)

func newSopsKeyserviceCommand(e *env) *cobra.Command {
	var f socketFlags
	var keys []string
	cmd := &cobra.Command{
		Use:   "sops-keyservice --socket PATH",
		Short: "Wrap the data keys of sops' files",
		Long: "Serve sops' key service protocol on a socket, under a client's profile. sops needs\n" +
			"no credential: who may open the socket may use the keys. In a .sops.yaml the key\n" +
			"payments/sops is written, as hc_vault_transit_uri,\n\n" +
			"  claviger://local/v1/payments/keys/sops\n\n" +
			"and sops is told where to ask: --keyservice unix://PATH. docs/endpoints/sops.md\n" +
			"tells how to set it up.\n\n" +
			"With --check it does with one --key what sops does.",
		Example: "  claviger sops-keyservice --profile ops --key payments/ --socket /run/user/1000/claviger-sops.sock\n" +
			"  claviger sops-keyservice --check --key payments/sops --socket /run/user/1000/claviger-sops.sock",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.check {
				return e.checkSops(cmd.Context(), keys, f)
			}
			return e.sopsKeyservice(cmd.Context(), keys, f)
		},
	}
	cmd.Flags().StringArrayVar(&keys, "key", nil, "key, or folder with a slash at its end, that files may name; can be given again (default: all that policy permits)")
	f.add(cmd.Flags())
	return cmd
}

func (e *env) sopsKeyservice(ctx context.Context, keys []string, f socketFlags) error {
	for _, k := range keys {
		if err := checkKeyNames(strings.TrimSuffix(k, "/")); err != nil {
			return err
		}
	}
	return e.serveSocket(ctx, f, append([]string{}, keys...), func(c leased.Keys) leased.Service {
		service := sopskms.New(sopskms.Options{Keys: c, Only: keys, Log: e.logger()})
		return leased.Service{Methods: service.Methods(), MaxMessage: sopskms.MaxMessage}
	})
}

func (e *env) checkSops(ctx context.Context, keys []string, f socketFlags) error {
	if len(keys) != 1 {
		return usagef("--check wants one --key")
	}
	if err := checkKeyNames(keys...); err != nil {
		return err
	}
	return e.probe(ctx, f, func(ctx context.Context) []leased.Check { return sopskms.Probe(ctx, clock.System(), f.socket, keys[0]) })
}
