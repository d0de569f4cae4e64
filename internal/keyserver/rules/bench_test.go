// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"testing"

	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/keyserver/policyset"
	"claviger/internal/policy"
	"claviger/internal/wire"
)

// BenchmarkRule is a decision whose answer is remembered, with its leaf: of a
// workload, and of a subject with what its door says.
func BenchmarkRule(b *testing.B) {
	parsed, err := policy.Parse([]byte(everything))
	if err != nil {
		b.Fatal(err)
	}
	set := &policyset.Set{Set: parsed}
	key, item := keyOf(wire.StateActive), dataItem(0, "encrypt")
	workload := Facts{Caller: &authn.Caller{Kind: authn.Workload, ID: "spiffe://acme.example/workload/app1"}, Domain: "acme.example", Epoch: wire.Epoch{Generation: 1, Position: 5}}
	a := now()
	b.Run("workload", func(b *testing.B) {
		for b.Loop() {
			f := workload
			r := f.Rule(set, a, item, key)
			f.Leaf(set, a, item, r)
		}
	})
	a.Asked = map[string]string{"kmsOperation": "Encrypt", "kmsKeyArn": "arn:aws:kms:eu-central-1:123456789012:key/0f0e0d0c-0b0a-0908-0706-050403020100"}
	subject := *subjectFacts()
	subject.endpoint = &authority.EndpointState{Endpoint: authority.Endpoint{Name: "xks-prod", Kind: "xks"}}
	b.Run("subject", func(b *testing.B) {
		for b.Loop() {
			f := subject
			r := f.Rule(set, a, item, key)
			f.Leaf(set, a, item, r)
		}
	})
}
