// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/members"
	"claviger/internal/pki"
	"claviger/internal/wire"
)

// trustSet is the certificate verifier of one member chain and one state of the
// revocation lists.
type trustSet struct {
	members wire.Hash
	lists   []listStamp
	chains  *pki.Verifier
}

// listStamp tells whether a revocation list's file was replaced.
type listStamp struct {
	modified time.Time
	size     int64
}

// currentTrust is what the present members, and the revocation lists of their
// outside anchors, say about workloads' certificates.
func (c *Core) currentTrust() (authn.Trust, error) {
	var m *members.State
	c.log.View(func(s *authority.State) { m = s.Members })
	// The revoked still prove who they are: Do denies them, so that the refusal is
	// signed and recorded instead of looking like a broken connection.
	t := authn.Trust{Domain: c.o.Domain, Revocations: authn.RevokedFunc(func(string) bool { return false })}
	have, stamps := c.trust.Load(), c.stampLists(m)
	if have == nil || have.members != m.Newest || !slices.Equal(have.lists, stamps) {
		var err error
		if have, err = c.renewTrust(m, stamps); err != nil {
			return t, err
		}
	}
	t.Chains = have.chains
	return t, nil
}

func (c *Core) stampLists(m *members.State) []listStamp {
	var stamps []listStamp
	for _, a := range m.Anchors {
		if !a.NeedCRL {
			continue
		}
		var stamp listStamp
		if info, err := os.Stat(c.listPath(a.Name)); err == nil {
			stamp = listStamp{info.ModTime(), info.Size()}
		}
		stamps = append(stamps, stamp)
	}
	return stamps
}

// renewTrust reads anchors and lists again. Where only a list was replaced, an
// older one than that in use does not count: otherwise whoever hands in files
// could bring a revoked certificate back.
func (c *Core) renewTrust(m *members.State, stamps []listStamp) (*trustSet, error) {
	c.trustMu.Lock()
	defer c.trustMu.Unlock()
	have := c.trust.Load()
	if have != nil && have.members == m.Newest && slices.Equal(have.lists, stamps) {
		return have, nil
	}
	next := &trustSet{members: m.Newest, lists: stamps}
	if have != nil && have.members == m.Newest {
		next.chains = have.chains
	} else {
		anchors := make([]pki.Anchor, 0, len(m.Anchors))
		for _, a := range m.Anchors {
			anchor, err := c.anchorOf(a)
			if err != nil {
				return nil, err
			}
			anchors = append(anchors, anchor)
		}
		var err error
		if next.chains, err = pki.NewVerifier(m.Genesis.Name, anchors); err != nil {
			return nil, fmt.Errorf("trust anchors: %w", err)
		}
	}
	c.takeLists(next, m)
	c.trust.Store(next)
	return next, nil
}

// takeLists puts the revocation lists in. One that is missing or unusable leaves
// its anchor as it was: with the list before, or refusing every certificate; the
// other anchors go on.
func (c *Core) takeLists(t *trustSet, m *members.State) {
	for _, a := range m.Anchors {
		if !a.NeedCRL {
			continue
		}
		lists, err := readCRLs(c.listPath(a.Name))
		var chains *pki.Verifier
		if err == nil {
			chains, err = t.chains.WithCRLs(a.Prefix, lists)
		}
		if err != nil {
			c.logger.Error("Revocation list not taken", "anchor", a.Name, "error", err)
			c.metrics.alarm("crl")
			continue
		}
		t.chains = chains
	}
}

// listPath is where an operator puts an outside anchor's revocation lists.
func (c *Core) listPath(anchor string) string {
	return filepath.Join(c.o.Dir, dirPKI, anchor+".crl")
}

func (c *Core) anchorOf(a members.Anchor) (pki.Anchor, error) {
	if a.Embedded {
		return c.ca.Anchor()
	}
	out := pki.Anchor{Prefix: a.Prefix}
	if !a.NeedCRL {
		out.MaxLifetime = pki.ShortLived
	}
	var err error
	if out.Roots, err = parseCertificates(a.Roots); err != nil {
		return out, fmt.Errorf("trust anchor %s: %w", a.Name, err)
	}
	if out.Intermediates, err = parseCertificates(a.Intermediates); err != nil {
		return out, fmt.Errorf("trust anchor %s: %w", a.Name, err)
	}
	return out, nil
}

// vetAnchors refuses trust anchors that this server could not load, before they
// are kept.
func (c *Core) vetAnchors(a members.Anchors) error {
	var name string
	c.log.View(func(s *authority.State) { name = s.Members.Genesis.Name })
	anchors := make([]pki.Anchor, 0, len(a.Anchors))
	for _, one := range a.Anchors {
		anchor, err := c.anchorOf(one)
		if err != nil {
			return err
		}
		if one.NeedCRL {
			anchor.CRLs, err = readCRLs(c.listPath(one.Name))
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("trust anchor %s needs a revocation list: put it at %s/%s.crl in the server's data directory first", one.Name, dirPKI, one.Name)
			}
			if err != nil {
				return fmt.Errorf("trust anchor %s: %w", one.Name, err)
			}
		}
		anchors = append(anchors, anchor)
	}
	_, err := pki.NewVerifier(name, anchors)
	return err
}

func parseCertificates(ders [][]byte) ([]*x509.Certificate, error) {
	out := make([]*x509.Certificate, 0, len(ders))
	for _, der := range ders {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		out = append(out, cert)
	}
	return out, nil
}
