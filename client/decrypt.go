// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"io"

	"claviger/envelope"
	"claviger/internal/wire"
)

// DecryptOptions say what may be opened. One of Keys and AnyKey is required:
// storage that is not trusted must not choose the key.
type DecryptOptions struct {
	Keys []string // path names of the keys that may open it
	// AnyKey permits every key that this client may use. The result says which it
	// was.
	AnyKey bool
	// Partition, if not nil, is the only one permitted; it is required for a
	// ciphertext that hides its partition.
	Partition []byte
	// Context is what the ciphertext was sealed with.
	Context []byte
	// AllowCompromised permits key versions that are marked as compromised: to save
	// data, knowing that somebody else may have written it.
	AllowCompromised bool
	// Workers is how many goroutines DecryptStream and DecryptFile open with; below
	// 1 means one per available processor.
	Workers int
}

func (o DecryptOptions) envelope() envelope.Options {
	return envelope.Options{Context: o.Context, Workers: o.Workers}
}

// Opened says which key opened something.
type Opened struct {
	Key     string // path name
	ID      string // key id, hexadecimal
	Version uint64
	State   string // of the version: "active", "deactivated", "compromised"
}

// Opening is an envelope.Unwrapper for one object, for what has no call of its own
// here: readers at any place, headers stored apart.
type Opening struct {
	client  *Client
	options DecryptOptions
	opened  Opened
	watch   watch
}

// Opening returns an Unwrapper that permits what o does. Use one for one object:
// it remembers which key opened it.
func (c *Client) Opening(o DecryptOptions) *Opening {
	return &Opening{client: c, options: o, watch: watch{client: c}}
}

// Opened says which key opened the object; zero before that.
func (o *Opening) Opened() Opened { return o.opened }

// Decrypt opens an object. Which key it needs stands in its header; a key that is
// not expected is refused, where possible before any request. Errors: those of
// this package, and envelope's ErrFormat and ErrIntegrity.
func (c *Client) Decrypt(ctx context.Context, ciphertext []byte, o DecryptOptions) ([]byte, Opened, error) {
	opening := c.Opening(o)
	plaintext, err := envelope.Decrypt(ctx, opening, ciphertext, o.envelope())
	return plaintext, opening.opened, err
}

// DecryptStream opens the object that src holds to dst. What it writes is
// authentic, but only a nil error says that it is the whole.
func (c *Client) DecryptStream(ctx context.Context, dst io.Writer, src io.Reader, o DecryptOptions) (Opened, error) {
	opening := c.Opening(o)
	_, err := envelope.DecryptStream(ctx, opening, dst, opening.watch.reader(src), o.envelope())
	return opening.opened, err
}

// Rewrap returns a header for the same body whose slot is of key's current
// version in place of the one that o permits to open. It is for rotation: who kept
// the old header and has the old key can still open the body.
func (c *Client) Rewrap(ctx context.Context, header []byte, key string, o DecryptOptions, seal EncryptOptions) ([]byte, Opened, error) {
	opening := c.Opening(o)
	out, err := envelope.Rewrap(ctx, opening, c.Sealing(key, seal), header)
	return out, opening.opened, err
}

// OpenField opens what SealField sealed.
func (c *Client) OpenField(ctx context.Context, ciphertext []byte, o DecryptOptions) ([]byte, Opened, error) {
	ref, err := envelope.InspectField(ciphertext)
	if err != nil {
		return nil, Opened{}, err
	}
	opening := c.Opening(o)
	var plaintext []byte
	err = opening.with(ctx, []envelope.Ref{ref}, func(k *envelope.LeafKey, _ int) error {
		plaintext, err = k.OpenField(ciphertext, o.Context)
		return err
	})
	return plaintext, opening.opened, err
}

// Unwrap implements envelope.Unwrapper.
func (o *Opening) Unwrap(ctx context.Context, slots []envelope.Slot) (out envelope.Unwrapped, err error) {
	refs := make([]envelope.Ref, len(slots))
	for i, s := range slots {
		refs[i] = s.Ref
	}
	err = o.with(ctx, refs, func(k *envelope.LeafKey, slot int) error {
		out, err = k.Unwrap(ctx, slots[slot:slot+1])
		out.Slot = slot
		return err
	})
	return out, err
}

// partitionOf returns the partition that a written Ref is to be opened with, and
// whether o permits it.
func (o DecryptOptions) partitionOf(ref envelope.Ref) ([]byte, bool) {
	switch {
	case ref.HidePartition:
		return o.Partition, true
	case o.Partition == nil || bytes.Equal(o.Partition, ref.Partition):
		return ref.Partition, true
	}
	return nil, false
}

// expects reports whether a key of this name may open.
func (o DecryptOptions) expects(name string) bool {
	if o.AnyKey {
		return true
	}
	for _, have := range o.Keys {
		if have == name {
			return true
		}
	}
	return false
}

// check refuses options that expect nothing, or name no key.
func (o DecryptOptions) check() error {
	if len(o.Keys) == 0 && !o.AnyKey {
		return ErrNoExpectation
	}
	for _, name := range o.Keys {
		if !wire.ValidKeyName(name) {
			return errKeyName
		}
	}
	return nil
}
