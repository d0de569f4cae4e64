// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/tokenbook"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// Kind is one protocol: how its doors are made, and what its endpoints need. The
// command line holds the list of kinds.
type Kind struct {
	Name string // xks, vault, …
	Rate uint64 // requests a second of an endpoint that says nothing; 0: DefaultRate

	// NeedsHost: an endpoint has to have a Host. NeedsClientCert: its clients show a
	// certificate, which then goes with a Host; without ClientCAs in its record any
	// certificate will do for the handshake, and the door judges whose it is.
	NeedsHost, NeedsClientCert bool

	// Options are the names of the settings that its endpoints may have; "x.*" stands
	// for every name that begins with "x.".
	Options []string
	// Check judges an endpoint's record beyond what the authority log does.
	Check func(*authority.Endpoint) error
	// New makes the door of an endpoint.
	New func(Site) (Door, error)
	// Root, if there is one, takes requests that come neither under the Host of an
	// endpoint nor below one's name: whether this is one of the kind's, and the name
	// of the endpoint that it asks for ("" for the only one of the kind there is).
	Root func(*http.Request) (endpoint string, mine bool)
	// Credential makes the credential of one user of an endpoint: its record and
	// bytes, and the bytes as the other side wants them. Nil: the kind has none.
	Credential func(use, subject string) (Secret, error)
	// Guide says what the other side has to be told, with secrets that are shown
	// once.
	Guide func(Site, []Secret) string
	// Probe acts as the foreign service would and says how each step went.
	Probe func(context.Context, ProbeTarget) []Check
}

// Secret is a credential that was just made.
type Secret struct {
	Credential authority.Credential
	Material   *secret.Bytes // what goes into the slot that the record names by its hash
	Show       string        // what the user gets, as the foreign service wants it
}

// Site is the place of one endpoint, for its door.
type Site struct {
	Endpoint authority.Endpoint
	Base     string // public URL of the endpoint, without a slash at the end

	Do       func(context.Context, *authn.Caller, keyserver.Op) (keyserver.Answer, error)
	Material func(context.Context, wire.Hash) (*secret.Bytes, error)
	Tokens   func(context.Context) (*tokenbook.Page, error) // what became of tokens that the door made
	Health   func(context.Context) error                    // deep; who uses it keeps the answer for at most a minute
	Clock    clock.Clock
	Logger   *slog.Logger
}

// Option is a setting of the endpoint, "" if it has none of that name.
func (s Site) Option(name string) string {
	for _, o := range s.Endpoint.Options {
		if o.Name == name {
			return o.Value
		}
	}
	return ""
}

// OptionFolder is the setting that maps names of a protocol that knows no folders:
// it stands before each, and ends in "/".
const OptionFolder = "folder"

// KeyName is the name of our key for a key of the protocol.
func (s Site) KeyName(foreign string) string { return s.Option(OptionFolder) + foreign }

// ProbeTarget is what a probe talks to.
type ProbeTarget struct {
	Site    Site        // without Do, Material and Health
	Address string      // host:port to dial, whatever the Base says
	TLS     *tls.Config // trusts the server's certificate; a probe adds its own to a clone
	Key     string      // to probe with; "" for none
	Secret  *Secret     // a live credential, if the user gave one
	Cert    *tls.Certificate
}

// Check is how one step of a probe went.
type Check struct {
	Name    string
	Err     error // nil: as it should
	Note    string
	Latency time.Duration
}

// DefaultRate of a kind that says nothing.
const DefaultRate = 500

// Kinds is the list of kinds that a program knows.
type Kinds []*Kind

// Named finds a kind.
func (k Kinds) Named(name string) (*Kind, bool) {
	i := slices.IndexFunc(k, func(k *Kind) bool { return k.Name == name })
	if i < 0 {
		return nil, false
	}
	return k[i], true
}

// ErrEndpoint means that an endpoint's record doesn't fit its kind.
var ErrEndpoint = errors.New("the endpoint doesn't fit its kind")

// takes reports whether the kind has a setting.
func (k *Kind) takes(option string) bool {
	return slices.ContainsFunc(k.Options, func(o string) bool {
		all, many := strings.CutSuffix(o, "*")
		return o == option || many && strings.HasPrefix(option, all)
	})
}

// reserved are first parts of paths that are no endpoint's name.
func reserved() []string { return []string{"ping", "v1", "console", "ui"} }

// Check judges an endpoint's record: the authority log has judged its form.
func (k Kinds) Check(e *authority.Endpoint) error {
	kind, ok := k.Named(e.Kind)
	switch {
	case !ok:
		return fmt.Errorf("%w: this program knows no kind %q", ErrEndpoint, e.Kind)
	case slices.Contains(reserved(), e.Name):
		return fmt.Errorf("%w: the name %s has another meaning in paths", ErrEndpoint, e.Name)
	case e.Host == "" && (kind.NeedsHost || kind.NeedsClientCert || len(e.ClientCAs) > 0):
		return fmt.Errorf("%w: client certificates are asked for under a host name of its own, and it has none (--host)", ErrEndpoint)
	}
	for _, o := range e.Options {
		if !kind.takes(o.Name) {
			return fmt.Errorf("%w: %s has no setting %q; it has %q", ErrEndpoint, e.Kind, o.Name, kind.Options)
		}
	}
	if kind.Check == nil {
		return nil
	}
	if err := kind.Check(e); err != nil {
		return fmt.Errorf("%w: %w", ErrEndpoint, err)
	}
	return nil
}
