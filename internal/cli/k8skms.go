// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"claviger/internal/clock"
	"claviger/internal/gateway/k8skms"
	"claviger/internal/gateway/leased"
)

func newK8sKMSCommand(e *env) *cobra.Command {
	var f socketFlags
	var key string
	cmd := &cobra.Command{
		Use:   "k8s-kms --key NAME --socket PATH",
		Short: "Wrap the keys of a Kubernetes API server",
		Long: "Serve Kubernetes' KMS protocol (version 2) on a socket, under a client's profile. The\n" +
			"key is leased to this process: API servers can write and read while no key server\n" +
			"can be reached, as long as the key's lease and staleness bound allow. Its /healthz\n" +
			"then says why not. docs/endpoints/k8s.md tells how to set it up.\n\n" +
			"With --check it does what an API server does with the plugin that listens there.",
		Example: "  claviger k8s-kms --profile apiserver --key k8s/prod --socket /run/claviger/kms.sock\n" +
			"  claviger k8s-kms --check --socket /run/claviger/kms.sock",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.check {
				return e.probe(cmd.Context(), f, func(ctx context.Context) []leased.Check { return k8skms.Probe(ctx, clock.System(), f.socket) })
			}
			return e.k8sKMS(cmd.Context(), key, f)
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "name of the key that wraps")
	f.add(cmd.Flags())
	return cmd
}

// socketResult is shown once a socket is open.
type socketResult struct {
	Socket string   `json:"socket"`
	Client string   `json:"client"`
	Keys   []string `json:"keys"`
}

func (r socketResult) human(p *printer) {
	what := strings.Join(r.Keys, ", ")
	if what == "" {
		what = "all keys that policy permits"
	}
	p.line("Serving %s on %s as %s", what, r.Socket, r.Client)
}

func (e *env) k8sKMS(ctx context.Context, key string, f socketFlags) error {
	if key == "" {
		return usagef("--key is missing").withHint("claviger key create k8s/prod --allow CLIENT makes one")
	}
	if err := checkKeyNames(key); err != nil {
		return err
	}
	return e.serveSocket(ctx, f, []string{key}, func(c leased.Keys) leased.Service {
		plugin := k8skms.New(k8skms.Options{Keys: c, Key: key, Log: e.logger()})
		return leased.Service{Methods: plugin.Methods(), MaxMessage: k8skms.MaxMessage, Keep: plugin.Keep}
	})
}
