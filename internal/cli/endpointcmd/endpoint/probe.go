// SPDX-License-Identifier: Apache-2.0

package endpoint

import (
	"crypto/tls"
	"crypto/x509"
	"errors"

	"claviger/internal/gateway"
)

// Step is how one check of a probe went.
type Step struct {
	Name    string  `json:"name"`
	OK      bool    `json:"ok"`
	Note    string  `json:"note,omitempty"`
	Error   string  `json:"error,omitempty"`
	Latency float64 `json:"latency_seconds"`
}

// Steps tells of a probe, and whether every check passed: none at all is no pass.
func Steps(checks []gateway.Check) (steps []Step, passed bool) {
	passed, steps = len(checks) > 0, []Step{}
	for _, c := range checks {
		s := Step{Name: c.Name, OK: c.Err == nil, Latency: c.Latency.Seconds(), Note: c.Note}
		if c.Err != nil {
			s.Error, passed = c.Err.Error(), false
		}
		steps = append(steps, s)
	}
	return steps, passed
}

// Trust makes the TLS configuration of a probe from a PEM file of roots; empty:
// those of the machine.
func Trust(roots []byte) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(roots) == 0 {
		return c, nil
	}
	if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(roots) {
		return nil, errors.New("the file holds no certificate in PEM")
	}
	return c, nil
}
