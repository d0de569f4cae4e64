// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"os"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"claviger/client"
	"claviger/internal/wire"
)

// maxInviteText bounds what is read as an invite.
const maxInviteText = 8 << 10

func newClientEnrollCommand(e *env) *cobra.Command {
	var o client.EnrollOptions
	cmd := &cobra.Command{
		Use:   "enroll INVITE",
		Short: "Redeem an invite and make a client's profile",
		Long: "Redeem an invite: a file that holds it, - for standard input, or the line itself.\n" +
			"An invite works once and expires within the hour. It says which trust domain to\n" +
			"believe, so take it only from whoever you trust to say that.\n\n" +
			"The profile gets the client's name, or the one that --profile gives.",
		Example: "  claviger client enroll app1.invite\n  claviger client invite app1 | ssh host claviger client enroll -",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := e.enroll(cmd.Context(), args[0], o)
			if err != nil {
				return err
			}
			if err := e.show(r); err != nil {
				return err
			}
			e.next("claviger encrypt --key NAME -o OUT IN (claviger key list shows the names)")
			return nil
		},
	}
	cmd.Flags().StringVar(&o.CertFile, "cert", "", "PEM file with a certificate chain of your own CA, for an invite without a seed")
	cmd.Flags().StringVar(&o.KeyFile, "key", "", "PEM file with the key of --cert")
	cmd.Flags().StringArrayVar(&o.Addresses, "address", nil, "host:port of a server, in place of those in the invite")
	cmd.Flags().BoolVar(&o.Pad, "pad", false, "pad what is sent, now and later, so that a relay sees few sizes")
	return cmd
}

// enrollResult says who the client is now.
type enrollResult struct {
	Client    string   `json:"client"`
	Domain    string   `json:"domain"`
	Profile   string   `json:"profile"`
	Addresses []string `json:"addresses"`
}

func (r enrollResult) human(p *printer) {
	p.line("Enrolled as %s", r.Client)
	p.pairs("domain id", r.Domain, "profile", r.Profile, "servers", strings.Join(r.Addresses, " "))
}

func (e *env) enroll(ctx context.Context, from string, o client.EnrollOptions) (r enrollResult, err error) {
	invite, err := e.readInvite(from)
	if err != nil {
		return r, err
	}
	parsed, err := wire.ParseInvite(invite)
	if err != nil {
		return r, err
	}
	dir, err := e.newProfileDir(path.Base(parsed.Client))
	if err != nil {
		return r, err
	}
	o.Log = e.warnings()
	p, err := client.Enroll(ctx, dir, invite, o)
	if err != nil {
		return r, err
	}
	return enrollResult{Client: p.Client, Domain: p.Domain, Profile: dir, Addresses: p.Addresses}, nil
}

// readInvite reads an invite from where the argument says.
func (e *env) readInvite(from string) (string, error) {
	if strings.HasPrefix(from, "clv1_") {
		e.warn("an invite on the command line can be read by everyone on this machine; a file, or -, can't")
		return from, nil
	}
	if from == "-" {
		b, err := readBounded(e.In)
		if err != nil {
			return "", err
		}
		defer b.Wipe()
		return string(b.Expose()), nil
	}
	text, err := readBoundedFile(from, maxInviteText)
	if os.IsNotExist(err) {
		return "", usagef("%q is neither an invite nor a file", from).withHint("an admin makes one: claviger client invite NAME -o FILE")
	}
	return string(text), err
}
