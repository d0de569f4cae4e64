// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"claviger/client/internal/identity"
	"claviger/client/internal/keep"
	"claviger/client/internal/trust"
	"claviger/client/internal/ways"
	"claviger/internal/clock"
	"claviger/internal/members"
	"claviger/internal/secret"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// EnrollOptions of Enroll. The zero value works.
type EnrollOptions struct {
	// AllowDemo makes a demo profile, and refuses a real domain.
	AllowDemo bool
	// Addresses replaces the invite's: of the kinds that Profile.Addresses has.
	Addresses []string
	// CertFile and KeyFile are a certificate chain and its key of the customer's
	// own CA, for an invite without a seed. The files are read again when they
	// change.
	CertFile, KeyFile string
	// Pad makes Profile.Pad, and counts for the enrolment too.
	Pad bool
	// Timeout bounds one exchange with one server; zero means 15 s.
	Timeout time.Duration
	// Log is as in Options.
	Log *slog.Logger
	// Clock is nil outside tests.
	Clock clock.Clock
}

// Enroll redeems an invite and writes a profile to dir, which must not hold one
// yet. The domain id in the invite decides whom to believe, so the invite has to
// come by a way that can be trusted; it is a secret until used, works once, and
// is not kept.
func Enroll(ctx context.Context, dir, invite string, o EnrollOptions) (*Profile, error) {
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	in, err := wire.ParseInvite(invite)
	if err != nil {
		return nil, fmt.Errorf("enroll: %w: %w", ErrInvite, err)
	}
	defer secret.Wipe(in.Seed)
	if o.Clock.Now().UnixMilli() >= in.Expires {
		return nil, fmt.Errorf("enroll: %w: it expired at %s", ErrInvite, time.UnixMilli(in.Expires).UTC().Format(time.RFC3339))
	}
	p := &Profile{
		Dir: dir, Demo: o.AllowDemo, Domain: in.Domain.String(), Addresses: in.Addresses, Client: in.Client,
		CertFile: o.CertFile, KeyFile: o.KeyFile, Pad: o.Pad,
	}
	if len(o.Addresses) > 0 {
		p.Addresses = o.Addresses
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	if (len(in.Seed) == 0) != (o.CertFile != "") {
		return nil, fmt.Errorf("enroll: %w: it wants a certificate file exactly if it carries no seed", ErrInvite)
	}
	if err := vacant(dir); err != nil {
		return nil, err
	}
	if err := enrol(ctx, p, in, o); err != nil {
		return nil, err
	}
	return p, nil
}

// vacant reports nil if dir doesn't exist or is an empty directory.
func vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("create profile: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("create profile %s: %w", dir, ErrExists)
	}
	return nil
}

// draft is a profile in the making, in a directory of its own beside the final
// one. It keeps what the View learns meanwhile.
type draft struct {
	*keep.Dir
	profile *Profile
	invite  *wire.Invite
	view    *trust.View
}

func enrol(ctx context.Context, p *Profile, in *wire.Invite, o EnrollOptions) (err error) {
	parent := filepath.Dir(filepath.Clean(p.Dir))
	if err := createDir(parent); err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(parent, "."+filepath.Base(p.Dir)+"-*") // 0700
	if err != nil {
		return fmt.Errorf("create profile: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(temporary))
		}
	}()
	d := &draft{Dir: keep.New(temporary, p.domain), profile: p, invite: in}
	if err := d.redeem(ctx, o); err != nil {
		return err
	}
	if err := p.write(temporary); err != nil {
		return fmt.Errorf("create profile: %w", err)
	}
	// A directory can be renamed onto an empty one and onto no other.
	if err := os.Rename(temporary, p.Dir); err != nil {
		return fmt.Errorf("create profile: %w", err)
	}
	return keep.SyncDir(parent)
}

