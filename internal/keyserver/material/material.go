// SPDX-License-Identifier: Apache-2.0

// Package material keeps what the credentials of endpoints are made of: shared
// secrets and registered keys. The authority log names each by its hash and holds
// none itself; here they lie in slots, sealed.
//
// # Which function for which need
//
//   - An admin's program makes a secret, asks the server to keep it
//     ([Materials.Put]), and names what [Hash] gives in the endpoint's record.
//   - A door reads what a record names with [Materials.Get].
//   - A server calls [Materials.Sweep] now and then: what no record names is
//     removed when nothing that waits for signatures can name it any more.
//
// # What it deliberately does not do
//
// It makes no secrets and judges none. The hash stands in records that admins
// read, so it must not lead back to the secret: only random secrets of 256 bits
// or more may be kept here (or what is no secret, such as a public key), never a
// word that a person chose.
//
// # Threats
//
// Whoever controls the store can withhold or destroy a slot, which darkens the
// endpoint, and no more: a slot is sealed under the root-derived slot seal for
// one hash and one domain, and the hash is checked when it is read, so that none
// can be swapped for another or be changed. What was dropped from the log is not
// read again, though its slot may survive in the store: [Materials.Get] asks the
// state first.
package material

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"claviger/internal/authority"
	"claviger/internal/authority/atrest"
	"claviger/internal/authority/endpoints"
	"claviger/internal/clock"
	"claviger/internal/secret"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// Sizes of what is kept, in bytes.
const (
	MinSize = 16
	MaxSize = 4 << 10
)

const (
	// MaxLoose is how many slots may lie there that no record names: what was put
	// for a change that was never made.
	MaxLoose = 64

	prefix     = "material/"
	head       = 8                                   // bytes before the material: when it was last named, Unix milliseconds
	touchEvery = 24 * time.Hour                      // how exactly that is kept
	looseLife  = authority.PendingLife + 2*time.Hour // a body that waits can name it for as long
	tries      = 8
)

var (
	// ErrSize means that the material is too short or too long.
	ErrSize = fmt.Errorf("%w: a credential's material has %d to %d bytes", wire.ErrMalformed, MinSize, MaxSize)
	// ErrFull means that MaxLoose slots lie there that no record names.
	ErrFull = fmt.Errorf("%d credentials wait to be named by an endpoint: sign, or wait for a week", MaxLoose)
	// ErrUnnamed means that no endpoint names the material now.
	ErrUnnamed = errors.New("no endpoint names this credential")
	// ErrGone means that the slot is missing, was changed, or is another's.
	ErrGone = errors.New("the credential's slot is missing or was changed")
	// ErrStore means that the store fails.
	ErrStore = errors.New("the store of credentials fails")
)

// Slots is where they lie: a store.Slots.
type Slots = store.Slots

// Log is the authority log as it is looked at.
type Log interface{ View(func(*authority.State)) }

// Materials of one domain. It holds nothing: making one costs nothing.
type Materials struct {
	Store  Slots
	Seal   *secret.Bytes // the slot seal; its owner wipes it
	Domain wire.DomainID
	Log    Log
	Clock  clock.Clock
}

// Hash names material in the authority log.
func Hash(data []byte) wire.Hash { return endpoints.MaterialHash(data) }

// Put keeps data, which its owner wipes. Putting it twice is putting it once.
func (m *Materials) Put(ctx context.Context, data []byte) (wire.Hash, error) {
	if len(data) < MinSize || len(data) > MaxSize {
		return wire.Hash{}, ErrSize
	}
	h := Hash(data)
	if err := m.room(ctx, h); err != nil {
		return h, err
	}
	var err error
	for range tries {
		var version uint64
		if _, version, err = m.Store.Get(ctx, slot(h)); err != nil && !errors.Is(err, store.ErrNotFound) {
			return h, fmt.Errorf("%w: %w", ErrStore, err)
		}
		if err = m.Store.Put(ctx, slot(h), version, m.seal(h, data)); !errors.Is(err, store.ErrConflict) {
			break
		}
	}
	if err != nil {
		return h, fmt.Errorf("%w: %w", ErrStore, err)
	}
	return h, nil
}

// room reports nil if one more may lie there that no record names.
func (m *Materials) room(ctx context.Context, h wire.Hash) error {
	named, loose := m.named(), 0
	for e, err := range m.Store.List(ctx, prefix) {
		if err != nil {
			return fmt.Errorf("%w: %w", ErrStore, err)
		}
		if e.Key != slot(h) && !named[e.Key] {
			loose++
		}
	}
	// Security: an admin's stolen key must not fill the store.
	if loose >= MaxLoose && !named[slot(h)] {
		return ErrFull
	}
	return nil
}

