// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"claviger/client/internal/trust"
	"claviger/internal/wire"
)

// keeper keeps in the profile's directory what a client has seen. It is a
// trust.Keeper.
type keeper struct {
	dir    string
	domain wire.DomainID

	mu   sync.Mutex
	pins map[string]wire.KeyID
}

// SaveMark implements trust.Keeper. Several processes may use one profile: what
// another one wrote meanwhile is merged in.
func (k *keeper) SaveMark(m trust.Mark) (trust.Mark, error) {
	err := locked(k.dir, func() error {
		have, err := k.mark()
		if err != nil {
			return err
		}
		m = m.Merge(have)
		return writeFile(filepath.Join(k.dir, fileMark), wire.Marshal(m))
	})
	return m, err
}

// mark reads the mark; the zero Mark if there is none.
func (k *keeper) mark() (trust.Mark, error) {
	data, err := readFile(filepath.Join(k.dir, fileMark), trust.MaxMark)
	if errors.Is(err, fs.ErrNotExist) {
		return trust.Mark{}, nil
	}
	if err != nil {
		return trust.Mark{}, fmt.Errorf("read mark: %w", err)
	}
	return trust.ParseMark(data, k.domain)
}

// SaveMembers implements trust.Keeper. A longer chain that another process wrote
// stays: of two verified chains of one domain, the longer contains the other.
func (k *keeper) SaveMembers(chain [][]byte) error {
	return locked(k.dir, func() error {
		if have, err := k.members(); err == nil && len(have) > len(chain) {
			return nil
		}
		return writeFile(filepath.Join(k.dir, fileMembers), wire.Marshal(chain))
	})
}

func (k *keeper) members() ([][]byte, error) {
	data, err := readFile(filepath.Join(k.dir, fileMembers), 2*wire.MaxMembers)
	if err != nil {
		return nil, fmt.Errorf("read member chain: %w", err)
	}
	var chain [][]byte
	if err := wire.Unmarshal(data, &chain, 2*wire.MaxMembers); err != nil {
		return nil, fmt.Errorf("read member chain: %w", err)
	}
	return chain, nil
}

// TypeProof is the type string of a file in a profile's proofs directory.
const TypeProof = "claviger/v1/proof"

type proof struct {
	_      struct{} `cbor:",toarray"`
	Type   string   // TypeProof
	Kind   string   // type string of Second
	First  []byte   // the message believed before
	Second []byte   // the one that contradicts it
}

// SaveProof implements trust.Keeper. The same proof is kept once.
func (k *keeper) SaveProof(typ string, a, b []byte) error {
	data := wire.Marshal(proof{Type: TypeProof, Kind: typ, First: a, Second: b})
	name := wire.Sum("proof", data).String()[:32] + ".cbor"
	dir := filepath.Join(k.dir, dirProofs)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep proof: %w", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) >= maxProofs {
		return fmt.Errorf("keep proof: more than %d are there", maxProofs)
	}
	if err := writeFile(filepath.Join(dir, name), data); err != nil {
		return fmt.Errorf("keep proof: %w", err)
	}
	return nil
}

// maxProofs keeps a liar from filling the disk; the first ones tell the story.
const maxProofs = 100

type pinsFile struct {
	Schema int               `json:"schema"`
	Keys   map[string]string `json:"keys"`
}

// pinned returns the id that a server signed for a key's name, if one has.
func (k *keeper) pinned(name string) (wire.KeyID, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	id, ok := k.pins[name]
	return id, ok
}

// nameOf returns the pinned name of an id, "" if there is none.
func (k *keeper) nameOf(id wire.KeyID) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, have := range k.pins {
		if have == id {
			return name
		}
	}
	return ""
}

// loadPins reads the pins and adds those of the profile's own list.
func (k *keeper) loadPins(expected []ExpectedKey) error {
	pins, err := k.readPins()
	if err != nil {
		return err
	}
	for _, e := range expected {
		if id, err := parseKeyID(e.ID); err == nil {
			pins[e.Name] = id
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pins = pins
	return nil
}

func (k *keeper) readPins() (map[string]wire.KeyID, error) {
	pins := map[string]wire.KeyID{}
	data, err := readFile(filepath.Join(k.dir, filePins), maxPins)
	if errors.Is(err, fs.ErrNotExist) {
		return pins, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read pinned keys: %w", err)
	}
	var f pinsFile
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil || f.Schema != schema {
		return nil, fmt.Errorf("read pinned keys: %s is malformed", filePins)
	}
	for name, text := range f.Keys {
		id, err := parseKeyID(text)
		if err != nil || !wire.ValidKeyName(name) {
			return nil, fmt.Errorf("read pinned keys: %s is malformed", filePins)
		}
		pins[name] = id
	}
	return pins, nil
}

const maxPins = 1 << 20

// pin notes which id a server signed for a name. A name that has another id
// already is refused: key ids are for ever, and a name that moves to another key
// is how a ciphertext of the wrong key would come to be believed.
func (k *keeper) pin(name string, id wire.KeyID) error {
	if have, ok := k.pinned(name); ok {
		if have != id {
			return fmt.Errorf("%w: key %s has another id than the one pinned", ErrUnexpectedKey, name)
		}
		return nil
	}
	return locked(k.dir, func() error {
		pins, err := k.readPins()
		if err != nil {
			return err
		}
		if have, ok := pins[name]; ok && have != id {
			return fmt.Errorf("%w: key %s has another id than the one pinned", ErrUnexpectedKey, name)
		}
		pins[name] = id
		out := pinsFile{Schema: schema, Keys: map[string]string{}}
		for n, i := range pins {
			out.Keys[n] = i.String()
		}
		data, err := json.MarshalIndent(out, "", "  ")
		if err != nil {
			return fmt.Errorf("keep pinned keys: %w", err)
		}
		if err := writeFile(filepath.Join(k.dir, filePins), append(data, '\n')); err != nil {
			return fmt.Errorf("keep pinned keys: %w", err)
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.pins[name] = id
		return nil
	})
}
