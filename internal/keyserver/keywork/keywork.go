// SPDX-License-Identifier: Apache-2.0

package keywork

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	"claviger/envelope"
	"claviger/internal/hierarchy"
	"claviger/internal/kdf"
	"claviger/internal/wire"
)

// ErrInput means that what is to be worked on can't be: a ciphertext that is
// none, or is of another key, or a scheme that the key doesn't have.
var ErrInput = errors.New("can't be done with this input")

// Named says which action policy is asked for an operation of the API, and the
// purpose of the key that it takes; false for no operation.
func Named(operation string) (action, purpose string, ok bool) {
	switch operation {
	case "encrypt", "decrypt":
		return operation, wire.PurposeData, true
	case "seal":
		return "encrypt", wire.PurposeData, true
	case "open":
		return "decrypt", wire.PurposeData, true
	case "wrapping-key":
		return "wrap", wire.PurposeWrap, true
	case "unwrap-rsa":
		return "unwrap", wire.PurposeWrap, true
	case "hand-over":
		return "unwrap", wire.PurposeWrap, true // and, like every release of a key, "release"
	case "sign", "verify":
		return operation, wire.PurposeSign, true
	case "public-key":
		return "verify", wire.PurposeSign, true
	case "mac":
		return operation, wire.PurposeMAC, true
	case "verify-mac":
		return "verify", wire.PurposeMAC, true
	}
	return "", "", false
}

// FromCiphertext lets a field's own header say which key, version and partition
// an item needs; what the caller named must agree. Errors: ErrInput.
func FromCiphertext(item *wire.Item, ciphertext []byte) error {
	ref, err := envelope.InspectField(ciphertext)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInput, err)
	}
	if item.Version != 0 && item.Version != ref.Version {
		return fmt.Errorf("%w: the ciphertext is of version %d", ErrInput, ref.Version)
	}
	item.Version = ref.Version
	if !ref.HidePartition {
		item.Partition = ref.Partition
	}
	if item.Name == "" {
		item.ID = ref.KeyID[:]
	}
	return nil
}

// Worker works with the keys of one domain. It is safe for concurrent use,
// except Forget.
type Worker struct {
	keys   *hierarchy.Hierarchy
	domain wire.DomainID
	cache  *cache
}

// New returns a worker that keeps nothing yet.
func New(keys *hierarchy.Hierarchy, domain wire.DomainID) *Worker {
	return &Worker{keys, domain, newCache(maxKept)}
}

// Forget wipes every kept key. Nothing else may run: a key that is derived
// meanwhile could be of a version that was just erased.
func (w *Worker) Forget() { w.cache.clear() }

// Kept is how many keys are kept.
func (w *Worker) Kept() int {
	w.cache.mu.Lock()
	defer w.cache.mu.Unlock()
	return w.cache.order.Len()
}

// Derive returns a leaf key, outside protected memory because it goes into a
// sealed answer, and its commitment. The caller wipes it. Errors: the
// hierarchy's.
func (w *Worker) Derive(ctx context.Context, v hierarchy.Version, purpose string, partition []byte) ([]byte, wire.Hash, error) {
	k, err := w.leaf(ctx, &v, purpose, partition)
	if err != nil {
		return nil, wire.Hash{}, err
	}
	defer w.cache.giveBack(k)
	return append([]byte(nil), k.leaf.Expose()...), k.kc, nil
}

// leaf takes a leaf from the cache or derives it; the caller gives it back.
func (w *Worker) leaf(ctx context.Context, v *hierarchy.Version, purpose string, partition []byte) (*kept, error) {
	n := nameOf(v, purpose, partition)
	if v.Stored {
		return nil, hierarchy.ErrStored
	}
	if k := w.cache.take(n); k != nil {
		return k, nil
	}
	leaf, err := w.keys.Leaf(ctx, *v, purpose, partition)
	if err != nil {
		return nil, err
	}
	return w.cache.keep(&kept{name: n, leaf: leaf, kc: kdf.Commit(leaf, w.domain)}), nil
}

