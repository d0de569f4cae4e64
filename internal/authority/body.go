// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"crypto"
	"crypto/rand"
	"fmt"
	"time"

	"claviger/internal/authority/endpoints"
	"claviger/internal/authority/secretring"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// PendingLife is how long a body may wait for signatures.
const PendingLife = 7 * 24 * time.Hour

// NewBody returns the body of a change, ready to be signed: it names the state's
// newest record as its base and what it replaces. Object is "" for kinds of the
// member chain; otherwise use [Object].
func (s *State) NewBody(kind, object string, payload any, expires time.Time) wire.Body {
	body := wire.Body{
		Type: wire.TypeBody, Domain: s.Members.Domain, Kind: kind, Base: s.Epoch, BaseHead: s.Head,
		Expires: expires.UnixMilli(), Replaces: s.Replaces(object), Payload: wire.Marshal(payload),
	}
	if members.IsKind(kind) || kind == KindRecoverBegin {
		body.Replaces = s.Members.Newest
	}
	rand.Read(body.ID[:])
	return body
}

// Object names what a payload is about, as NewBody needs it.
func Object(payload any) string {
	switch p := payload.(type) {
	case Policy:
		return "policy"
	case Confirm:
		return "admin:" + p.Admin
	case InviteRule:
		return "rule:" + p.Admin
	case Invite:
		return "invite:" + p.ID.String()
	case Enrolled:
		return "client:" + p.Client
	case Subject:
		if p.Client == "" {
			return objectDomain
		}
		return "client:" + p.Client
	case KeyCreate:
		return object(p.ID)
	case KeySettings:
		return object(p.ID)
	case KeyRef:
		return object(p.ID)
	case VersionRef:
		return object(p.ID)
	case KeyVersion:
		return object(p.ID)
	case Destroy:
		return object(p.ID)
	case Backup:
		return "backup:" + p.ID.String()
	case BackupGone:
		return "backup:" + p.ID.String()
	case Anchor:
		return "server:" + p.Server.String()
	case Receipt:
		return "server:" + p.Server.String()
	case EndpointSet:
		return endpoints.Object(p.Endpoint.Name)
	case EndpointDisable:
		return endpoints.Object(p.Name)
	case EndpointRef:
		return endpoints.Object(p.Name)
	case SecretWritten:
		return secretring.Object(p.Name)
	case Erasure:
		return "erasure"
	}
	return objectMembers
}

// Entry makes and signs a body about a payload of this package or of package
// members.
func (s *State) Entry(kind string, payload any, expires time.Time, keys ...crypto.Signer) ([]byte, error) {
	body := s.NewBody(kind, Object(payload), payload, expires)
	entry, err := wire.Sign(wire.TypeBody, wire.Marshal(body), keys...)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", kind, err)
	}
	return entry, nil
}

// Genesis returns the signed first entry of a new domain.
func Genesis(g members.Genesis, now time.Time, keys ...crypto.Signer) ([]byte, error) {
	body := wire.Body{Type: wire.TypeBody, Kind: members.KindGenesis, Expires: now.Add(time.Hour).UnixMilli(), Payload: wire.Marshal(g)}
	rand.Read(body.ID[:])
	return wire.Sign(wire.TypeBody, wire.Marshal(body), keys...)
}

// Read parses a signed entry without judging it: its body and decoded payload
// are for showing to people before they sign.
func Read(entry []byte) (*wire.Body, error) {
	_, body, err := parseEntry(entry)
	return body, err
}
