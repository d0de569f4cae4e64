// SPDX-License-Identifier: Apache-2.0

package bearer

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"claviger/internal/authn"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// SharedPrefix begins the text of a shared secret with its name.
const SharedPrefix = "cvs."

// Shared is a secret that somebody was given.
type Shared struct {
	ID      string // public
	Subject string // whom it names within the endpoint
	// Secret reads it from where it is kept. Who calls it wipes what it gives.
	Secret func(context.Context) (*secret.Bytes, error)
}

// Text writes a secret with its name as one word. It is secret.
func Text(id string, s *secret.Bytes) string {
	return SharedPrefix + base64.RawURLEncoding.EncodeToString([]byte(id)) + "." + base64.RawURLEncoding.EncodeToString(s.Expose())
}

// Parse reads what Text wrote. The caller wipes the secret.
func Parse(text string) (id string, s *secret.Bytes, err error) {
	rest, ok := strings.CutPrefix(text, SharedPrefix)
	name, value, found := strings.Cut(rest, ".")
	if !ok || !found || len(text) > MaxToken {
		return "", nil, refused("no secret of ours")
	}
	id64, err := decode(name)
	if err != nil {
		return "", nil, refused("no secret of ours")
	}
	data, err := decode(value)
	if err != nil || len(data) == 0 || len(id64) == 0 {
		return "", nil, refused("no secret of ours")
	}
	return string(id64), secret.Take(data), nil
}

// Check makes the Caller of a secret that was shown under a name, if it is one of
// those that are live at the endpoint.
func Check(ctx context.Context, at Endpoint, live []Shared, id string, shown *secret.Bytes) (*authn.Caller, error) {
	have, subject := secret.Random(32), "" // nobody's, so that an unknown name costs the same
	defer func() { have.Wipe() }()
	if i := slices.IndexFunc(live, func(s Shared) bool { return s.ID == id }); i >= 0 {
		kept, err := live[i].Secret(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the credential: %w", err)
		}
		have.Wipe()
		have, subject = kept, live[i].Subject
	}
	// Security: in constant time (T-77), and an empty subject names nobody.
	if !have.Equal(shown) || subject == "" {
		return nil, refused("there is no such name, or its secret is another")
	}
	claims := authn.SubjectClaims{Endpoint: at.Name, EndpointKind: at.Kind, Name: subject, Key: wire.Sum("shared", []byte(id))}
	if err := claims.Check(); err != nil {
		return nil, err
	}
	return authn.SubjectCaller(claims), nil
}
