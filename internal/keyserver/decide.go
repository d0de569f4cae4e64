// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"slices"
	"strconv"
	"time"

	"claviger/internal/audit"
	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/keyserver/policyset"
	"claviger/internal/policy"
	"claviger/internal/wire"
)

// facts are what one decision looks at, taken from the state in one go.
type facts struct {
	epoch   wire.Epoch
	head    wire.Hash
	members wire.Hash
	name    string // of the domain
	policy  *authority.PolicySet
	client  *authority.Client
	revoked bool // everything is
	keys    []*authority.Key
}

// collect takes the facts for some items.
func (c *Core) collect(caller *authn.Caller, items ...wire.Item) facts {
	var f facts
	c.log.View(func(s *authority.State) {
		f.epoch, f.head, f.members, f.name = s.Epoch, s.Head, s.Members.Newest, s.Members.Genesis.Name
		f.policy, f.client, f.revoked = s.Policy, s.Client(caller.ID), s.Revoked
		for _, item := range items {
			if item.Name != "" {
				f.keys = append(f.keys, s.KeyNamed(item.Name))
			} else {
				f.keys = append(f.keys, s.Key(wire.KeyID(item.ID)))
			}
		}
	})
	c.holding.Hear(f.epoch)
	return f
}

// ruling is the decision on one item.
type ruling struct {
	key      *authority.Key
	version  *authority.Version
	allowed  bool
	reason   string // why not
	policies []string
	known    bool     // policy allows it, so the caller may be told of the key's state
	errors   []string // of policies that could not be evaluated: an alarm
}

// reasonNone is said of what no policy permits and of what isn't there alike, so
// that who may not list keys learns nothing from asking.
const reasonNone = policy.ReasonNone

// rule decides one item: policy first, so that the state of a key is told only
// to who may use it.
func (c *Core) rule(f facts, set *policyset.Set, caller *authn.Caller, item wire.Item, key *authority.Key, ask ask) ruling {
	switch {
	case f.revoked:
		return ruling{reason: "everything is revoked"}
	case f.client != nil && f.client.Revoked:
		return ruling{reason: "the client is revoked"}
	case key == nil:
		// Security: a key that isn't there takes the same way as one that is,
		// so that neither answer nor time nor a forbid by name tells them apart.
		r := c.ask(f, set, caller, item, &authority.Key{Name: item.Name, Algorithm: authority.AES256}, ask)
		if r.allowed {
			r.allowed, r.reason = false, reasonNone
		}
		return ruling{reason: r.reason, policies: r.policies}
	}
	r := c.ask(f, set, caller, item, key, ask)
	if r.key, r.known = key, r.allowed; r.allowed {
		r.version, r.reason = usable(key, item)
		r.allowed = r.reason == ""
	}
	return r
}

// ask has policy decide on every action that an item needs.
func (c *Core) ask(f facts, set *policyset.Set, caller *authn.Caller, item wire.Item, key *authority.Key, ask ask) ruling {
	r := ruling{allowed: true}
	for _, action := range ask.actions(item) {
		d := set.Ask(policyset.Question{
			Epoch: f.epoch, Domain: f.name, Caller: caller.ID, Action: action, Key: key,
			Context: policy.Context{Time: ask.now, Purpose: item.Purpose, Partition: string(item.Partition), Reason: ask.reason, Route: ask.route},
		})
		r.errors = append(r.errors, d.Errors...)
		r.policies = append(r.policies, d.Policies...)
		if !d.Allowed {
			r.allowed, r.reason = false, d.Reason
			break
		}
	}
	slices.Sort(r.policies)
	r.policies = slices.Compact(r.policies)
	return r
}

// ask is how the items of a request are asked for.
type ask struct {
	now    time.Time
	reason string
	route  string
	native bool // a release: action release besides the operations
}

func (a ask) actions(item wire.Item) []string {
	if a.native {
		return append([]string{"release"}, item.Operations...)
	}
	return item.Operations
}

// usable finds the version that an item means and says why it can't be used.
func usable(k *authority.Key, item wire.Item) (*authority.Version, string) {
	switch {
	case k.Disabled:
		return nil, "the key is disabled"
	case k.Settings.Attestation != "":
		return nil, "the key asks for attested software and this request carries no evidence"
	case !fits(k.Algorithm, item):
		return nil, "the key's algorithm is not for this purpose or operation"
	}
	v := k.Current()
	if item.Version != 0 {
		v = k.Version(item.Version)
	}
	if v == nil {
		return nil, "the key has no such version"
	}
	switch {
	case v.State == wire.StateDestroyed:
		return nil, "version " + strconv.FormatUint(v.Number, 10) + " is destroyed"
	case v.DestroyAt != 0:
		return nil, "version " + strconv.FormatUint(v.Number, 10) + " is waiting to be destroyed"
	case v.State != wire.StateActive && slices.ContainsFunc(item.Operations, produces):
		return nil, "version " + strconv.FormatUint(v.Number, 10) + " is " + v.State + ": it opens and verifies, nothing else"
	}
	return v, ""
}

// produces reports whether an operation protects something new: that takes an
// active version (SP 800-57 part 1, section 7).
func produces(op string) bool { return op == "encrypt" || op == "wrap" || op == "sign" || op == "mac" }

// fits reports whether purpose and operations go with an algorithm.
func fits(algorithm string, item wire.Item) bool {
	var does, undoes string
	switch item.Purpose {
	case wire.PurposeData:
		does, undoes = "encrypt", "decrypt"
	case wire.PurposeWrap:
		does, undoes = "wrap", "unwrap"
	case wire.PurposeMAC:
		does, undoes = "mac", "verify"
	case wire.PurposeSign:
		does, undoes = "sign", "verify"
	default:
		return false
	}
	for _, op := range item.Operations {
		if op != does && op != undoes {
			return false
		}
	}
	switch algorithm {
	case authority.AES256:
		return item.Purpose == wire.PurposeData || item.Purpose == wire.PurposeWrap
	case authority.HMACSHA:
		return item.Purpose == wire.PurposeMAC
	}
	return item.Purpose == wire.PurposeSign
}

// maxLeafPolicies is how many of the deciding policies a leaf names; the policy
// set that it names too gives the rest.
const maxLeafPolicies = 64

// decisionLeaf records the ruling on one item.
func (c *Core) decisionLeaf(caller *authn.Caller, f facts, set *policyset.Set, item wire.Item, r ruling, a ask) audit.Leaf {
	l := audit.Leaf{
		Time: a.now.UnixMilli(), Kind: audit.Decision, Caller: caller.ID, Action: "release", Operations: item.Operations,
		Resource: item.Name, Version: item.Version, Purpose: item.Purpose, Partition: item.Partition, Route: a.route,
		Stated: clip(a.reason), Epoch: f.epoch, Decision: wire.DecisionDenied, Reason: clip(r.reason),
		Policies:  r.policies[:min(len(r.policies), maxLeafPolicies)],
		PolicySet: set.Blob, Schema: set.Schema,
	}
	if !a.native {
		l.Action = item.Operations[0]
	}
	if item.Name == "" && r.key == nil {
		l.KeyID = wire.KeyID(item.ID)
	}
	if r.key != nil {
		l.Resource, l.KeyID = r.key.Name, r.key.ID
	}
	if r.allowed {
		l.Decision, l.Version = wire.DecisionAllowed, r.version.Number
	}
	return l
}
