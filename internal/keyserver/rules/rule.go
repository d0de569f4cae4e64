// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"slices"
	"time"

	"claviger/internal/audit"
	"claviger/internal/authority"
	"claviger/internal/keyserver/policyset"
	"claviger/internal/policy"
	"claviger/internal/wire"
)

// Ask is how the items of a request are asked for.
type Ask struct {
	Now    time.Time
	Reason string // the caller's own words
	Route  string
	Native bool // a release: action release besides the operations
	// Secret, if it is not empty, names what policy is asked about instead of the
	// key that backs it.
	Secret string
	// Asked is what the caller's protocol says about the request, as the policy
	// schema names it.
	Asked map[string]string
}

// Ruling is the decision on one item.
type Ruling struct {
	Key      *authority.Key // nil: there is none
	Version  *authority.Version
	Allowed  bool
	Cause    Cause
	Reason   string // why not
	Policies []string
	Known    bool     // policy allows it, so the caller may be told of the key's state
	Errors   []string // of policies that could not be evaluated: an alarm
	Record   []byte   // attribute record that it used, nil for a workload
}

// ReasonNone is said of what no policy permits and of what isn't there alike, so
// that who may not list keys learns nothing from asking.
const ReasonNone = policy.ReasonNone

// Rule decides one item: policy first, so that the state of a key is told only to
// who may use it. A nil key is one that isn't there.
func (f *Facts) Rule(set *policyset.Set, a Ask, item wire.Item, key *authority.Key) Ruling {
	if why := f.Barred(); why != "" {
		return Ruling{Cause: CauseRevoked, Reason: why}
	}
	if key == nil || !f.Reaches(key.Name) {
		// Security: a key that isn't there takes the same way as one that is,
		// so that neither answer nor time nor a forbid by name tells them apart.
		r := f.ask(set, a, item, &authority.Key{Name: item.Name, Algorithm: authority.AES256})
		cause := CausePolicy
		if r.Allowed {
			cause = f.Absence(item.Name)
		}
		if r.Allowed || item.Name == "" {
			r.Reason = ReasonNone
		}
		return Ruling{Cause: cause, Reason: r.Reason, Policies: r.Policies, Record: r.Record}
	}
	r := f.ask(set, a, item, key)
	if r.Key, r.Known = key, r.Allowed; r.Allowed {
		r.Version, r.Cause, r.Reason = Usable(key, item)
		r.Allowed = r.Reason == ""
	}
	return r
}

// ask has policy decide on every action that an item needs.
func (f *Facts) ask(set *policyset.Set, a Ask, item wire.Item, key *authority.Key) Ruling {
	subject, err := f.subject(a.Asked)
	if err != nil {
		return Ruling{Reason: policy.ReasonError, Errors: []string{err.Error()}}
	}
	r := Ruling{Allowed: true}
	if subject != nil {
		r.Record = subject.Record
	}
	about := key
	if a.Secret != "" {
		about = nil
	}
	for _, action := range a.actions(item) {
		d := set.Ask(policyset.Question{
			Epoch: f.Epoch, Domain: f.Domain, Caller: f.Caller.ID, Subject: subject, Action: action, Key: about, Secret: a.Secret,
			Context: policy.Context{Time: a.Now, Purpose: item.Purpose, Partition: string(item.Partition), Reason: a.Reason, Route: a.Route},
		})
		r.Errors = append(r.Errors, d.Errors...)
		r.Policies = append(r.Policies, d.Policies...)
		if !d.Allowed {
			r.Allowed, r.Reason = false, d.Reason
			break
		}
	}
	slices.Sort(r.Policies)
	r.Policies = slices.Compact(r.Policies)
	return r
}

func (a Ask) actions(item wire.Item) []string {
	if a.Native {
		return append([]string{"release"}, item.Operations...)
	}
	return item.Operations
}

// maxLeafPolicies is how many of the deciding policies a leaf names; the policy
// set that it names too gives the rest.
const maxLeafPolicies = 64

// Leaf records the ruling on one item.
func (f *Facts) Leaf(set *policyset.Set, a Ask, item wire.Item, r Ruling) audit.Leaf {
	l := audit.Leaf{
		Time: a.Now.UnixMilli(), Kind: audit.Decision, Caller: f.Caller.ID, Action: "release", Operations: item.Operations,
		Resource: item.Name, Version: item.Version, Purpose: item.Purpose, Partition: item.Partition, Route: a.Route,
		Stated: Clip(a.Reason), Epoch: f.Epoch, Decision: wire.DecisionDenied, Reason: Clip(r.Reason),
		Policies:  r.Policies[:min(len(r.Policies), maxLeafPolicies)],
		PolicySet: set.Blob, Schema: set.Schema, Record: r.Record,
	}
	if !a.Native {
		l.Action = item.Operations[0]
	}
	if item.Name == "" && r.Key == nil {
		l.KeyID = wire.KeyID(item.ID)
	}
	if r.Key != nil {
		l.Resource, l.KeyID = r.Key.Name, r.Key.ID
	}
	if r.Allowed {
		l.Decision, l.Version = wire.DecisionAllowed, r.Version.Number
	}
	return l
}

// Clip fits a text into a leaf.
func Clip(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most]
	}
	out := make([]byte, 0, len(s))
	for _, b := range []byte(s) {
		if b < 0x20 || b > 0x7e {
			b = ' '
		}
		out = append(out, b)
	}
	return string(out)
}
