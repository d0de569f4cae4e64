// SPDX-License-Identifier: Apache-2.0

package secretwork

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/authority/secretring"
	"claviger/internal/keyserver/executor"
	"claviger/internal/keyserver/keywork"
	"claviger/internal/secret"
	"claviger/internal/secrets"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// place is what a sealed document is bound to.
type place struct {
	_        struct{} `cbor:",toarray"`
	Type     string
	Domain   wire.DomainID
	Name     string
	Revision uint64
}

const typeDocument = "claviger/v1/secret"

func (w *Worker) bound(name string, revision uint64) []byte {
	return wire.Marshal(place{Type: typeDocument, Domain: w.o.Domain, Name: name, Revision: revision})
}

// prefix is what the slots of a name begin with.
func prefix(name string) string {
	h := secretring.Hash(name)
	return "secret/" + h.String() + "/"
}

// slot is the key of a sealed document. Its revision has a fixed width, so that
// slots of one name come in the order of their revisions.
func slot(name string, revision uint64, sealed wire.Hash) string {
	return prefix(name) + fmt.Sprintf("%016x", revision) + "-" + sealed.String()
}

// errSlot says that the store has no slot for what the log names, or another value
// in it.
var errSlot = errors.New("the store shows another document than the log names, or none")

// itself and itsFolder choose a secret of a view.
func itself(v *view) *authority.Secret    { return v.row }
func itsFolder(v *view) *authority.Secret { return v.folder }

// load reads and opens a document of a view, nil if there is none. While it looks,
// the secret may change; then it goes on with what is there by then.
func (w *Worker) load(ctx context.Context, caller *authn.Caller, a *Ask, v *view, which func(*view) *authority.Secret) (*secrets.Document, error) {
	for range 8 {
		row := which(v)
		if row == nil || row.Key != v.key.ID {
			return nil, nil
		}
		d, err := w.openDocument(ctx, v.key, row)
		if !errors.Is(err, errSlot) {
			return d, err
		}
		if err := w.o.Refresh(ctx); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrStore, err)
		}
		*v = w.look(caller, a)
		// Security: the log still names this document, and the store has another:
		// one that was put back, swapped or lost (T-84).
		if again := which(v); again != nil && again.Revision == row.Revision {
			w.alarm("secret " + row.Name + ": " + errSlot.Error())
			return nil, fmt.Errorf("%w: %w", ErrStore, errSlot)
		}
	}
	return nil, fmt.Errorf("%w: %w", ErrStore, ErrMoved)
}

// openDocument reads one sealed document. The errors: errSlot, ErrStore, those of
// keys.
func (w *Worker) openDocument(ctx context.Context, key *authority.Key, row *authority.Secret) (*secrets.Document, error) {
	sealed, _, err := w.o.Slots.Get(ctx, slot(row.Name, row.Revision, row.Slot))
	if errors.Is(err, store.ErrNotFound) {
		return nil, errSlot
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	if wire.Hash(sha256.Sum256(sealed)) != row.Slot {
		return nil, errSlot
	}
	plain, err := w.work(ctx, "open", key, row.Written, sealed)
	if errors.Is(err, keywork.ErrInput) {
		return nil, errSlot // a server sealed it otherwise than it said
	}
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(plain)
	d, err := secrets.Decode(plain)
	if err != nil {
		return nil, errSlot
	}
	return d, nil
}

// work seals or opens with the key of a name: at is what the log says of it. No erasure epoch changes meanwhile.
func (w *Worker) work(ctx context.Context, operation string, key *authority.Key, at authority.SecretWritten, input []byte) ([]byte, error) {
	kv := key.Version(at.Version)
	if kv == nil {
		return nil, errSlot
	}
	done, err := w.o.Turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	w.o.Using.Lock()
	defer w.o.Using.Unlock()
	h := secretring.Hash(at.Name)
	out, _, err := w.o.Keys.Do(ctx, keywork.Task{
		Operation: operation, Version: executor.VersionOf(key, kv), Partition: h[:], Input: input, Context: w.bound(at.Name, at.Revision), Secret: true,
	})
	return out, err
}

// settings are those of a folder; a document that was read before is not read
// again.
func (w *Worker) settings(ctx context.Context, caller *authn.Caller, a *Ask, v *view) (secrets.Settings, error) {
	if v.folder == nil {
		return secrets.Settings{}, nil
	}
	w.mu.Lock()
	have, ok := w.folders[v.key.Name]
	w.mu.Unlock()
	if ok && have.slot == v.folder.Slot {
		return have.settings, nil
	}
	d, err := w.load(ctx, caller, a, v, itsFolder)
	if d == nil {
		return secrets.Settings{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.folders) >= maxFolders {
		clear(w.folders)
	}
	w.folders[v.key.Name] = folder{slot: v.folder.Slot, settings: d.Settings}
	return d.Settings, nil
}

// maxFolders bounds the settings that are remembered.
const maxFolders = 4096

// write seals a document as the next revision, and puts it into its slot.
func (w *Worker) seal(ctx context.Context, v *view, name string, plain []byte) (authority.SecretWritten, error) {
	next := authority.SecretWritten{Name: name, Revision: v.next, Key: v.key.ID}
	current := v.key.Current()
	if current == nil {
		return next, fmt.Errorf("%w: the key has no version that seals", authority.ErrRefused)
	}
	next.Version = current.Number
	sealed, err := w.work(ctx, "seal", v.key, next, plain)
	if err != nil {
		return next, err
	}
	next.Slot = wire.Hash(sha256.Sum256(sealed))
	if err := w.o.Slots.Put(ctx, slot(name, v.next, next.Slot), 0, sealed); err != nil {
		return next, fmt.Errorf("%w: %w", ErrStore, err)
	}
	return next, nil
}
