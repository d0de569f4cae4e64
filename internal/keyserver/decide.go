// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/keyserver/rules"
	"claviger/internal/wire"
)

// collect takes the facts for some items from the state in one go.
func (c *Core) collect(caller *authn.Caller, items ...wire.Item) rules.Facts {
	var f rules.Facts
	c.log.View(func(s *authority.State) { f = rules.Look(s, caller, items) })
	c.holding.Hear(f.Epoch)
	return f
}

// denied words a refusal. The key's name is what the caller said, unless policy
// lets it use the key.
func denied(caller *authn.Caller, item wire.Item, r rules.Ruling) *Denial {
	name := item.Name
	if r.Known {
		name = r.Key.Name
	}
	if name == "" {
		name = wire.KeyID(item.ID).String()
	}
	return &Denial{Caller: caller.ID, Operation: item.Operations[0], Key: name, Reason: r.Reason, Cause: r.Cause}
}