// Task is what one item asks for, once it is decided.
type Task struct {
	Operation string
	Version   hierarchy.Version
	Partition []byte
	Input     []byte // plaintext, ciphertext or message
	Proof     []byte // signature or MAC to verify
	Context   []byte // bound to a ciphertext
	Scheme    string // of signatures and public-key encryption; "" = the algorithm's default
	Prehashed bool   // Input is the SHA-256 digest of what is signed
	Secret    bool   // seal and open take the key for versioned secrets, which no request can name
}

// Do does a task and returns its output: ciphertext, plaintext, signature, MAC or
// public key (PKIX DER); and whether a signature or MAC verified, which one that
// doesn't is no error. Errors: ErrInput, the hierarchy's.
func (w *Worker) Do(ctx context.Context, t Task) (out []byte, verified bool, err error) {
	use := hierarchy.Use{Partition: t.Partition, Scheme: t.Scheme, Prehashed: t.Prehashed}
	switch t.Operation {
	case "encrypt", "decrypt":
		out, err = w.field(ctx, &t)
	case "seal", "open":
		out, err = w.raw(ctx, &t)
	case "unwrap-rsa":
		out, err = w.keys.Decrypt(ctx, t.Version, t.Scheme, t.Input)
	case "hand-over":
		out, err = w.handOver(ctx, &t)
	case "sign":
		out, err = w.keys.Sign(ctx, t.Version, use, t.Input)
	case "verify":
		err = w.keys.Verify(ctx, t.Version, use, t.Input, t.Proof)
		verified = err == nil
	case "public-key", "wrapping-key":
		var pub any
		if pub, err = w.keys.PublicKey(ctx, t.Version, t.Partition); err == nil {
			out, err = x509.MarshalPKIXPublicKey(pub)
		}
	case "mac":
		var mac [32]byte
		mac, err = w.keys.MAC(ctx, t.Version, t.Partition, t.Input)
		out = mac[:]
	case "verify-mac":
		err = w.keys.VerifyMAC(ctx, t.Version, t.Partition, t.Input, t.Proof)
		verified = err == nil
	}
	switch {
	case errors.Is(err, hierarchy.ErrSignature):
		return nil, false, nil // a wrong signature is an answer, not a failure
	case errors.Is(err, hierarchy.ErrInvalid):
		return nil, false, fmt.Errorf("%w: %w", ErrInput, err)
	case err != nil:
		return nil, false, err
	}
	return out, verified, nil
}

// field seals or opens small data as a field (docs/spec/envelope.md), so that
// the SDK can open what the server sealed and the other way round.
func (w *Worker) field(ctx context.Context, t *Task) ([]byte, error) {
	if t.Operation == "decrypt" {
		have, err := envelope.InspectField(t.Input)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInput, err)
		}
		// Security: the key that policy ruled on is the key that opens (T-03).
		if have.KeyID != t.Version.KeyID || have.Version != t.Version.Number {
			return nil, fmt.Errorf("%w: the ciphertext is of another key", ErrInput)
		}
	}
	k, err := w.leaf(ctx, &t.Version, wire.PurposeData, t.Partition)
	if err != nil {
		return nil, err
	}
	defer w.cache.giveBack(k)
	key, err := w.fieldKey(k)
	if err != nil {
		return nil, err
	}
	var out []byte
	if t.Operation == "encrypt" {
		out, err = key.SealField(t.Input, t.Context)
	} else {
		out, err = key.OpenField(t.Input, t.Context)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err) // too long, or not this key's
	}
	return out, nil
}

// fieldKey makes the key for fields of a leaf once.
func (w *Worker) fieldKey(k *kept) (*envelope.LeafKey, error) {
	k.making.Lock()
	defer k.making.Unlock()
	if k.field != nil {
		return k.field, nil
	}
	leaf := k.leaf.Clone() // NewLeafKey wipes what it gets
	defer leaf.Wipe()
	ref := envelope.Ref{Domain: w.domain, KeyID: k.name.keyID, Version: k.name.version, Partition: []byte(k.name.partition)}
	var err error
	k.field, err = envelope.NewLeafKey(ref, leaf.Expose())
	return k.field, err
}
