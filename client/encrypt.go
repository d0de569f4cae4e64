// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"fmt"
	"io"

	"claviger/client/internal/leases"
	"claviger/envelope"
	"claviger/internal/wire"
)

// EncryptOptions say how to seal. The zero value works.
type EncryptOptions struct {
	// Partition chooses one of a key's unlimited independent keys: a tenant, a day.
	// At most 256 bytes, compared as they are, and public unless hidden.
	Partition []byte
	// HidePartition leaves the partition out of the ciphertext; who opens it has to
	// name it.
	HidePartition bool
	// Context binds the ciphertext to its place, such as a path or a row's id; who
	// opens it gives the same bytes. Without one, whoever controls the storage can
	// swap whole objects of one key and partition.
	Context []byte
	// Workers is how many goroutines EncryptStream and EncryptFile seal with; below
	// 1 means one per available processor.
	Workers int
}

// Sealing returns a Wrapper for the current version of a key, for what has no call
// of its own here: writers, sealers, several keys for one object. It asks for the
// key at each use, so it may be kept.
func (c *Client) Sealing(key string, o EncryptOptions) envelope.Wrapper {
	return wrapper{client: c, ask: sealAsk(key, o)}
}

func sealAsk(key string, o EncryptOptions) leases.Ask {
	return leases.Ask{Name: key, Partition: string(o.Partition), Hidden: o.HidePartition, Operations: opEncrypt}
}

type wrapper struct {
	client *Client
	ask    leases.Ask
	watch  *watch // nil if nobody has to know the lease
}

// Wrap implements envelope.Wrapper.
func (w wrapper) Wrap(ctx context.Context, dek []byte) (slot envelope.Slot, err error) {
	if !wire.ValidKeyName(w.ask.Name) || len(w.ask.Partition) > wire.MaxPartition {
		return envelope.Slot{}, fmt.Errorf("key name or partition is malformed")
	}
	err = w.client.use(ctx, w.ask, func(l *leases.Lease, k *envelope.LeafKey) error {
		if w.watch != nil {
			w.watch.lease.Store(l)
		}
		slot, err = k.Wrap(ctx, dek)
		return err
	})
	return slot, err
}

func (o EncryptOptions) envelope() envelope.Options {
	return envelope.Options{Context: o.Context, Workers: o.Workers}
}

// Encrypt seals plaintext with the current version of a key, named by its path
// name, and returns the object: a header that shows key id, version and partition,
// and the body.
func (c *Client) Encrypt(ctx context.Context, key string, plaintext []byte, o EncryptOptions) ([]byte, error) {
	return envelope.Encrypt(ctx, c.Sealing(key, o), plaintext, o.envelope())
}

// EncryptStream seals all of src into an object on dst and returns the object's
// size. It holds a few MiB, whatever the size.
func (c *Client) EncryptStream(ctx context.Context, key string, dst io.Writer, src io.Reader, o EncryptOptions) (int64, error) {
	w := &watch{client: c}
	return envelope.EncryptStream(ctx, wrapper{c, sealAsk(key, o), w}, dst, w.reader(src), o.envelope())
}

// SealField seals a short value, such as a database column, of at most
// envelope.MaxField bytes, without a header: 83 bytes on top and the partition.
func (c *Client) SealField(ctx context.Context, key string, plaintext []byte, o EncryptOptions) (out []byte, err error) {
	if !wire.ValidKeyName(key) || len(o.Partition) > wire.MaxPartition {
		return nil, fmt.Errorf("seal field: key name or partition is malformed")
	}
	err = c.use(ctx, sealAsk(key, o), func(_ *leases.Lease, k *envelope.LeafKey) error {
		out, err = k.SealField(plaintext, o.Context)
		return err
	})
	return out, err
}
