// SPDX-License-Identifier: Apache-2.0

package endpointcmd

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"claviger/internal/admin"
	"claviger/internal/authority"
	"claviger/internal/authority/endpoints"
	"claviger/internal/cli/endpointcmd/endpoint"
	"claviger/internal/cli/outfile"
	"claviger/internal/gateway"
	"claviger/internal/secret"
)

// madeFlags are those of commands that make credentials.
type madeFlags struct {
	Change
	out, origin string
}

func (h Host) madeFlags(flags *pflag.FlagSet, f *madeFlags) {
	f.Change = h.Change(flags)
	flags.StringVar(&f.out, "credential-out", "", "file for the secrets that are made (default: standard output, once)")
	h.originFlag(flags, &f.origin)
}

func (h Host) originFlag(flags *pflag.FlagSet, origin *string) {
	flags.StringVar(origin, "public", "", "where the doors are met: https://HOST[:PORT] (default: port 8445 of the profile's server)")
	h.BindEnv(flags, "public", "CLAVIGER_DOORS")
}

// addFlags are those of `endpoint add`.
type addFlags struct {
	madeFlags
	edit     endpoint.Edit
	host     string
	rate     uint64
	caFiles  []string
	pinned   []string
	subjects []string
	use      string
	none     bool
}

func (h Host) add() *cobra.Command {
	var f addFlags
	cmd := &cobra.Command{
		Use:   "add KIND NAME",
		Short: "Make an endpoint, or propose a change of one",
		Long: "Make an endpoint of a kind (" + h.kinds() + ") and say what the other side has to be\n" +
			"told. A secret is shown once, or goes to --credential-out; the log holds its hash.\n" +
			"Under a name that is there already this is a change: what no flag names stays, a list\n" +
			"that one names is replaced (an empty value empties it), --subject adds a credential.",
		Example: "  claviger endpoint add xks aws --key aws/ --credential-out aws.json\n" +
			"  claviger endpoint add kes minio --host kes.example.com --key minio/",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := h.takeEdit(cmd.Flags(), &f); err != nil {
				return err
			}
			return h.run(cmd.Context(), f.madeFlags, func(s *admin.Session) (*gateway.Kind, authority.Endpoint, []endpoint.Who, error) {
				return h.record(s, &f, args[0], args[1])
			})
		},
	}
	flags := cmd.Flags()
	h.madeFlags(flags, &f.madeFlags)
	flags.StringVar(&f.host, "host", "", "DNS name under which it answers at the root")
	flags.StringArrayVar(&f.edit.Issuers, "issuer", nil, "issuer of tokens, `URL[,audience=A][,jwks=URL][,use=U]`; can be given again")
	flags.StringArrayVar(&f.caFiles, "client-ca", nil, "PEM `file` of roots that client certificates come from; can be given again")
	flags.StringArrayVar(&f.edit.CANames, "client-name", nil, "name that a client certificate must have; can be given again")
	flags.StringArrayVar(&f.pinned, "certificate", nil, "certificate of the other side, `USE=FILE` (PEM); can be given again")
	flags.StringArrayVar(&f.edit.Keys, "key", nil, "key, or folder ending in /, that it may touch; can be given again")
	flags.Uint64Var(&f.rate, "rate", 0, "requests a second (0: the kind's default)")
	flags.StringArrayVar(&f.edit.Options, "set", nil, "setting of the kind, `NAME=VALUE`; can be given again")
	flags.StringArrayVar(&f.subjects, "subject", nil, "whom a credential that is made names; can be given again")
	flags.StringVar(&f.use, "credential-use", "", "what a credential that is made is for, if the kind has several uses")
	flags.BoolVar(&f.none, "no-credential", false, "make no credential")
	return cmd
}

