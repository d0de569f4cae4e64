// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"claviger/internal/authority"
	"claviger/internal/members"
	"claviger/internal/policy"
	"claviger/internal/wire"
)

// ErrNotFound means that the log knows nothing of that name.
var ErrNotFound = errors.New("not found")

// ErrNoChange means that what was asked for is so already.
var ErrNoChange = errors.New("nothing to change")

// maxInviteLife is the longest life of a client's invite.
const maxInviteLife = time.Hour

// NewKey makes the payload that creates a key: its ids are random.
func NewKey(name, algorithm string, s authority.Settings, reason string) authority.KeyCreate {
	p := authority.KeyCreate{Name: name, Algorithm: algorithm, Settings: s, Reason: reason}
	rand.Read(p.ID[:])
	rand.Read(p.Revocation[:])
	return p
}

// KeyNamed finds a key: ErrNotFound.
func KeyNamed(s *authority.State, name string) (*authority.Key, error) {
	if k := s.KeyNamed(name); k != nil {
		return k, nil
	}
	return nil, fmt.Errorf("%w: there is no key named %s", ErrNotFound, name)
}

// ClientID turns what people call a client into its SPIFFE id: a whole one stays
// as it is, anything else is a path below /workload/ of this domain.
func ClientID(s *authority.State, who string) (string, error) {
	id := who
	if !wire.ValidID(who) {
		id = "spiffe://" + s.Members.Genesis.Name + "/workload/" + who
	}
	if !wire.ValidID(id) {
		return "", fmt.Errorf("%q is no name of a client: parts of a-z 0-9 . _ - with single slashes between", who)
	}
	return id, nil
}

// ClientName is the short name of a SPIFFE id: the part below /workload/ if it
// is of this domain.
func ClientName(s *authority.State, id string) string {
	prefix := "spiffe://" + s.Members.Genesis.Name + "/workload/"
	if len(id) > len(prefix) && id[:len(prefix)] == prefix {
		return id[len(prefix):]
	}
	return id
}

// Invite makes an invite for a client and the payload that permits it. The
// invite is a secret: it carries the seed whose public key the log gets. Under
// an outside CA, which alone names the workload, it carries none and payload is
// nil: nothing has to be signed.
func (s *Session) Invite(client string, life time.Duration) (wire.Invite, *authority.Invite, error) {
	if life < time.Minute || life > maxInviteLife {
		return wire.Invite{}, nil, fmt.Errorf("an invite lives for a minute to %v", maxInviteLife)
	}
	if c := s.state.Client(client); c != nil && c.Revoked {
		return wire.Invite{}, nil, fmt.Errorf("%s is revoked", client)
	}
	expires := s.o.Clock.Now().Add(life).UnixMilli()
	inv := wire.Invite{
		Type: wire.TypeInvite, Domain: s.p.Domain, Members: s.state.Members.Newest, Addresses: s.p.Addresses,
		Client: client, Expires: expires,
	}
	rand.Read(inv.ID[:])
	if !embedded(s.state.Members.Anchors, client) {
		return inv, nil, nil
	}
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return wire.Invite{}, nil, fmt.Errorf("make invite: %w", err)
	}
	inv.Seed = private.Seed()
	return inv, &authority.Invite{ID: inv.ID, Client: client, Key: pub, Expires: expires}, nil
}

// embedded reports whether the domain's own CA speaks for a client.
func embedded(anchors []members.Anchor, client string) bool {
	return slices.ContainsFunc(anchors, func(a members.Anchor) bool {
		return a.Embedded && len(client) > len(a.Prefix) && client[:len(a.Prefix)] == a.Prefix
	})
}

// SetPolicy makes the payload that replaces the policy set, once the source has
// been read as policies. ErrNoChange: it is the one in force.
func SetPolicy(s *authority.State, source []byte, reason string) (authority.Policy, error) {
	if _, err := policy.Parse(source); err != nil {
		return authority.Policy{}, fmt.Errorf("policy: %w", err)
	}
	if bytes.Equal(source, s.Policy.Source) {
		return authority.Policy{}, fmt.Errorf("%w: this policy set is in force already", ErrNoChange)
	}
	return authority.Policy{Source: source, Reason: reason}, nil
}

// Allow makes the payload that lets who use a key, and the name of the permit. A
// nil only stands for every use.
func Allow(s *authority.State, who, key string, only []string, reason string) (authority.Policy, string, error) {
	source, id, err := policy.Allow(s.Policy.Source, who, key, only)
	if err != nil {
		return authority.Policy{}, "", err
	}
	p, err := SetPolicy(s, source, reason)
	return p, id, err
}

// AddAdmin makes the payload that adds an admin's key. A threshold of 0 keeps the
// one in force. The new key has to sign too.
func AddAdmin(s *authority.State, key members.Key, threshold uint64) (members.Keys, error) {
	now := s.Members.Keys
	next := members.Keys{Keys: append(slices.Clone(now.Keys), key), Threshold: now.Threshold}
	return checkKeys(next, threshold)
}

// RemoveAdmin makes the payload that removes an admin's key.
func RemoveAdmin(s *authority.State, name string, threshold uint64) (members.Keys, error) {
	now := s.Members.Keys
	next := members.Keys{Threshold: now.Threshold}
	for _, k := range now.Keys {
		if k.Name != name {
			next.Keys = append(next.Keys, k)
		}
	}
	if len(next.Keys) == len(now.Keys) {
		return members.Keys{}, fmt.Errorf("%w: there is no admin named %s", ErrNotFound, name)
	}
	return checkKeys(next, threshold)
}

func checkKeys(next members.Keys, threshold uint64) (members.Keys, error) {
	if threshold > 0 {
		next.Threshold = threshold
	}
	if next.Threshold > uint64(len(next.Keys)) {
		return members.Keys{}, fmt.Errorf("of %d admins %d can't be a quorum: say how many with --threshold, or keep another admin", len(next.Keys), next.Threshold)
	}
	if err := next.Check(); err != nil {
		return members.Keys{}, fmt.Errorf("change admins: %w", err)
	}
	return next, nil
}

// ParseTags reads NAME=VALUE pairs into tags in their order of names.
func ParseTags(pairs []string) ([]authority.Tag, error) {
	var out []authority.Tag
	for _, pair := range pairs {
		name, value, ok := bytes.Cut([]byte(pair), []byte("="))
		if !ok || !wire.ValidNamePart(string(name)) {
			return nil, fmt.Errorf("%q: a tag is NAME=VALUE, the name in a-z 0-9 . _ -", pair)
		}
		out = append(out, authority.Tag{Name: string(name), Value: string(value)})
	}
	slices.SortFunc(out, func(a, b authority.Tag) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	for i := range out[:max(len(out)-1, 0)] {
		if out[i].Name == out[i+1].Name {
			return nil, fmt.Errorf("tag %s is given twice", out[i].Name)
		}
	}
	return out, nil
}
