// SPDX-License-Identifier: Apache-2.0

package keywork

import (
	"context"
	"crypto/rand"
	"fmt"

	"claviger/internal/hierarchy"
	"claviger/internal/kdf"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// The raw form (docs/spec/hierarchy.md, section 2.4): salt ‖ nonce ‖ ciphertext ‖
// tag. What a door carries where is its business.
const (
	RawSalt     = 15                          // bytes
	RawNonce    = 12                          // bytes
	RawTag      = 16                          // bytes
	RawOverhead = RawSalt + RawNonce + RawTag // bytes
	rawHead     = RawSalt + RawNonce
)

// raw seals or opens a message whose ciphertext is no longer than its plaintext.
func (w *Worker) raw(ctx context.Context, t *Task) ([]byte, error) {
	opening := t.Operation == "open"
	if opening && len(t.Input) < RawOverhead {
		return nil, fmt.Errorf("%w: it is too short", ErrInput)
	}
	purpose := wire.PurposeData
	if t.Secret {
		purpose = hierarchy.PurposeSecret
	}
	k, err := w.leaf(ctx, &t.Version, purpose, t.Partition)
	if err != nil {
		return nil, err
	}
	defer w.cache.giveBack(k)
	var head []byte
	if opening {
		head = t.Input[:rawHead]
	} else {
		head = make([]byte, rawHead, RawOverhead+len(t.Input))
		rand.Read(head)
	}
	key := kdf.RawKey(k.leaf, w.domain, head[:RawSalt])
	defer key.Wipe()
	aead, err := secret.NewBriefAEAD(key)
	if err != nil {
		return nil, err
	}
	defer aead.Wipe()
	if !opening {
		return aead.Seal(head, head[RawSalt:], t.Input, t.Context), nil
	}
	out, err := aead.Open(nil, head[RawSalt:], t.Input[rawHead:], t.Context)
	if err != nil {
		return nil, fmt.Errorf("%w: it does not open", ErrInput)
	}
	return out, nil
}

// handOver gives the key itself: a copy in ordinary memory, for who may have it.
func (w *Worker) handOver(ctx context.Context, t *Task) ([]byte, error) {
	leaf, _, err := w.Derive(ctx, t.Version, wire.PurposeWrap, t.Partition)
	return leaf, err
}
