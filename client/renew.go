// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"claviger/client/internal/identity"
	"claviger/client/internal/trust"
	"claviger/client/internal/ways"
	"claviger/internal/pace"
)

// renewPause is how soon a renewal that failed is tried again.
const renewPause = time.Minute

// Renew replaces the client's certificate and key by new ones for the same name.
// Requests do it by themselves once about two thirds of a certificate's lifetime are
// over; the moment is the certificate's own (pace.Renewal). One of somebody else's CA
// is theirs to renew: an error then.
func (c *Client) Renew(ctx context.Context) error {
	if c.isClosed() {
		return ErrClosed
	}
	if c.profile.CertFile != "" {
		return errors.New("renew certificate: it is not of the domain's own CA; whoever issued it renews it")
	}
	id, err := c.id.Get()
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("renew certificate: %w", err)
	}
	var got *trust.Enrolled
	err = c.net.Exchange(ctx, &ways.Talk{
		Ask: func(p *trust.Peer, hint int64) (*trust.Asked, error) { return c.view.Renew(p, id.Trust, key, hint) },
		Hear: func(a *trust.Asked, answer []byte) (err error) {
			got, err = c.view.Enrolled(a, answer, key)
			return err
		},
	})
	if err != nil {
		return fmt.Errorf("renew certificate: %w", err)
	}
	if got.Reason != "" {
		return &DeniedError{Client: c.profile.Client, Operation: "renew", Reason: got.Reason}
	}
	if err := identity.Replace(c.profile.Dir, key, got.Chain); err != nil {
		return fmt.Errorf("renew certificate: %w", err)
	}
	c.net.Refresh()
	return nil
}

// renewIfDue renews in passing. That it fails stops nobody: the certificate at
// hand still counts until it ends, and the request that follows says more.
func (c *Client) renewIfDue(ctx context.Context) {
	if c.profile.CertFile != "" {
		return
	}
	id, err := c.id.Get()
	if err != nil {
		return
	}
	life := id.Leaf.NotAfter.Sub(id.Leaf.NotBefore)
	if c.view.Now().Before(id.Leaf.NotBefore.Add(pace.Renewal(life, pace.Of(id.Leaf.Raw)))) {
		return
	}
	if c.renewing.Take(c.options.Clock.Boot()) {
		_ = c.Renew(ctx)
		c.renewing.Done(c.options.Clock.Boot() + renewPause)
	}
}