// Get returns what a hash names; the caller wipes it.
func (m *Materials) Get(ctx context.Context, h wire.Hash) (*secret.Bytes, error) {
	// Security: what people took out of the record opens nothing, from then on.
	if !m.names(h) {
		return nil, ErrUnnamed
	}
	plain, err := m.read(ctx, h)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(plain)
	return secret.Take(plain[head:]), nil
}

// Kept reports nil if what a hash names is kept here, whether a record names it
// or not.
func (m *Materials) Kept(ctx context.Context, h wire.Hash) error {
	plain, err := m.read(ctx, h)
	secret.Wipe(plain)
	return err
}

func (m *Materials) read(ctx context.Context, h wire.Hash) ([]byte, error) {
	sealed, _, err := m.Store.Get(ctx, slot(h))
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	return m.open(h, sealed)
}

// Sweep removes what no record has named for longer than a body waits for
// signatures. What is named is marked once a day, so that this can be told.
func (m *Materials) Sweep(ctx context.Context) error {
	named, now := m.named(), m.Clock.Now()
	type change struct {
		key     string
		version uint64
		value   []byte // nil: remove
	}
	var changes []change
	for e, err := range m.Store.List(ctx, prefix) {
		if err != nil {
			return fmt.Errorf("%w: %w", ErrStore, err)
		}
		h, ok := hashOf(e.Key)
		plain, err := m.open(h, e.Value)
		if !ok || err != nil {
			if !named[e.Key] { // never ours: a store that was tampered with
				changes = append(changes, change{e.Key, e.Version, nil})
			}
			continue
		}
		age := now.Sub(time.UnixMilli(int64(binary.BigEndian.Uint64(plain))))
		switch {
		case named[e.Key] && age > touchEvery:
			changes = append(changes, change{e.Key, e.Version, m.seal(h, plain[head:])})
		case !named[e.Key] && age > looseLife+touchEvery:
			changes = append(changes, change{e.Key, e.Version, nil})
		}
		secret.Wipe(plain)
	}
	var errs []error
	for _, c := range changes {
		// A conflict is another server that does the same.
		if err := m.Store.Put(ctx, c.key, c.version, c.value); err != nil && !errors.Is(err, store.ErrConflict) {
			errs = append(errs, fmt.Errorf("%w: %w", ErrStore, err))
		}
	}
	return errors.Join(errs...)
}

// named are the slots that records name.
func (m *Materials) named() map[string]bool {
	out := map[string]bool{}
	m.Log.View(func(s *authority.State) {
		for e := range s.Endpoints() {
			for _, c := range e.Credentials {
				out[slot(c.Material)] = true
			}
		}
	})
	return out
}

// names reports whether a record names the hash.
func (m *Materials) names(h wire.Hash) (found bool) {
	m.Log.View(func(s *authority.State) {
		for e := range s.Endpoints() {
			for _, c := range e.Credentials {
				found = found || c.Material == h
			}
		}
	})
	return found
}

func slot(h wire.Hash) string { return prefix + h.String() }

func hashOf(key string) (h wire.Hash, ok bool) {
	text := strings.TrimPrefix(key, prefix)
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(h) {
		return h, false
	}
	copy(h[:], raw)
	return h, slot(h) == key
}

func (m *Materials) box() atrest.Box {
	return atrest.Box{Key: m.Seal, Domain: m.Domain, Label: "endpoint-material"}
}

// place binds a slot to its domain and hash.
func (m *Materials) place(h wire.Hash) []byte { return append(m.Domain[:], h[:]...) }

func (m *Materials) seal(h wire.Hash, data []byte) []byte {
	plain := make([]byte, head, head+len(data))
	binary.BigEndian.PutUint64(plain, uint64(m.Clock.Now().UnixMilli()))
	plain = append(plain, data...)
	defer secret.Wipe(plain)
	return m.box().Seal(plain, m.place(h))
}

func (m *Materials) open(h wire.Hash, sealed []byte) ([]byte, error) {
	plain, err := m.box().Open(sealed, m.place(h))
	if err != nil || len(plain) < head {
		return nil, ErrGone
	}
	// Security: the seal is the servers' and says who wrote it; the log says what.
	// Only both together make it the credential that people signed.
	if Hash(plain[head:]) != h {
		secret.Wipe(plain)
		return nil, ErrGone
	}
	return plain, nil
}
