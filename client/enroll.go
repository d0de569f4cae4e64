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
	"os"
	"path/filepath"
	"time"

	"claviger/client/internal/keep"
	"claviger/client/internal/trust"
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
	// Addresses replaces the invite's.
	Addresses []string
	// CertFile and KeyFile are a certificate chain and its key of the customer's
	// own CA, for an invite without a seed. The files are read again when they
	// change.
	CertFile, KeyFile string
	// Timeout bounds one exchange with one server; zero means 15 s.
	Timeout time.Duration
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
		CertFile: o.CertFile, KeyFile: o.KeyFile,
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
	key     *ecdsa.PrivateKey
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

// redeem asks one address after the other. Nothing is known of the domain before
// but its id, so the View begins with the first chain that leads to it.
func (d *draft) redeem(ctx context.Context, o EnrollOptions) error {
	var failed error
	for _, address := range d.profile.Addresses {
		err := d.redeemAt(ctx, address, o)
		if err == nil {
			return nil
		}
		if _, denied := errors.AsType[*DeniedError](err); denied || ctx.Err() != nil {
			return fmt.Errorf("enroll: %w", err)
		}
		failed = worse(failed, err)
	}
	return fmt.Errorf("enroll: %w", failed)
}

func (d *draft) redeemAt(ctx context.Context, address string, o EnrollOptions) error {
	direct, err := transport.NewDirect(address, transport.Options{Timeout: o.Timeout})
	if err != nil {
		return err
	}
	defer direct.Close()
	if d.view == nil {
		if err := d.meet(ctx, direct, o.Clock); err != nil {
			return err
		}
	}
	s := &server{route: direct}
	n := &network{view: d.view, servers: []*server{s}}
	if d.profile.CertFile != "" {
		return d.adopt(ctx, n, s)
	}
	return d.certify(ctx, n)
}

// meet takes the first introduction: its chain must lead to the domain id of the
// invite and hold the link that the invite names.
func (d *draft) meet(ctx context.Context, r route, clk clock.Clock) error {
	data, err := r.Introduction(ctx)
	if err != nil {
		return unavailable(err)
	}
	in, err := wire.ParseIntroduction(data)
	if err != nil {
		return fmt.Errorf("%w: introduction: %w", ErrIntegrity, err)
	}
	state, err := members.Verify(in.Members, d.profile.domain)
	if err != nil {
		return fmt.Errorf("%w: introduction: %w", ErrIntegrity, err)
	}
	// Security: else a chain from before the invite was made, in which a fenced
	// server still serves, would do for a newcomer.
	if !state.Contains(d.invite.Members) {
		return fmt.Errorf("introduction: %w: membership is older than the invite", ErrRollback)
	}
	view, err := trust.New(trust.Options{
		Domain: d.profile.domain, Demo: d.profile.Demo, Members: in.Members, Keeper: d.Dir, Clock: clk,
	})
	if err != nil {
		return err
	}
	if err := d.SaveMembers(state.Chain); err != nil {
		return err
	}
	d.view = view
	return nil
}

// certify gets a certificate for a new key under the invite.
func (d *draft) certify(ctx context.Context, n *network) error {
	if d.key == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return fmt.Errorf("make key: %w", err)
		}
		d.key = key
	}
	seed := ed25519.NewKeyFromSeed(d.invite.Seed)
	defer secret.Wipe(seed)
	var got *trust.Enrolled
	err := n.exchange(ctx, talk{
		ask: func(p *trust.Peer, _ int64) (*trust.Asked, error) { return d.view.Enrol(p, d.invite, seed, d.key) },
		hear: func(a *trust.Asked, answer []byte) (err error) {
			got, err = d.view.Enrolled(a, answer, d.key)
			return err
		},
	})
	if err != nil {
		return err
	}
	if got.Reason != "" {
		return &DeniedError{Client: d.profile.Client, Operation: "enroll", Reason: got.Reason}
	}
	keyPEM, err := formatKey(d.key)
	if err != nil {
		return err
	}
	defer secret.Wipe(keyPEM)
	if err := keep.WriteFile(filepath.Join(d.Path(), fileKey), keyPEM); err != nil {
		return err
	}
	return keep.WriteFile(filepath.Join(d.Path(), fileCert), formatChain(got.Chain))
}

// adopt makes a profile for a certificate of somebody else's CA: the files must
// fit the invite's client, and the server must be one of the domain.
func (d *draft) adopt(ctx context.Context, n *network, s *server) error {
	if _, err := n.introduced(ctx, s, false); err != nil {
		return err
	}
	for _, name := range []*string{&d.profile.CertFile, &d.profile.KeyFile} {
		full, err := filepath.Abs(*name)
		if err != nil {
			return fmt.Errorf("find certificate: %w", err)
		}
		*name = full
	}
	_, err := loadIdentity(d.profile.CertFile, d.profile.KeyFile, d.profile.Client)
	return err
}
