// SPDX-License-Identifier: Apache-2.0

package keyservertest

import (
	"context"
	"crypto/tls"
	"crypto/x509"

	"claviger/internal/authn"
	"claviger/internal/keyserver"
)

// Ask puts one operation to the choke point, as a door does for the workload that
// a finished handshake has named.
func (r *Rig) Ask(w *Workload, op keyserver.Op) (answer keyserver.Answer, err error) {
	r.T.Helper()
	leaf, err := x509.ParseCertificate(w.Chain[0])
	if err != nil {
		r.T.Fatal(err)
	}
	state := &tls.ConnectionState{HandshakeComplete: true, Version: tls.VersionTLS13, PeerCertificates: []*x509.Certificate{leaf}}
	err = r.Server.With(r.T.Context(), func(ctx context.Context, c *keyserver.Core) error {
		var trust authn.Trust
		if trust, err = c.Trust(); err != nil {
			return err
		}
		caller, err := trust.FromTLS(state, c.Now())
		if err == nil {
			answer, err = c.Do(ctx, caller, op)
		}
		return err
	})
	return answer, err
}

// AskAs puts one operation to the choke point for a caller that a verifier made.
func (r *Rig) AskAs(caller *authn.Caller, op keyserver.Op) (answer keyserver.Answer, err error) {
	r.T.Helper()
	err = r.Server.With(r.T.Context(), func(ctx context.Context, c *keyserver.Core) error {
		answer, err = c.Do(ctx, caller, op)
		return err
	})
	return answer, err
}
