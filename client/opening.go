// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"claviger/client/internal/leases"
	"claviger/client/internal/trust"
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

// with finds a key that may open one of the written Refs and runs f with it and the
// Ref's number. If policy refuses one key that is known to fit, the next is tried.
func (o *Opening) with(ctx context.Context, refs []envelope.Ref, f func(*envelope.LeafKey, int) error) error {
	if err := o.options.check(); err != nil {
		return err
	}
	all, err := o.choose(ctx, refs)
	if err != nil {
		return err
	}
	for _, chosen := range all {
		err = o.use(ctx, chosen, f)
		if !isDenied(err) {
			break
		}
	}
	return err
}

func (o *Opening) use(ctx context.Context, chosen candidate, f func(*envelope.LeafKey, int) error) error {
	return o.client.use(ctx, chosen.ask, func(l *leases.Lease, k *envelope.LeafKey) error {
		if err := o.admit(l, chosen); err != nil {
			return err
		}
		o.watch.lease.Store(l)
		if err := f(k, chosen.slot); err != nil {
			return err
		}
		o.opened = Opened{Key: l.Item.Name, ID: l.Item.KeyID.String(), Version: l.Item.Version, State: l.Item.State}
		return nil
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

// choose picks the slots to try and how to ask for their keys: what is pinned,
// which needs no request, or else what asking finds. It returns at least one, or an
// error.
func (o *Opening) choose(ctx context.Context, refs []envelope.Ref) ([]candidate, error) {
	pinned, unknown, partition := o.sort(refs)
	if len(pinned) == 0 && len(unknown) > 1 && !o.options.AnyKey {
		denied, err := o.learn(ctx, unknown[0].ask)
		if err != nil {
			return nil, err
		}
		if pinned, _, _ = o.sort(refs); len(pinned) == 0 && denied != nil {
			return nil, denied
		}
		unknown = nil
	}
	switch {
	case len(pinned) > 0:
		return pinned, nil
	case len(unknown) > 0:
		found, err := o.find(ctx, unknown)
		if err != nil {
			return nil, err
		}
		return []candidate{found}, nil
	case partition:
		return nil, fmt.Errorf("%w: the ciphertext is of another partition", ErrUnexpectedKey)
	}
	return nil, fmt.Errorf("%w: the ciphertext is of another key", ErrUnexpectedKey)
}

// sort tells the slots whose id is pinned to an expected name from those whose id
// nobody signed a name for, each ask once; partition says that some are of one that
// is not permitted.
func (o *Opening) sort(refs []envelope.Ref) (pinned, unknown []candidate, partition bool) {
	seen := map[leases.Ask]bool{}
	for i, ref := range refs {
		p, ok := o.options.partitionOf(ref)
		if !ok {
			partition = true
			continue
		}
		c := candidate{slot: i, id: ref.KeyID, ask: leases.Ask{
			ID: ref.KeyID, Version: ref.Version, Partition: string(p), Operations: opDecrypt,
		}}
		name := o.client.kept.NameOf(ref.KeyID)
		switch {
		case seen[c.ask]:
		case name == "":
			unknown = append(unknown, c)
		case o.options.expects(name):
			pinned = append(pinned, c)
		}
		seen[c.ask] = true
	}
	return pinned, unknown, partition
}

// unpinned are the expected names whose id is not known yet. One whose id is pinned
// has another id than any unknown slot's.
func (o *Opening) unpinned() []string {
	var out []string
	for _, name := range o.options.Keys {
		if _, pinned := o.client.kept.Pinned(name); !pinned && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// learn asks for the expected names' ids, by their current versions, in like of an
// ask for a slot. It returns the first denial.
//
// Security: a header of many slots is then worth no more requests than one of two:
// each that is refused counts against this client's budget (T-56).
func (o *Opening) learn(ctx context.Context, like leases.Ask) (denied, err error) {
	var asks []leases.Ask
	for _, name := range o.unpinned() {
		asks = append(asks, leases.Ask{Name: name, Partition: like.Partition, Operations: opDecrypt})
	}
	if len(asks) == 0 {
		return nil, nil
	}
	answer, err := o.ask(ctx, asks)
	if err != nil {
		return nil, err
	}
	defer answer.Wipe()
	for i, ask := range asks {
		l, err := o.client.accept(answer, i, ask)
		if err != nil {
			denied = firstOf(denied, err)
			continue
		}
		l.Drop()
	}
	return denied, nil
}

func (o *Opening) ask(ctx context.Context, asks []leases.Ask) (*trust.Answer, error) {
	if len(asks) > wire.MaxItems {
		return nil, fmt.Errorf("%d keys are expected whose ids are not known yet: at most %d can be asked for at once", len(asks), wire.MaxItems)
	}
	return o.client.release(ctx, itemsOf(asks))
}

// find asks for what may open the unknown slots, in one request: by id if any key
// may, or else for one slot by each expected name. It returns the first whose signed
// id is that of its slot. What the answer tells of names and ids is pinned, so the
// next object of that key is asked for by id.
func (o *Opening) find(ctx context.Context, unknown []candidate) (candidate, error) {
	all := unknown
	if !o.options.AnyKey {
		all = nil
		for _, name := range o.unpinned() {
			c := unknown[0]
			c.ask.Name, c.ask.ID = name, wire.KeyID{}
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return candidate{}, fmt.Errorf("%w: the ciphertext is of another key", ErrUnexpectedKey)
	}
	if len(all) == 1 && all[0].ask.Name == "" {
		return all[0], nil // use asks for it, and admit judges it
	}
	asks := make([]leases.Ask, len(all))
	for i, c := range all {
		asks[i] = c.ask
	}
	answer, err := o.ask(ctx, asks)
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
