// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"

	"claviger/client/internal/leases"
	"claviger/envelope"
	"claviger/internal/wire"
)

var errKeyName = errors.New("key name is malformed")

// candidate is one slot together with an ask that may open it.
type candidate struct {
	slot int
	id   wire.KeyID // that the slot names
	ask  leases.Ask
}

// with finds the one key that may open one of the written Refs and runs f with it
// and the Ref's number.
func (o *Opening) with(ctx context.Context, refs []envelope.Ref, f func(*envelope.LeafKey, int) error) error {
	if err := o.options.check(); err != nil {
		return err
	}
	chosen, err := o.choose(ctx, refs)
	if err != nil {
		return err
	}
	return o.client.use(ctx, chosen.ask, func(l *leases.Lease, k *envelope.LeafKey) error {
		if err := o.admit(l, chosen); err != nil {
			return err
		}
		o.watch.lease.Store(l)
		o.opened = Opened{Key: l.Item.Name, ID: l.Item.KeyID.String(), Version: l.Item.Version, State: l.Item.State}
		return f(k, chosen.slot)
	})
}

// admit holds a lease against what is expected: its signed name and id, and the
// state of its version.
func (o *Opening) admit(l *leases.Lease, c candidate) error {
	// Security: without this, storage chooses among all keys that this client may
	// use, and plants what somebody else sealed (T-03).
	if l.Item.KeyID != c.id || !o.options.expects(l.Item.Name) {
		return fmt.Errorf("%w: the ciphertext is of another key than %s", ErrUnexpectedKey, l.Item.Name)
	}
	if l.Item.State == wire.StateCompromised && !o.options.AllowCompromised {
		return fmt.Errorf("%w: %s version %d", ErrCompromised, l.Item.Name, l.Item.Version)
	}
	return nil
}

// choose picks the slot to open and how to ask for its key: first by what is
// pinned, which needs no request, then by asking.
func (o *Opening) choose(ctx context.Context, refs []envelope.Ref) (candidate, error) {
	partition := false
	var unknown []candidate
	for i, ref := range refs {
		p, ok := o.options.partitionOf(ref)
		if !ok {
			partition = true
			continue
		}
		name := o.client.kept.NameOf(ref.KeyID)
		byID := candidate{slot: i, id: ref.KeyID, ask: leases.Ask{
			ID: ref.KeyID, Version: ref.Version, Partition: string(p), Operations: opDecrypt,
		}}
		switch {
		case name != "" && o.options.expects(name):
			return byID, nil
		case name != "": // pinned as a key that is not expected
		case o.options.AnyKey:
			unknown = append(unknown, byID)
		default:
			unknown = append(unknown, o.byName(byID)...)
		}
	}
	switch {
	case len(unknown) > 0:
		return o.find(ctx, unknown)
	case partition:
		return candidate{}, fmt.Errorf("%w: the ciphertext is of another partition", ErrUnexpectedKey)
	}
	return candidate{}, fmt.Errorf("%w: the ciphertext is of another key", ErrUnexpectedKey)
}

// byName turns a candidate into one for each expected name whose id is not known
// yet. A name whose id is pinned has another id than this slot's.
func (o *Opening) byName(c candidate) []candidate {
	var out []candidate
	for _, name := range o.options.Keys {
		if _, pinned := o.client.kept.Pinned(name); pinned {
			continue
		}
		named := c
		named.ask.Name, named.ask.ID = name, wire.KeyID{}
		out = append(out, named)
	}
	return out
}

// find asks for all candidates in one request and returns the first whose signed
// id is that of its slot. What the answer tells of names and ids is pinned, so the
// next object of that key is asked for by id.
func (o *Opening) find(ctx context.Context, all []candidate) (candidate, error) {
	all = all[:min(len(all), wire.MaxItems)]
	if len(all) == 1 && all[0].ask.Name == "" {
		return all[0], nil // use asks for it, and admit judges it
	}
	items := make([]wire.Item, len(all))
	for i, c := range all {
		items[i] = itemOf(c.ask)
	}
	answer, err := o.client.release(ctx, items)
	if err != nil {
		return candidate{}, err
	}
	defer answer.Wipe()
	var failed error
	for i, c := range all {
		l, err := o.client.accept(answer, i, c.ask)
		if err != nil {
			failed = firstOf(failed, err)
			continue
		}
		if l.Item.KeyID == c.id {
			c.ask.Name, c.ask.ID = "", c.id
			o.client.cache.Put(c.ask, l)
			return c, nil
		}
		l.Drop()
		failed = fmt.Errorf("%w: the ciphertext is of another key than %s", ErrUnexpectedKey, l.Item.Name)
	}
	return candidate{}, failed
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
