// SPDX-License-Identifier: Apache-2.0

package gatewaytest

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"testing"

	"claviger/internal/authority"
	"claviger/internal/gateway"
)

// Suite is what a door brings to be tried.
type Suite struct {
	Kind *gateway.Kind
	// Endpoint is the record; without a name it gets "door", and the kind is set.
	Endpoint authority.Endpoint
	// Before runs before the endpoint is made: it puts material and fills in the
	// record's credentials. It may be nil.
	Before func(r *Rig, e *authority.Endpoint)
	// After makes what the requests need, keys before all, and may permit itself what
	// that takes: whatever policy is there then is replaced. It may be nil.
	After func(r *Rig)
	// Policy permits all cases; "": everything to whom the endpoint names.
	Policy string
	// Sign gives a request its credential, when nothing of it changes any more. It
	// may be nil.
	Sign func(r *Rig, req *http.Request, body []byte)
	// Cert is the client's certificate; nil: none.
	Cert func(r *Rig) *tls.Certificate
	// Strip takes the credential away again; nil: it takes the Authorization header
	// and the certificate.
	Strip func(req *http.Request)
	// Wrong is how the protocol gives each failure. Malformed, Denied, KeyOff,
	// EndpointOff, NoRoute, NoMethod, TooLarge, TooSlow, TooMany, Unavailable, Sealed
	// and Unauthenticated are required; without MediaType the door takes any.
	Wrong map[gateway.Failure]Expect
	Cases []Case
	// Call sends a request in another way than HTTP.
	Call func(r *Rig, c *Case, req Request) (Reply, error)
}

// Expect judges a reply.
type Expect func(Reply) error

// Case is one valid request to one route.
type Case struct {
	Route string // its name
	Make  func(r *Rig) Request
	Keys  []string // the keys that it uses: switched off one at a time
	// Open routes need no credential and no policy, or no endpoint's: health, public
	// keys, versions.
	Open bool
	// Unlogged routes ask nothing of the choke point, though they need a credential.
	Unlogged bool
	// Free are members of the body, by name, that may have any type.
	Free []string
	// Bodyless routes take a body that is not there, or is null, for an empty one.
	Bodyless bool
	Want     Expect // of a valid request; nil: a status below 300
	// Wrong differs from the suite's.
	Wrong map[gateway.Failure]Expect
	// Deep paths go on as long as the caller likes: a longer one means another thing.
	Deep bool
	// Lists leave out what a caller may not see, and deny nothing.
	Lists bool
	// After runs after each valid request that worked; it undoes what must not be
	// done twice.
	After func(r *Rig)
}

// Request is one request, to the door's own path.
type Request struct {
	Method, Path string
	Header       http.Header
	Body         []byte
}

// Reply is what came back.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// Status expects a status and, unless it is "", a text somewhere in the body.
func Status(status int, text string) Expect {
	return func(r Reply) error {
		if r.Status != status || !contains(r.Body, text) {
			return fmt.Errorf("%d %.300s; want %d with %q", r.Status, r.Body, status, text)
		}
		return nil
	}
}

func (c *Case) expect(s *Suite, f gateway.Failure) Expect {
	if e := c.Wrong[f]; e != nil {
		return e
	}
	return s.Wrong[f]
}

func (c *Case) want(r Reply) error {
	if c.Want != nil {
		return c.Want(r)
	}
	if r.Status >= 300 {
		return fmt.Errorf("%d %.300s", r.Status, r.Body)
	}
	return nil
}

func required() []gateway.Failure {
	return []gateway.Failure{
		gateway.Malformed, gateway.Unauthenticated, gateway.Denied, gateway.KeyOff, gateway.EndpointOff, gateway.NoRoute,
		gateway.NoMethod, gateway.TooLarge, gateway.TooSlow, gateway.TooMany, gateway.Unavailable, gateway.Sealed,
	}
}

func (s *Suite) name() {
	if s.Endpoint.Name == "" {
		s.Endpoint.Name = "door"
	}
	s.Endpoint.Kind = s.Kind.Name
}

// everything is a policy that permits it to whom the endpoint names.
func (s *Suite) everything() string {
	return fmt.Sprintf("permit(principal in Endpoint::%q, action, resource);", s.Endpoint.Name)
}

// Run tries everything.
func Run(t *testing.T, s Suite) {
	t.Helper()
	s.name()
	if s.Policy == "" {
		s.Policy = s.everything()
	}
	for _, f := range required() {
		if s.Wrong[f] == nil {
			t.Fatalf("the suite doesn't say how the protocol gives %s", f)
		}
	}
	for name, try := range map[string]func(*testing.T, *Suite){
		"valid": tryValid, "denied": tryDenied, "switched": trySwitched, "sealed": trySealed, "unwritable": tryUnwritable,
		"bodies": tryBodies, "slow": trySlow, "crowded": tryCrowded,
	} {
		t.Run(name, func(t *testing.T) { try(t, &s) })
	}
}
