// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"

	"claviger/internal/wire"
)

// Receipt is what a client's grant says of one leaf: where it stands and what
// it must say. The caller has verified the grant's signature.
type Receipt struct {
	Server   wire.ServerID
	Position Position
	Client   string // the SPIFFE id; the leaf's caller ends with it
	Request  wire.Hash
	Item     uint64
	Epoch    wire.Epoch
	Grant    wire.GrantItem
}

// Receipts returns the receipts that a grant holds, one per item.
func Receipts(g *wire.Grant) []Receipt {
	out := make([]Receipt, len(g.Items))
	for i, item := range g.Items {
		out[i] = Receipt{
			Server: g.Server, Position: Position{Log: item.AuditLog, Index: item.AuditIndex},
			Client: g.Client, Request: g.Request, Item: uint64(i), Epoch: g.Epoch, Grant: item,
		}
	}
	return out
}

// contradiction names the first field in which a leaf differs from the receipt,
// "" if it is the receipt's. Of a refusal only what the client was told counts:
// the leaf may know more of a key than who asked may.
func (r *Receipt) contradiction(l *Leaf) string {
	g := &r.Grant
	allowed := g.Decision == wire.DecisionAllowed
	var kc wire.Hash
	copy(kc[:], g.KC)
	for _, c := range []struct {
		name string
		same bool
	}{
		{"kind", l.Kind == Decision},
		{"request", l.Request == r.Request},
		{"item", l.Item == r.Item},
		{"caller", sameCaller(l.Caller, r.Client)},
		{"epoch", l.Epoch.Compare(r.Epoch) == 0},
		{"decision", l.Decision == g.Decision},
		{"key", !allowed || l.KeyID == g.KeyID && l.Resource == g.Name},
		{"version", !allowed || l.Version == g.Version},
		{"purpose", l.Purpose == g.Purpose},
		{"partition", bytes.Equal(l.Partition, g.Partition)},
		{"key commitment", !allowed || l.KC == kc},
		{"lease", !allowed || l.Lease == uint64(g.Lease)},
	} {
		if !c.same {
			return c.name
		}
	}
	return ""
}

// sameCaller: policy may put a kind before the id, as in "Workload::id".
func sameCaller(caller, client string) bool {
	return caller == client || caller == "Workload::"+client
}
