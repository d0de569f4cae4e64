// SPDX-License-Identifier: Apache-2.0

package endpointcmd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"syscall"

	"github.com/spf13/cobra"

	"claviger/internal/cli/endpointcmd/endpoint"
	"claviger/internal/clock"
	"claviger/internal/gateway"
)

// testFlags are those of `endpoint test`.
type testFlags struct {
	connect                                        Connect
	origin, at, ca, key, credential, cert, certKey string
}

func (h Host) test() *cobra.Command {
	var f testFlags
	cmd := &cobra.Command{
		Use:   "test KIND NAME",
		Short: "Act as the foreign service would, and say how each step went",
		Long: "Act as the foreign service would, against the running door, and print each check with\n" +
			"its latency. It needs what that service has: a credential (--credential, a file that\n" +
			"--credential-out wrote) or a client certificate, and the name of a key to try. What it\n" +
			"asks for is decided by policy, audited and limited like everything else. The exit\n" +
			"status is 1 if a check failed.",
		Example: "  claviger endpoint test xks aws --credential aws.json --key orders --ca doors-ca.pem",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.runTest(cmd.Context(), f, args[0], args[1])
		},
	}
	flags := cmd.Flags()
	f.connect = h.Access(flags)
	h.originFlag(flags, &f.origin)
	flags.StringVar(&f.at, "address", "", "HOST:PORT to connect to, whatever --public says")
	flags.StringVar(&f.ca, "ca", "", "PEM file of the roots to trust (default: those of this machine)")
	flags.StringVar(&f.key, "key", "", "key to try, by the name that the foreign service uses")
	flags.StringVar(&f.credential, "credential", "", "file with a live credential")
	flags.StringVar(&f.cert, "cert", "", "PEM file of a client certificate")
	flags.StringVar(&f.certKey, "cert-key", "", "PEM file of its key")
	return cmd
}

type testResult struct {
	Endpoint string          `json:"endpoint"`
	Base     string          `json:"base"`
	Passed   bool            `json:"passed"`
	Checks   []endpoint.Step `json:"checks"`
}

func (r testResult) Print(p Printer) {
	rows := make([][]string, len(r.Checks))
	for i, c := range r.Checks {
		state, note := "ok", c.Note
		if !c.OK {
			state, note = "FAILED", c.Error
		}
		rows[i] = []string{c.Name, state, fmt.Sprintf("%.1f ms", 1000*c.Latency), note}
	}
	p.Table([]string{"CHECK", "RESULT", "LATENCY", "NOTE"}, rows)
}

func (h Host) runTest(ctx context.Context, f testFlags, kindName, name string) error {
	kind, err := h.kind(kindName)
	if err != nil {
		return err
	}
	if kind.Probe == nil {
		return h.Usage("", "endpoints of kind %s can't be tested from here", kindName)
	}
	s, err := f.connect(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	v, err := Named(s.State(), name)
	if err != nil {
		return err
	}
	if v.Kind != kind.Name {
		return h.Usage("", "endpoint %s is of kind %s", name, v.Kind)
	}
	origin, err := h.origin(f.origin, s)
	if err != nil {
		return err
	}
	t := gateway.ProbeTarget{
		Site:    gateway.Site{Endpoint: v.Endpoint, Base: endpoint.Base(origin, &v.Endpoint), Clock: clock.System(), Logger: h.Logger()},
		Address: f.at, Key: f.key,
	}
	if err := h.arm(&t, f, origin); err != nil {
		return err
	}
	if t.Secret != nil {
		defer t.Secret.Material.Wipe()
	}
	r := testResult{Endpoint: name, Base: t.Site.Base, Checks: []endpoint.Step{}}
	checks := kind.Probe(ctx, t)
	r.Checks, r.Passed = endpoint.Steps(checks)
	if err := h.Show(r); err != nil {
		return err
	}
	if !r.Passed {
		return h.Failed(advice(checks), "endpoint %s does not work as %s needs it", name, kind.Name)
	}
	return nil
}

// advice is what to do about a door that was not reached.
func advice(checks []gateway.Check) string {
	for _, c := range checks {
		if _, ok := errors.AsType[x509.UnknownAuthorityError](c.Err); ok {
			return "without a public certificate the port's own CA is pki/doors-ca.pem in the server's directory: --ca doors-ca.pem"
		}
		if errors.Is(c.Err, syscall.ECONNREFUSED) {
			return "is listen set under [doors] in the server's claviger.toml? --public https://HOST:PORT says where the port is"
		}
	}
	return ""
}

// arm gives a probe what the foreign service would have.
func (h Host) arm(t *gateway.ProbeTarget, f testFlags, origin string) (err error) {
	if t.Address == "" {
		if t.Address, err = endpoint.Address(origin); err != nil {
			return err
		}
	}
	var roots []byte
	if f.ca != "" {
		if roots, err = h.ReadFile(f.ca, 1<<20); err != nil {
			return err
		}
	}
	if t.TLS, err = endpoint.Trust(roots); err != nil {
		return h.Usage("", "--ca: %v", err)
	}
	if (f.cert == "") != (f.certKey == "") {
		return h.Usage("", "--cert and --cert-key go together")
	}
	if f.cert != "" {
		c, err := tls.LoadX509KeyPair(f.cert, f.certKey)
		if err != nil {
			return fmt.Errorf("read the client certificate: %w", err)
		}
		t.Cert = &c
	}
	if f.credential == "" {
		return nil
	}
	file, err := h.ReadSecret(f.credential)
	if err != nil {
		return err
	}
	defer file.Wipe()
	t.Secret, err = endpoint.ReadFile(file.Expose(), &t.Site.Endpoint)
	return err
}
