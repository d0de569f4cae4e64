// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"errors"
	"fmt"
	"time"

	"claviger/internal/wire"
)

// ErrNoKey means that no present descriptor opens a message: it is damaged, or
// made for one that has ended.
var ErrNoKey = errors.New("no present descriptor opens it; fetch the introduction again")

const (
	descriptorLife  = 24 * time.Hour
	descriptorRenew = 12 * time.Hour
)

// clockStep is how far the wall clock may go back, against the boot clock,
// before every request made until then is void.
const clockStep = 2 * time.Second

// described is a descriptor and its private key.
type described struct {
	key    *wire.Key
	signed []byte
	hash   wire.Hash
	issued time.Time
}

func (id *Identity) wallOffset() time.Duration {
	return time.Duration(id.o.Clock.Now().UnixNano()) - id.o.Clock.Boot()
}

func (id *Identity) describe() (described, error) {
	d := described{key: wire.NewKey(), issued: id.o.Clock.Now()}
	payload := wire.Descriptor{
		Type: wire.TypeDescriptor, Domain: id.o.Domain, Server: id.o.Server, HPKE: d.key.Public(), TLS: id.o.TLSKey,
		Mailbox: id.o.Mailbox, Issued: d.issued.UnixMilli(), NotAfter: d.issued.Add(descriptorLife).UnixMilli(),
	}
	var err error
	d.signed, err = wire.Sign(wire.TypeDescriptor, wire.Marshal(payload), id.o.Signer)
	d.hash = wire.DescriptorHash(d.signed)
	return d, err
}

// Refresh makes a new descriptor twice a day and forgets the private key of one
// that has ended, whether anybody asks or not.
func (id *Identity) Refresh() error {
	id.mu.Lock()
	defer id.mu.Unlock()
	return id.renew()
}

func (id *Identity) renew() error {
	now, offset := id.o.Clock.Now(), id.wallOffset()
	// Security: set back, the clock would make requests good again that were
	// answered and forgotten. Their keys go, so nothing opens them.
	back := offset < id.offset-clockStep
	id.offset = offset
	age := now.Sub(id.current.issued)
	if !back && age >= 0 && age <= descriptorRenew {
		if id.former != nil && now.Sub(id.former.issued) > descriptorLife {
			id.forget()
		}
		return nil
	}
	next, err := id.describe()
	if err != nil {
		return err
	}
	id.forget()
	old := id.current
	id.former, id.current = &old, next
	if back || age > descriptorLife {
		id.forget()
	}
	if back {
		id.statement = nil
		id.o.Logger.Warn("The clock was set back; clients fetch a new descriptor")
	}
	return nil
}

// forget drops the former descriptor's private key.
func (id *Identity) forget() {
	if id.former != nil {
		id.former.key.Wipe()
		id.former = nil
	}
}

// Introduction is the current descriptor with the member chain.
func (id *Identity) Introduction() (wire.Introduction, error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	if err := id.renew(); err != nil {
		return wire.Introduction{}, err
	}
	out := wire.Introduction{Descriptor: id.current.signed}
	out.Members = id.o.Log.Chain()
	return out, nil
}

// Open opens a sealed message with the key of the descriptor it was sealed to,
// and returns that descriptor's hash; ErrNoKey if no present one opens it.
func (id *Identity) Open(typ string, sealed []byte, limit int) ([]byte, wire.Hash, error) {
	id.mu.Lock()
	err := id.renew()
	tries := []described{id.current}
	if id.former != nil {
		tries = append(tries, *id.former)
	}
	id.mu.Unlock()
	if err != nil {
		return nil, wire.Hash{}, err
	}
	for _, d := range tries {
		var plain []byte
		if plain, err = d.key.Open(typ, d.hash, sealed, limit); err == nil {
			return plain, d.hash, nil
		}
	}
	return nil, wire.Hash{}, fmt.Errorf("%w: %w", ErrNoKey, err)
}
