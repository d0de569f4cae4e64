// SPDX-License-Identifier: Apache-2.0

package transit

import (
	"context"
	"crypto/rand"

	"claviger/internal/gateway/vaultapi/call"
	"claviger/internal/keyserver"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// sealing is the use that seals an item.
func (m *Mount) sealing(c *call.Call, name string, i *item) *work {
	w := &work{}
	var part []byte
	switch {
	case !i.Plaintext.Set:
		w.err = call.Bad("missing plaintext to encrypt")
	case i.Plaintext.Fault != nil:
		w.err = i.Plaintext.Fault
	case i.Associated.Fault != nil:
		w.err = i.Associated.Fault
	default:
		part, w.err = m.partition(c, &i.Context)
	}
	w.use = &keyserver.Use{
		Operation: "seal", Item: wire.Item{Name: name, Version: uint64(i.KeyVersion.Value), Partition: part},
		Input: i.Plaintext.Value, Context: binding(i.Associated.Value),
	}
	return w
}

// opening is the use that opens an item.
func (m *Mount) opening(c *call.Call, name string, i *item) *work {
	w := &work{}
	var part, data []byte
	var version uint64
	switch {
	case i.Ciphertext == "":
		w.err = call.Bad("missing ciphertext to decrypt")
	case i.Associated.Fault != nil:
		w.err = i.Associated.Fault
	default:
		if version, data, w.err = ciphertext(i.Ciphertext); w.err == nil {
			part, w.err = m.partition(c, &i.Context)
		}
	}
	w.use = &keyserver.Use{
		Operation: "open", Item: wire.Item{Name: name, Version: version, Partition: part}, Input: data, Context: binding(i.Associated.Value),
	}
	return w
}

func (m *Mount) encrypt(ctx context.Context, c *call.Call) (*call.Reply, error) {
	name, err := m.key(c)
	if err != nil {
		return nil, err
	}
	r, all, err := read(c)
	if err != nil {
		return nil, err
	}
	defer wipeAll(all)
	kind, err := typeNamed(r.Type)
	if err != nil {
		return nil, err
	}
	works := each(all, func(i *item) *work { return m.sealing(c, name, i) })
	if err = m.run(ctx, c, works); causeIs(err, keyserver.CauseAbsent) {
		// As Vault does for who may create on this path.
		if _, err = c.Do(ctx, &keyserver.CreateKey{Name: name, Algorithm: kind.ours, Route: route}); err != nil {
			return nil, err
		}
		works = each(all, func(i *item) *work { return m.sealing(c, name, i) })
		err = m.run(ctx, c, works)
	}
	if err != nil {
		return nil, err
	}
	return r.answer(works, func(i int) result { return sealed(works[i]) })
}

func sealed(w *work) result {
	return result{ciphertext: format(w.used.Version, w.used.Output), version: w.used.Version}
}

func each(all []*item, use func(*item) *work) []*work {
	out := make([]*work, len(all))
	for n, i := range all {
		out[n] = use(i)
	}
	return out
}

func (m *Mount) decrypt(ctx context.Context, c *call.Call) (*call.Reply, error) {
	name, err := m.key(c)
	if err != nil {
		return nil, err
	}
	r, all, err := read(c)
	if err != nil {
		return nil, err
	}
	works := each(all, func(i *item) *work { return m.opening(c, name, i) })
	defer wipeOutputs(works)
	if err := m.run(ctx, c, works); err != nil {
		return nil, err
	}
	return r.answer(works, func(i int) result {
		plain := works[i].used.Output
		if plain == nil {
			plain = []byte{}
		}
		return result{plaintext: plain}
	})
}

func wipeOutputs(works []*work) {
	for _, w := range works {
		if w.used != nil {
			secret.Wipe(w.used.Output)
		}
	}
}

// rewrap opens and seals again. The key's newest version seals, under the same
// context and the same associated data, which Vault itself refuses here.
func (m *Mount) rewrap(ctx context.Context, c *call.Call) (*call.Reply, error) {
	name, err := m.key(c)
	if err != nil {
		return nil, err
	}
	r, all, err := read(c)
	if err != nil {
		return nil, err
	}
	opened := each(all, func(i *item) *work { return m.opening(c, name, i) })
	defer wipeOutputs(opened)
	if err := m.run(ctx, c, opened); err != nil {
		return nil, err
	}
	works := make([]*work, len(all))
	for n, i := range all {
		if works[n] = opened[n]; opened[n].err == nil {
			i.Plaintext = call.Bytes{Set: true, Value: opened[n].used.Output}
			works[n] = m.sealing(c, name, i)
		}
	}
	if err := m.run(ctx, c, works); err != nil {
		return nil, err
	}
	return r.answer(works, func(i int) result { return sealed(works[i]) })
}

func (m *Mount) dataKey(ctx context.Context, c *call.Call) (*call.Reply, error) {
	plain := c.PathValue("kind") == "plaintext"
	if !plain && c.PathValue("kind") != "wrapped" {
		return nil, call.Bad("Invalid path, must be 'plaintext' or 'wrapped'")
	}
	name, err := m.key(c)
	if err != nil {
		return nil, err
	}
	r, all, err := read(c)
	if err != nil {
		return nil, err
	}
	defer wipeAll(all)
	if r.Batch != nil {
		return nil, call.Bad("data keys don't come in batches")
	}
	bits := int64(256)
	if r.Bits.Set {
		bits = r.Bits.Value
	}
	if bits != 128 && bits != 256 && bits != 512 {
		return nil, call.Bad("invalid bit length")
	}
	r.Plaintext = call.Bytes{Set: true, Value: make([]byte, bits/8)}
	rand.Read(r.Plaintext.Value)
	works := each(all, func(i *item) *work { return m.sealing(c, name, i) })
	if err := m.run(ctx, c, works); err != nil {
		return nil, err
	}
	return r.answer(works, func(i int) result {
		out := sealed(works[i])
		if plain {
			out.plaintext = r.Plaintext.Value
		}
		return out
	})
}
