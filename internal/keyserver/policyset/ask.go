// SPDX-License-Identifier: Apache-2.0

package policyset

import (
	"sync"

	"claviger/internal/authority"
	"claviger/internal/policy"
	"claviger/internal/wire"
)

// maxRemembered is how many decisions are remembered, some hundred bytes each. One
// more drives any other out: whoever asks for many things that aren't there costs
// the others time, and nothing else.
const maxRemembered = 16384

// Question is what a caller asks of the policy.
type Question struct {
	Epoch   wire.Epoch // of the state that the rest is taken from
	Domain  string     // name of the domain
	Caller  string     // SPIFFE id of a workload
	Subject *Subject   // whom a door names; nil: a workload asks
	Action  string
	// Key is the one of the state, or one with a name alone for a key that isn't
	// there.
	Key     *authority.Key
	Secret  string // name of a secret that the question is about; Key is nil then
	Context policy.Context
}

// Ask decides. Of a decision that holds for every context the answer is kept for
// as long as the log stays at its epoch: then caller and key are what they were,
// down to the last attribute, and so is the set.
func (s *Set) Ask(q Question) policy.Decision {
	about := matter{domain: q.Domain, caller: q.Caller, action: q.Action, secret: q.Secret}
	if q.Subject != nil {
		// Security: what was proved and said is part of the question: another token of
		// the same subject may prove other things.
		about.caller, about.record, q.Context.Asked = q.Subject.caller.ID, q.Subject.hash, q.Subject.asked
	}
	if q.Key != nil {
		about.key, about.id = q.Key.Name, q.Key.ID
	}
	if d, ok := s.decisions.recall(q.Epoch, about); ok && q.Context.Check() == nil {
		return d
	}
	d := s.Decide(policy.Request{
		Principal: q.principal(), Action: q.Action, Resource: q.resource(), Context: q.Context,
	})
	if d.Lasting {
		s.decisions.remember(q.Epoch, about, d)
	}
	return d
}

// principal is who asks, as policies see it.
func (q Question) principal() policy.Principal {
	if q.Subject != nil {
		return q.Subject.principal()
	}
	return policy.Workload(q.Caller, q.Domain)
}

// resource is what the question is about, as policies see it.
func (q Question) resource() policy.Resource {
	if q.Key == nil {
		return policy.Resource{Type: "Secret", Name: q.Secret}
	}
	return resource(q.Key)
}

// resource is a key as policies see it.
func resource(k *authority.Key) policy.Resource {
	r := policy.Resource{Type: "Key", Name: k.Name, Attributes: map[string]any{"algorithm": k.Algorithm}}
	if level := attestationLevel(k.Settings.Attestation); level > 0 {
		r.Attributes["attestation"] = level
	}
	if len(k.Settings.Tags) > 0 {
		r.Tags = make(map[string]string, len(k.Settings.Tags))
		for _, t := range k.Settings.Tags {
			r.Tags[t.Name] = t.Value
		}
	}
	return r
}

func attestationLevel(s string) int64 {
	return map[string]int64{"software": 1, "tpm": 2, "tee": 3}[s]
}

// matter is what a decision is about, within one epoch.
type matter struct {
	domain, caller, action, key string
	id                          wire.KeyID // zero of a key that isn't there
	secret                      string     // never empty where key is
	record                      wire.Hash  // of a subject's attribute record; zero of a workload
}

// decisions are those of one epoch. They are safe for concurrent use.
type decisions struct {
	mu    sync.RWMutex
	epoch wire.Epoch
	known map[matter]policy.Decision
}

func (d *decisions) recall(at wire.Epoch, about matter) (policy.Decision, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.epoch != at {
		return policy.Decision{}, false
	}
	answer, ok := d.known[about]
	return answer, ok
}

// remember keeps a decision, unless the log has moved on since its facts were
// taken.
func (d *decisions) remember(at wire.Epoch, about matter, answer policy.Decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at.Compare(d.epoch) < 0 {
		return
	}
	if d.epoch != at {
		d.epoch, d.known = at, make(map[matter]policy.Decision)
	}
	for other := range d.known {
		if len(d.known) < maxRemembered {
			break
		}
		delete(d.known, other)
	}
	d.known[about] = answer
}