// takeEdit finds out what of a record the command line names.
func (h Host) takeEdit(flags *pflag.FlagSet, f *addFlags) error {
	if flags.Changed("host") {
		f.edit.Host = &f.host
	}
	if flags.Changed("rate") {
		f.edit.Rate = &f.rate
	}
	f.edit.SetIssuers, f.edit.SetCAs = flags.Changed("issuer"), flags.Changed("client-ca")
	f.edit.SetCANames, f.edit.SetKeys = flags.Changed("client-name"), flags.Changed("key")
	for _, path := range f.caFiles {
		if path == "" {
			continue
		}
		file, err := h.ReadFile(path, 1<<20)
		if err != nil {
			return err
		}
		if _, err := endpoint.ReadRoots(file); err != nil {
			return h.Usage("", "--client-ca %s: %v", path, err)
		}
		f.edit.ClientCAs = append(f.edit.ClientCAs, file)
	}
	f.edit.SetCertificates = flags.Changed("certificate")
	for _, text := range f.pinned {
		if text == "" {
			continue
		}
		use, path, ok := strings.Cut(text, "=")
		if !ok || use == "" || path == "" {
			return h.Usage("", "--certificate takes USE=FILE")
		}
		file, err := h.ReadFile(path, 1<<20)
		if err != nil {
			return err
		}
		all, err := endpoint.ReadRoots(file)
		if err != nil {
			return h.Usage("", "--certificate %s: %v", path, err)
		}
		f.edit.Certificates = append(f.edit.Certificates, endpoints.Certificate{Use: use, DER: all[0]})
	}
	if f.none && len(f.subjects) > 0 {
		return h.Usage("", "--subject makes a credential, --no-credential none")
	}
	return nil
}

// record gives the record as it would be, and whose credentials are to be made.
func (h Host) record(s *admin.Session, f *addFlags, kindName, name string) (*gateway.Kind, authority.Endpoint, []endpoint.Who, error) {
	kind, err := h.kind(kindName)
	if err != nil {
		return nil, authority.Endpoint{}, nil, err
	}
	was := authority.Endpoint{Name: name, Kind: kind.Name}
	have := s.State().Endpoint(name)
	isNew := have == nil || have.Removed
	if have != nil && have.Kind != kind.Name {
		return nil, was, nil, h.Usage("", "endpoint %s is of kind %s, and a name stays with its kind", name, have.Kind)
	}
	if !isNew {
		was = have.Endpoint
	}
	next, err := f.edit.Apply(was)
	if err != nil {
		return nil, was, nil, h.Usage("", "%v", err)
	}
	var who []endpoint.Who
	for _, subject := range f.subjects {
		who = append(who, endpoint.Who{Use: f.use, Subject: subject})
	}
	if isNew && len(who) == 0 && kind.Credential != nil && !f.none {
		who = append(who, endpoint.Who{Use: f.use})
	}
	if !isNew && len(who) == 0 && reflect.DeepEqual(was, next) {
		return nil, was, nil, fmt.Errorf("%w: endpoint %s is so already", admin.ErrNoChange, name)
	}
	return kind, next, who, nil
}

func (h Host) rotate() *cobra.Command {
	var f madeFlags
	var finish bool
	var subject string
	cmd := &cobra.Command{
		Use:   "rotate NAME",
		Short: "Make a second live credential, or drop the older one",
		Long: "Make new credentials beside those that an endpoint has, for the same subjects: both\n" +
			"work, and nothing has to restart. When the other side uses the new ones, --finish\n" +
			"drops the older. Each is a change, and takes the quorum.",
		Example: "  claviger endpoint rotate aws --credential-out new.json\n  claviger endpoint rotate aws --finish",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if finish {
				return f.Run(cmd.Context(), func(s *admin.Session) (string, any, error) {
					return finishRotation(s, args[0], f.Reason())
				})
			}
			return h.run(cmd.Context(), f, func(s *admin.Session) (*gateway.Kind, authority.Endpoint, []endpoint.Who, error) {
				v, err := Named(s.State(), args[0])
				if err != nil {
					return nil, authority.Endpoint{}, nil, err
				}
				kind, err := h.kind(v.Kind)
				if err != nil {
					return nil, v.Endpoint, nil, err
				}
				who, err := endpoint.Rotation(&v.Endpoint, subject, cmd.Flags().Changed("subject"))
				return kind, v.Endpoint, who, err
			})
		},
	}
	h.madeFlags(cmd.Flags(), &f)
	cmd.Flags().BoolVar(&finish, "finish", false, "drop all but the newest credential of each subject")
	cmd.Flags().StringVar(&subject, "subject", "", "the credential of this subject alone")
	return cmd
}

