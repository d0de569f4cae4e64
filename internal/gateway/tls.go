// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"claviger/internal/authority"
	"claviger/internal/keyserver"
)

// tlsConfig is what a handshake starts with: TLS 1.2 with forward secrecy and
// AEADs alone, or 1.3. Client certificates are asked for only under the hosts of
// endpoints that need them.
func (s *Server) tlsConfig() *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return s.o.Certificate.Get(h, s.hosts()) },
	}
	c.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) { return s.configFor(c, h) }
	return c
}

// configFor demands a client certificate under the host of an endpoint with roots
// for them, and asks for any under that of a kind that needs one.
func (s *Server) configFor(usual *tls.Config, h *tls.ClientHelloInfo) (*tls.Config, error) {
	e := s.named(hostname(h.ServerName))
	if e == nil {
		return usual, nil
	}
	kind, _ := s.o.Kinds.Named(e.Kind)
	if len(e.ClientCAs) == 0 && (kind == nil || !kind.NeedsClientCert) {
		return usual, nil
	}
	c := usual.Clone()
	c.GetConfigForClient = nil
	// A resumed session would bring a certificate that another record let pass.
	c.SessionTicketsDisabled = true
	c.ClientAuth = tls.RequestClientCert
	// Under the public host others are met, whose clients have none; each request is
	// held against its endpoint's record in any case.
	if len(e.ClientCAs) > 0 && e.Host != s.publicHost() {
		pool, err := rootsOf(e)
		if err != nil {
			return nil, err
		}
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, pool
		c.VerifyConnection = func(state tls.ConnectionState) error { return nameAccepted(e, state.PeerCertificates) }
	}
	return c, nil
}

// named is the endpoint of a host: as it is, or as it was when the server was
// sealed.
func (s *Server) named(host string) (e *authority.EndpointState) {
	if host == "" {
		return nil
	}
	err := s.o.Keys.With(context.Background(), func(_ context.Context, c *keyserver.Core) error {
		c.View(func(st *authority.State) { e = present(st.EndpointAt(host)) })
		return nil
	})
	if err == nil {
		return e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.doors {
		if m.state.Host == host {
			return m.state
		}
	}
	return nil
}

// hosts are those of all endpoints, in order.
func (s *Server) hosts() (out []string) {
	_ = s.o.Keys.With(context.Background(), func(_ context.Context, c *keyserver.Core) error { // sealed: none is known
		c.View(func(st *authority.State) {
			for e := range st.Endpoints() {
				if e.Host != "" && !e.Removed {
					out = append(out, e.Host)
				}
			}
		})
		return nil
	})
	slices.Sort(out)
	return out
}

func rootsOf(e *authority.EndpointState) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	for _, der := range e.ClientCAs {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("a root of client certificates of %s: %w", e.Name, err)
		}
		pool.AddCert(cert)
	}
	return pool, nil
}

var errClientName = errors.New("the client certificate has none of the names that this endpoint takes")

// nameAccepted looks for the certificate's common name or a DNS name among those
// that the record accepts; any will do where it names none.
func nameAccepted(e *authority.EndpointState, chain []*x509.Certificate) error {
	if len(e.ClientNames) == 0 {
		return nil
	}
	if len(chain) > 0 {
		names := append([]string{chain[0].Subject.CommonName}, chain[0].DNSNames...)
		for _, accepted := range e.ClientNames {
			if slices.ContainsFunc(names, func(n string) bool { return n != "" && strings.EqualFold(n, accepted) }) {
				return nil
			}
		}
	}
	return errClientName
}

// shown remembers of one connection under which record its certificate was found
// good.
type shown struct {
	mu    sync.Mutex
	good  *authority.EndpointState
	until time.Time
}

type shownKey struct{}

func withShown(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, shownKey{}, &shown{})
}

// clientCertificate holds that a request to an endpoint that wants certificates
// came with one that its record, as it is now, accepts.
func (m *mounted) clientCertificate(r *http.Request) error {
	if len(m.state.ClientCAs) == 0 {
		return nil // whose certificate it is, if there is one, is the door's to judge
	}
	// Security: another host's handshake, or one under an older record, demanded
	// something else.
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return fmt.Errorf("%w: this endpoint takes requests with a client certificate, under its own host", keyserver.ErrUnproved)
	}
	now := m.server.o.Clock.Now()
	known, _ := r.Context().Value(shownKey{}).(*shown)
	if known != nil {
		known.mu.Lock()
		defer known.mu.Unlock()
		if known.good == m.state && now.Before(known.until) {
			return nil
		}
	}
	if err := m.verify(r.TLS.PeerCertificates, now); err != nil {
		return fmt.Errorf("%w: client certificate: %w", keyserver.ErrUnproved, err)
	}
	if known != nil {
		known.good, known.until = m.state, r.TLS.PeerCertificates[0].NotAfter
	}
	return nil
}

func (m *mounted) verify(chain []*x509.Certificate, now time.Time) error {
	pool, err := rootsOf(m.state)
	if err != nil {
		return err
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{
		Roots: pool, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return err
	}
	return nameAccepted(m.state, chain)
}
