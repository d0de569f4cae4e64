// SPDX-License-Identifier: Apache-2.0

package api

import (
	"time"

	"claviger/internal/audit"
	"claviger/internal/audit/attributes"
	"claviger/internal/wire"
)

// LeafInfo is an audit leaf as the API shows it. Hashes are hexadecimal, times
// RFC 3339 in UTC, the partition base64.
type LeafInfo struct {
	Log        uint64   `json:"log"`
	Index      uint64   `json:"index"`
	Time       string   `json:"time"`
	Kind       string   `json:"kind"`
	Caller     string   `json:"caller,omitempty"`
	Action     string   `json:"action,omitempty"`
	Operations []string `json:"operations,omitempty"`
	Resource   string   `json:"resource,omitempty"`
	KeyID      string   `json:"key_id,omitempty"`
	Version    uint64   `json:"version,omitempty"`
	Purpose    string   `json:"purpose,omitempty"`
	Partition  []byte   `json:"partition,omitempty"`
	Route      string   `json:"route,omitempty"`
	Stated     string   `json:"stated_reason,omitempty"`
	Epoch      string   `json:"epoch"`
	Decision   string   `json:"decision,omitempty"`
	Reason     string   `json:"reason,omitempty"`
	Policies   []string `json:"policies,omitempty"`
	PolicySet  string   `json:"policy_set,omitempty"`
	KC         string   `json:"kc,omitempty"`
	Lease      uint64   `json:"lease_seconds,omitempty"`
	Of         string   `json:"outcome_of,omitempty"`
	Count      uint64   `json:"count,omitempty"`
	Request    string   `json:"request,omitempty"`

	Attributes *Attributes `json:"attributes,omitempty"` // what the decision knew of a subject
}

// Attributes are an attribute record as the API shows it.
type Attributes struct {
	Principal string            `json:"principal"`
	Proved    map[string]any    `json:"proved,omitempty"` // texts, and lists of texts
	Asked     map[string]string `json:"asked,omitempty"`
}

func leafOf(e audit.Entry) LeafInfo {
	l := e.Leaf
	out := LeafInfo{
		Log: e.Position.Log, Index: e.Position.Index, Time: time.UnixMilli(l.Time).UTC().Format(time.RFC3339Nano), Kind: string(l.Kind),
		Caller: l.Caller, Action: l.Action, Operations: l.Operations, Resource: l.Resource, Version: l.Version,
		Purpose: l.Purpose, Partition: l.Partition, Route: l.Route, Stated: l.Stated, Epoch: l.Epoch.String(),
		Decision: l.Decision, Reason: l.Reason, Policies: l.Policies, Lease: l.Lease, Count: l.Count,
		PolicySet: hexOf(l.PolicySet), KC: hexOf(l.KC), Request: hexOf(l.Request),
	}
	if l.KeyID != (wire.KeyID{}) {
		out.KeyID = l.KeyID.String()
	}
	if l.Kind == audit.Outcome {
		out.Of = l.Of.String()
	}
	if r, err := attributes.Parse(l.Record); err == nil {
		out.Attributes = &Attributes{Principal: r.Principal, Proved: r.Proved(), Asked: r.Asked()}
	}
	return out
}

func hexOf(h wire.Hash) string {
	if h.IsZero() {
		return ""
	}
	return h.String()
}