func finishRotation(s *admin.Session, name, reason string) (string, any, error) {
	v, err := Named(s.State(), name)
	if err != nil {
		return "", nil, err
	}
	next, dropped := endpoint.Finish(v.Endpoint)
	if len(dropped) == 0 {
		return authority.KindEndpointSet, nil, fmt.Errorf("%w: endpoint %s has no older credential", admin.ErrNoChange, name)
	}
	return authority.KindEndpointSet, authority.EndpointSet{Endpoint: next, Reason: reason}, nil
}

// Made is what the other side is told of a change.
type Made struct {
	Endpoint    string                   `json:"endpoint"`
	Base        string                   `json:"base"`
	Credentials []endpoint.CredentialRow `json:"credentials,omitempty"` // that were made
	File        string                   `json:"file,omitempty"`        // that holds the secrets
	Guide       string                   `json:"guide,omitempty"`
}

// Print says it to people.
func (m Made) Print(p Printer) {
	for _, c := range m.Credentials {
		pairs := []string{"credential", c.ID, "secret", c.Secret}
		switch {
		case c.Secret == "" && m.File == "":
			pairs[3] = "none that anybody is told"
		case c.Secret == "":
			pairs[3] = "in " + m.File
		}
		if c.Subject != "" {
			pairs = append(pairs, "names", c.Subject)
		}
		p.Pairs(pairs...)
	}
	if m.Guide != "" {
		p.Line("\n%s", m.Guide)
	}
}

type builder func(*admin.Session) (*gateway.Kind, authority.Endpoint, []endpoint.Who, error)

// run makes credentials, has the server keep them, signs the record that names
// them, and says what the other side has to be told.
func (h Host) run(ctx context.Context, f madeFlags, build builder) error {
	s, err := f.Connect(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	kind, next, who, err := build(s)
	if err != nil {
		return f.Fail(s, authority.KindEndpointSet, err)
	}
	origin, err := h.origin(f.origin, s)
	if err != nil {
		return err
	}
	made, err := endpoint.Make(kind, who)
	if err != nil {
		return h.Usage("", "%v", err)
	}
	defer endpoint.Wipe(made)
	next = endpoint.With(next, made)
	if err := endpoint.Check(h.Kinds, &next); err != nil {
		return h.Usage("", "%v", err)
	}
	act := Act{
		Kind: authority.KindEndpointSet, Payload: authority.EndpointSet{Endpoint: next, Reason: f.Reason()},
		Made: Made{Endpoint: next.Name, Base: endpoint.Base(origin, &next)}, Next: "claviger endpoint test " + kind.Name + " " + next.Name,
	}
	if f.DryRun() {
		return f.Sign(ctx, s, act)
	}
	out, err := h.secrets(&act, f.out, kind, next, made)
	if err != nil {
		return err
	}
	defer out.Abort()
	act.Done = out.Commit
	if err := bring(ctx, s, made); err != nil {
		return err
	}
	return f.Sign(ctx, s, act)
}

// secrets puts what was made where it was asked for. A file is written before
// anything is signed: a secret that is lost would live in the log.
func (h Host) secrets(act *Act, path string, kind *gateway.Kind, e authority.Endpoint, made []gateway.Secret) (*outfile.File, error) {
	m := &act.Made
	m.Guide, m.Credentials = endpoint.Guide(kind, e, m.Base, made), endpoint.RowsOf(made, true)
	if len(made) == 0 {
		path = ""
	}
	out, err := h.Create(path)
	if err != nil || path == "" {
		return out, err
	}
	data, err := endpoint.File{Kind: kind.Name, Endpoint: e.Name, Credentials: m.Credentials, Guide: m.Guide}.Encode()
	if err == nil {
		_, err = out.Write(data)
		secret.Wipe(data)
	}
	if err != nil {
		out.Abort()
		return nil, outfile.Wrap("write", err)
	}
	act.Next += " --credential " + h.Word(path)
	m.Guide, m.Credentials, m.File = endpoint.Guide(kind, e, m.Base, nil), endpoint.RowsOf(made, false), path
	return out, nil
}

// origin is where the doors are met.
func (h Host) origin(given string, s *admin.Session) (string, error) {
	origin := cmp.Or(given, endpoint.Origin(s.Address()))
	if _, err := endpoint.Address(origin); err != nil {
		return "", h.Usage("", "--public: %v", err)
	}
	return origin, nil
}