// redeem meets the domain at one address after the other, then asks there for a
// certificate. Nothing is known of the domain before but its id, so the View
// begins with the first chain that leads to it.
func (d *draft) redeem(ctx context.Context, o EnrollOptions) error {
	d.SaveToken(d.invite.SendToken)
	n, err := ways.Meet(ctx, d.profile.domain, ways.Options{
		Addresses: d.profile.Addresses, Tokens: d.Dir, Log: o.Log, Transport: transport.Options{Timeout: o.Timeout, Clock: o.Clock},
	}, func(introduction []byte) (*trust.View, error) { return d.believe(introduction, o.Clock) })
	if err != nil {
		return fmt.Errorf("enroll: %w", err)
	}
	defer n.Close()
	if err := d.join(ctx, n); err != nil {
		return fmt.Errorf("enroll: %w", err)
	}
	return nil
}

// join gets what makes the profile complete.
func (d *draft) join(ctx context.Context, n *ways.Network) error {
	if d.profile.CertFile != "" {
		return d.adopt(ctx, n)
	}
	return d.certify(ctx, n)
}

// believe begins the View with the member chain of an introduction: it must lead
// to the domain id of the invite and hold the link that the invite names.
func (d *draft) believe(data []byte, clk clock.Clock) (*trust.View, error) {
	in, err := wire.ParseIntroduction(data)
	if err != nil {
		return nil, fmt.Errorf("%w: introduction: %w", ErrIntegrity, err)
	}
	state, err := members.Verify(in.Members, d.profile.domain)
	if err != nil {
		return nil, fmt.Errorf("%w: introduction: %w", ErrIntegrity, err)
	}
	// Security: else a chain from before the invite was made, in which a fenced
	// server still serves, would do for a newcomer.
	if !state.Contains(d.invite.Members) {
		return nil, fmt.Errorf("introduction: %w: membership is older than the invite", ErrRollback)
	}
	view, err := trust.New(trust.Options{
		Domain: d.profile.domain, Demo: d.profile.Demo, Members: in.Members, Keeper: d.Dir, Clock: clk,
		Padding: wire.Padding(d.profile.Pad),
	})
	if err != nil {
		return nil, err
	}
	if err := d.SaveMembers(state.Chain); err != nil {
		return nil, err
	}
	d.view = view
	return view, nil
}

// certify gets a certificate for a new key under the invite.
func (d *draft) certify(ctx context.Context, n *ways.Network) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	seed := ed25519.NewKeyFromSeed(d.invite.Seed)
	defer secret.Wipe(seed)
	var got *trust.Enrolled
	t := &ways.Talk{
		Ask: func(p *trust.Peer, hint int64) (*trust.Asked, error) {
			return d.view.Enrol(p, d.invite, seed, key, hint)
		},
		Hear: func(a *trust.Asked, answer []byte) (err error) {
			got, err = d.view.Enrolled(a, answer, key)
			return err
		},
	}
	err = n.Exchange(ctx, t)
	if t.Lost() && errors.Is(err, ErrUnavailable) && ctx.Err() == nil {
		// The invite may be used up and the answer lost. The same message gets the same
		// answer once more; nobody else can ask for it.
		err = n.Exchange(ctx, t)
	}
	if err != nil {
		return err
	}
	if got.Reason != "" {
		return &DeniedError{Client: d.profile.Client, Operation: "enroll", Reason: got.Reason}
	}
	keyPEM, err := identity.FormatKey(key)
	if err != nil {
		return err
	}
	defer secret.Wipe(keyPEM)
	if err := keep.WriteFile(filepath.Join(d.Path(), identity.FileKey), keyPEM); err != nil {
		return err
	}
	return keep.WriteFile(filepath.Join(d.Path(), identity.FileCert), identity.FormatChain(got.Chain))
}

// adopt makes a profile for a certificate of somebody else's CA: the files must
// fit the invite's client, and the server must be one of the domain.
func (d *draft) adopt(ctx context.Context, n *ways.Network) error {
	if err := n.Introduce(ctx); err != nil {
		return err
	}
	for _, name := range []*string{&d.profile.CertFile, &d.profile.KeyFile} {
		full, err := filepath.Abs(*name)
		if err != nil {
			return fmt.Errorf("find certificate: %w", err)
		}
		*name = full
	}
	_, err := identity.Load(d.profile.CertFile, d.profile.KeyFile, d.profile.Client)
	return err
}
