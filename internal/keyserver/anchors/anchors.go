// SPDX-License-Identifier: Apache-2.0

package anchors

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"claviger/internal/authn"
	"claviger/internal/members"
	"claviger/internal/pki"
	"claviger/internal/wire"
)

// Options of Anchors; all are required.
type Options struct {
	Dir      string                     // where operators put revocation lists, as NAME.crl
	Embedded func() (pki.Anchor, error) // the embedded CA's
	Logger   *slog.Logger
	Alarm    func(kind string) // "crl": a list was not taken
}

// Anchors makes certificate verifiers and keeps the newest one. It is safe for
// concurrent use.
type Anchors struct {
	o    Options
	have atomic.Pointer[trustSet]
	mu   sync.Mutex // one reads new anchors or lists
}

// New returns Anchors that have read nothing yet.
func New(o Options) *Anchors { return &Anchors{o: o} }

// trustSet is the certificate verifier of one member chain and one state of the
// revocation lists.
type trustSet struct {
	members wire.Hash
	lists   []listStamp
	chains  *pki.Verifier
	judge   *authn.Remembered // of chains
}

// listStamp tells whether a revocation list's file was replaced.
type listStamp struct {
	modified time.Time
	size     int64
}

// Verifier is what these members, and the revocation lists of their outside
// anchors as they lie there now, say about workloads' certificates. As long as
// neither changes it is the same one, by identity, and judges a chain once.
func (a *Anchors) Verifier(m *members.State) (*authn.Remembered, error) {
	have, stamps := a.have.Load(), a.stampLists(m)
	if have == nil || have.members != m.Newest || !slices.Equal(have.lists, stamps) {
		var err error
		if have, err = a.renew(m, stamps); err != nil {
			return nil, err
		}
	}
	return have.judge, nil
}

func (a *Anchors) stampLists(m *members.State) []listStamp {
	var stamps []listStamp
	for _, one := range m.Anchors {
		if !one.NeedCRL {
			continue
		}
		var stamp listStamp
		if info, err := os.Stat(a.listPath(one.Name)); err == nil {
			stamp = listStamp{info.ModTime(), info.Size()}
		}
		stamps = append(stamps, stamp)
	}
	return stamps
}

// renew reads anchors and lists again. Where only a list was replaced, an
// older one than that in use does not count: otherwise whoever hands in files
// could bring a revoked certificate back.
func (a *Anchors) renew(m *members.State, stamps []listStamp) (*trustSet, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	have := a.have.Load()
	if have != nil && have.members == m.Newest && slices.Equal(have.lists, stamps) {
		return have, nil
	}
	next := &trustSet{members: m.Newest, lists: stamps}
	if have != nil && have.members == m.Newest {
		next.chains = have.chains
	} else {
		anchors := make([]pki.Anchor, 0, len(m.Anchors))
		for _, one := range m.Anchors {
			anchor, err := a.anchorOf(one)
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
	a.takeLists(next, m)
	next.judge = authn.Remember(next.chains)
	a.have.Store(next)
	return next, nil
}

// takeLists puts the revocation lists in. One that is missing or unusable leaves
// its anchor as it was: with the list before, or refusing every certificate; the
// other anchors go on.
func (a *Anchors) takeLists(t *trustSet, m *members.State) {
	for _, one := range m.Anchors {
		if !one.NeedCRL {
			continue
		}
		lists, err := readCRLs(a.listPath(one.Name))
		var chains *pki.Verifier
		if err == nil {
			chains, err = t.chains.WithCRLs(one.Prefix, lists)
		}
		if err != nil {
			a.o.Logger.Error("Revocation list not taken", "anchor", one.Name, "error", err)
			a.o.Alarm("crl")
			continue
		}
		t.chains = chains
	}
}

// listPath is where an operator puts an outside anchor's revocation lists.
func (a *Anchors) listPath(anchor string) string {
	return filepath.Join(a.o.Dir, anchor+".crl")
}

func (a *Anchors) anchorOf(one members.Anchor) (pki.Anchor, error) {
	if one.Embedded {
		return a.o.Embedded()
	}
	out := pki.Anchor{Prefix: one.Prefix}
	if !one.NeedCRL {
		out.MaxLifetime = pki.ShortLived
	}
	var err error
	if out.Roots, err = parseCertificates(one.Roots); err != nil {
		return out, fmt.Errorf("trust anchor %s: %w", one.Name, err)
	}
	if out.Intermediates, err = parseCertificates(one.Intermediates); err != nil {
		return out, fmt.Errorf("trust anchor %s: %w", one.Name, err)
	}
	return out, nil
}

// Vet refuses trust anchors that this server could not load, before they are
// kept. The name is the domain's.
func (a *Anchors) Vet(name string, proposed members.Anchors) error {
	anchors := make([]pki.Anchor, 0, len(proposed.Anchors))
	for _, one := range proposed.Anchors {
		anchor, err := a.anchorOf(one)
		if err != nil {
			return err
		}
		if one.NeedCRL {
			anchor.CRLs, err = readCRLs(a.listPath(one.Name))
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("trust anchor %s needs a revocation list: put it at pki/%s.crl in the server's data directory first", one.Name, one.Name)
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
