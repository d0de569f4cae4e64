// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"claviger/internal/cli/doors"
)

// initFlags is what `claviger init` is told.
type initFlags struct {
	dir, name, as   string
	quorum          string
	admins          []string
	recovery        recoveryFlags
	root            string
	custodians      []string
	threshold       int
	keyFile         string
	ca              string
	crl             bool
	strict          bool
	listen, metrics string
	doors           string
	addresses       []string
	rootPassphrase  secretSource
	passphrase      secretSource
}

func newInitCommand(e *env) *cobra.Command {
	f := initFlags{
		rootPassphrase: secretSource{Prompt: "New passphrase of the root secret"},
		passphrase:     secretSource{Prompt: "New passphrase of your authority key"},
	}
	cmd := &cobra.Command{
		Use:   "init --dir DIR",
		Short: "Found a trust domain: its root secret, its log, its first admin",
		Long: "Found a trust domain in an empty directory, and make the profile of its first\n" +
			"admin, who is you. The root secret is sealed under a passphrase, or in shares to\n" +
			"custodians who each have an age key, or under a key file for unattended starts.\n\n" +
			"Init ends with a drill: a fresh process recovers the root secret from what is on\n" +
			"disk. If it can't, nothing is left.\n\n" +
			"A recovery quorum can replace the admins when their keys are lost, after a waiting\n" +
			"time in which those who are still there can object, and can do nothing else.",
		Example: "  claviger init --dir /var/lib/claviger --name example.org\n" +
			"  claviger init --dir D --name example.org --quorum 2of3 --admin bob=clvpub1_… --admin eve=clvpub1_… --recovery rex=clvpub1_…\n" +
			"  claviger init --dir D --name example.org --root shares --custodian age1… --custodian age1… --custodian age1…",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := e.found(cmd.Context(), f)
			if err != nil {
				return err
			}
			if err := e.show(r); err != nil {
				return err
			}
			e.afterInit(f, r)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.dir, "dir", "", "data directory of the server: empty, or not there yet")
	bindEnv(flags, "dir", "CLAVIGER_DIR")
	flags.StringVar(&f.name, "name", "claviger.internal", "name of the domain, such as example.org; workloads are named under it")
	flags.StringVar(&f.as, "as", "", "your name as an admin (default: your login name)")
	flags.StringVar(&f.quorum, "quorum", "", "how many of the admins make a quorum, such as 2of3 (default: 1of1)")
	flags.StringArrayVar(&f.admins, "admin", nil, "a further admin, as claviger admin keygen prints it: NAME=PUBKEY")
	addRecoveryFlags(flags, &f.recovery, "recovery", "recovery-")
	flags.StringVar(&f.root, "root", "passphrase", "what seals the root secret: passphrase, shares or keyfile")
	flags.StringArrayVar(&f.custodians, "custodian", nil, "age recipient (age1…) of somebody who holds a share of the root")
	flags.IntVar(&f.threshold, "threshold", 0, "how many shares open the root (default: more than half)")
	flags.StringVar(&f.keyFile, "key-file", "", "with --root keyfile: a file of 32 or more random bytes")
	flags.StringVar(&f.ca, "ca", "embedded", "who issues certificates: embedded, or a PEM file with the roots of your own CA")
	flags.BoolVar(&f.crl, "crl", false, "with --ca FILE: accept its certificates only with fresh revocation lists, from DIR/pki/outside.crl")
	flags.BoolVar(&f.strict, "strict", false, "backups carry no erasure key: what is destroyed is gone at once, and all is gone if every server is lost")
	flags.StringVar(&f.listen, "listen", defaultListen, "address of the server's API")
	flags.StringVar(&f.metrics, "metrics", defaultMetrics, "loopback address of the server's metrics")
	flags.StringVar(&f.doors, "doors", "", "address of the port for foreign services, such as "+doors.DefaultListen+" (default: none)")
	flags.StringArrayVar(&f.addresses, "address", nil, "where admins and clients reach the server (default: that of --listen)")
	secretFlags(flags, &f.rootPassphrase, "root-passphrase", "the root's new passphrase")
	secretFlags(flags, &f.passphrase, "passphrase", "the new passphrase of your authority key")
	return cmd
}

// initResult says what init founded.
type initResult struct {
	Domain      string   `json:"domain"`
	Name        string   `json:"name"`
	Dir         string   `json:"dir"`
	Profile     string   `json:"profile"`
	Admins      []string `json:"admins"`
	Quorum      uint64   `json:"quorum"`
	Root        string   `json:"root"`
	Fingerprint string   `json:"root_fingerprint"`
	Drilled     bool     `json:"drilled"`
	Strict      bool     `json:"strict"`
	Recovery    bool     `json:"recovery_quorum"`
	recoveryInfo
}

func (r initResult) human(p *printer) {
	p.line("Founded the trust domain %s", r.Name)
	p.pairs(
		"domain id", r.Domain,
		"server", r.Dir,
		"profile", r.Profile,
		"admins", strings.Join(r.Admins, ", "),
		"quorum", fmt.Sprintf("%d of %d", r.Quorum, len(r.Admins)),
		"recovery", r.words(),
		"root", fmt.Sprintf("sealed under %s; recovered in a drill, fingerprint %.16s", r.Root, r.Fingerprint),
	)
}

// frozen says when a domain without a recovery quorum can't be changed any more.
func (r initResult) frozen() string {
	if len(r.Admins) == 1 {
		return "once the only authority key is lost"
	}
	return fmt.Sprintf("once fewer than %d of the %d authority keys are left", r.Quorum, len(r.Admins))
}

// afterInit says what people have to know and do now.
func (e *env) afterInit(f initFlags, r initResult) {
	if !r.Recovery {
		e.warn("there is no recovery quorum: %s, nothing can ever be changed again (claviger admin recovery --help)", r.frozen())
	} else {
		e.warnShortRecovery(r.recoveryInfo)
	}
	for i := range f.custodians {
		e.next("have custodian %d test the share: claviger root share --dir %s %d | age -d -i IDENTITY | claviger root check --dir %s --share -",
			i+1, word(f.dir), i+1, word(f.dir))
	}
	e.next("claviger server --dir %s", word(f.dir))
}
