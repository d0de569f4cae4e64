// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"claviger/envelope"
	"claviger/internal/audit"
	"claviger/internal/authn"
	"claviger/internal/hierarchy"
	"claviger/internal/keyserver/executor"
	"claviger/internal/wire"
)

// useOperations maps what the API offers to the policy action and the purpose.
func useOperations() map[string][2]string {
	return map[string][2]string{
		"encrypt": {"encrypt", wire.PurposeData}, "decrypt": {"decrypt", wire.PurposeData},
		"sign": {"sign", wire.PurposeSign}, "verify": {"verify", wire.PurposeSign}, "public-key": {"verify", wire.PurposeSign},
		"mac": {"mac", wire.PurposeMAC}, "verify-mac": {"verify", wire.PurposeMAC},
	}
}

// use has the server use a key for one item: decide, record, act, answer.
func (c *Core) use(ctx context.Context, caller *authn.Caller, op *Use) (Answer, error) {
	row, ok := useOperations()[op.Operation]
	if !ok {
		return nil, fmt.Errorf("%w: unknown operation", ErrMalformed)
	}
	item := op.Item
	item.Operations, item.Purpose = []string{row[0]}, row[1]
	if op.Operation == "decrypt" {
		if err := fromCiphertext(&item, op.Input); err != nil {
			return nil, err
		}
	}
	if err := item.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	done, err := c.work(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	out, ticket, err := c.decideUse(ctx, caller, op, item)
	if ticket == nil {
		return nil, err
	}
	done()
	// Security: no durable leaf, no answer, and no refusal either (T-71).
	if err := c.wait(ctx, *ticket); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// decideUse decides, records and acts. Without a ticket nothing was recorded.
func (c *Core) decideUse(ctx context.Context, caller *authn.Caller, op *Use, item wire.Item) (*Used, *audit.Ticket, error) {
	c.switching.RLock()
	defer c.switching.RUnlock()
	f := c.collect(caller, item)
	set, err := c.currentPolicy(f.policy)
	if err != nil {
		return nil, nil, err
	}
	a := ask{now: c.Now(), route: op.Route}
	r := c.rule(f, set, caller, item, f.keys[0], a)
	c.policyErrors(r.errors)
	leaf := c.decisionLeaf(caller, f, set, item, r, a)
	leaf.Request, leaf.Item = op.Request, op.Index
	_, ticket, err := c.enter(leaf)
	if err != nil {
		return nil, nil, err
	}
	if !r.allowed {
		return nil, &ticket, denied(caller, item, r)
	}
	out, err := c.act(ctx, op, r, item)
	return out, &ticket, err
}

// denied words a refusal. The key's name is what the caller said, unless policy
// lets it use the key.
func denied(caller *authn.Caller, item wire.Item, r ruling) *Denial {
	name := item.Name
	if r.known {
		name = r.key.Name
	}
	if name == "" {
		name = wire.KeyID(item.ID).String()
	}
	return &Denial{Caller: caller.ID, Operation: item.Operations[0], Key: name, Reason: r.reason}
}

// fromCiphertext lets a field's own header say which key, version and partition
// it needs; what the caller named must agree.
func fromCiphertext(item *wire.Item, ciphertext []byte) error {
	ref, err := envelope.InspectField(ciphertext)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if item.Version != 0 && item.Version != ref.Version {
		return fmt.Errorf("%w: the ciphertext is of version %d", ErrMalformed, ref.Version)
	}
	item.Version = ref.Version
	if !ref.HidePartition {
		item.Partition = ref.Partition
	}
	if item.Name == "" {
		item.ID = ref.KeyID[:]
	}
	return nil
}

// act does what was decided.
func (c *Core) act(ctx context.Context, op *Use, r ruling, item wire.Item) (*Used, error) {
	v := executor.VersionOf(r.key, r.version)
	out := &Used{Key: r.key.Name, ID: r.key.ID, Version: r.version.Number}
	u := hierarchy.Use{Partition: item.Partition, Scheme: op.Scheme}
	var err error
	switch op.Operation {
	case "encrypt", "decrypt":
		out.Output, err = c.actField(ctx, op, r, item)
	case "sign":
		out.Output, err = c.keys.Sign(ctx, v, u, op.Input)
	case "verify":
		err = c.keys.Verify(ctx, v, u, op.Input, op.Proof)
		out.Verified = err == nil
	case "public-key":
		var pub any
		if pub, err = c.keys.PublicKey(ctx, v, item.Partition); err == nil {
			out.Output, err = x509.MarshalPKIXPublicKey(pub)
		}
	case "mac":
		var mac [32]byte
		mac, err = c.keys.MAC(ctx, v, item.Partition, op.Input)
		out.Output = mac[:]
	case "verify-mac":
		err = c.keys.VerifyMAC(ctx, v, item.Partition, op.Input, op.Proof)
		out.Verified = err == nil
	}
	if errors.Is(err, hierarchy.ErrSignature) {
		return out, nil // a wrong signature is an answer, not a failure
	}
	if errors.Is(err, hierarchy.ErrInvalid) || errors.Is(err, envelope.ErrIntegrity) {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return out, keyError(err)
}

// actField seals or opens small data as a field (docs/spec/envelope.md), so that
// the SDK can open what the server sealed and the other way round.
func (c *Core) actField(ctx context.Context, op *Use, r ruling, item wire.Item) ([]byte, error) {
	leaf, err := c.keys.Leaf(ctx, executor.VersionOf(r.key, r.version), item.Purpose, item.Partition)
	if err != nil {
		return nil, err
	}
	defer leaf.Wipe()
	ref := envelope.Ref{Domain: c.o.Domain, KeyID: r.key.ID, Version: r.version.Number, Partition: item.Partition}
	if op.Operation == "decrypt" {
		have, err := envelope.InspectField(op.Input)
		if err != nil {
			return nil, err
		}
		// Security: the key that policy ruled on is the key that opens (T-03).
		if have.KeyID != r.key.ID || have.Version != r.version.Number {
			return nil, fmt.Errorf("%w: the ciphertext is of another key", ErrMalformed)
		}
		ref.HidePartition = have.HidePartition
	}
	key, err := envelope.NewLeafKey(ref, leaf.Expose())
	if err != nil {
		return nil, err
	}
	defer key.Wipe()
	if op.Operation == "encrypt" {
		return key.SealField(op.Input, op.Context)
	}
	return key.OpenField(op.Input, op.Context)
}

// list says which keys a workload may use: it has seen nothing else of the
// domain, so it can't list what it may not use.
func (c *Core) list(ctx context.Context, caller *authn.Caller) (Answer, error) {
	all := c.allKeys()
	f := c.collect(caller)
	set, err := c.currentPolicy(f.policy)
	if err != nil {
		return nil, err
	}
	leaf := c.leaf(caller, audit.Decision, "list")
	leaf.Decision, leaf.Reason = wire.DecisionAllowed, "what the caller may use"
	switch {
	case f.revoked:
		leaf.Decision, leaf.Reason = wire.DecisionDenied, "everything is revoked"
	case f.client != nil && f.client.Revoked:
		leaf.Decision, leaf.Reason = wire.DecisionDenied, "the client is revoked"
	}
	if err := c.record(ctx, leaf); err != nil {
		return nil, err
	}
	if !leaf.Allowed() {
		return nil, &Denial{Caller: caller.ID, Operation: "list", Key: "keys", Reason: leaf.Reason}
	}
	out := &Listed{}
	a := ask{now: c.Now(), route: "native"}
	for _, k := range all {
		info := KeyInfo{Name: k.Name, ID: k.ID, Algorithm: k.Algorithm}
		for _, op := range operationsOf(k.Algorithm) {
			item := wire.Item{Name: k.Name, Purpose: op.purpose, Operations: []string{op.name}}
			if r := c.rule(f, set, caller, item, k, a); r.allowed {
				info.Operations, info.Version = append(info.Operations, op.name), r.version.Number
			}
		}
		if len(info.Operations) > 0 {
			out.Keys = append(out.Keys, info)
		}
	}
	return out, nil
}

type namedOperation struct{ name, purpose string }

func operationsOf(algorithm string) []namedOperation {
	switch algorithm {
	case "aes256":
		return []namedOperation{{"encrypt", wire.PurposeData}, {"decrypt", wire.PurposeData}, {"wrap", wire.PurposeWrap}, {"unwrap", wire.PurposeWrap}}
	case "hmac-sha256":
		return []namedOperation{{"mac", wire.PurposeMAC}, {"verify", wire.PurposeMAC}}
	}
	return []namedOperation{{"sign", wire.PurposeSign}, {"verify", wire.PurposeSign}}
}
