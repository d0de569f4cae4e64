// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto/ed25519"

	"claviger/internal/wire"
)

// Obeyed is a statement whose revocations are carried out.
type Obeyed struct {
	Epoch wire.Epoch
	Head  wire.Hash
	At    int64 // Unix milliseconds in the time of the server that is told
	Gone  bool  // everything was dropped, revoked or not: the holder ends
}

// Mailbox signs acknowledgements with the key that the holder's requests named.
type Mailbox interface {
	Public() ed25519.PublicKey
	Sign(typ string, payload []byte) ([]byte, error)
}

// Obeyed says that news has been carried out now. The time can be late by what a
// message took, never early.
func (v *View) Obeyed(news *News, server wire.ServerID) Obeyed {
	v.mu.Lock()
	defer v.mu.Unlock()
	return Obeyed{Epoch: news.epoch, Head: news.head, At: v.estimate(server)}
}

// Gone says that all leases are dropped now, for good.
func (v *View) Gone(server wire.ServerID) Obeyed {
	v.mu.Lock()
	defer v.mu.Unlock()
	return Obeyed{Epoch: v.mark.Epoch, Head: v.mark.Head, At: v.estimate(server), Gone: true}
}

// Ack seals the word to the server that news was obeyed.
func (v *View) Ack(p *Peer, m Mailbox, o Obeyed) ([]byte, error) {
	signed, err := m.Sign(wire.TypeAck, wire.Marshal(wire.Ack{
		Type: wire.TypeAck, Domain: v.domain, Mailbox: m.Public(), Descriptor: p.Hash, Epoch: o.Epoch, Head: o.Head,
		At: o.At, NotAfter: v.notAfter(p, 0), Gone: o.Gone,
	}))
	if err != nil {
		return nil, err
	}
	return v.pad.Seal(p.Descriptor.HPKE, wire.TypeAck, p.Hash, signed)
}
