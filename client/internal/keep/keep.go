// SPDX-License-Identifier: Apache-2.0

package keep

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"claviger/client/internal/trust"
	"claviger/internal/wire"
)

// Names in a profile's directory.
const (
	FileMembers = "members"
	FileMark    = "mark"
	FilePins    = "pins.json"
	DirReceipts = "receipts"
	DirProofs   = "proofs"

	fileLock = "lock"
	schema   = 1
)

// ErrUnexpectedKey means that a key's name stands for another id than it did.
var ErrUnexpectedKey = errors.New("not one of the expected keys")

// Dir is a profile's directory. It is a trust.Keeper, and safe for concurrent
// use, by several processes too.
type Dir struct {
	dir    string
	domain wire.DomainID

	mu     sync.Mutex
	pins   map[string]wire.KeyID
	names  map[wire.KeyID]string // pins by id
	tokens *tokens               // nil before they are read
}

// New returns the Dir of a profile of the given domain. It reads nothing yet.
func New(dir string, domain wire.DomainID) *Dir { return &Dir{dir: dir, domain: domain} }

// Path is the directory.
func (k *Dir) Path() string { return k.dir }

// SaveMark implements trust.Keeper. Several processes may use one profile: what
// another one wrote meanwhile is merged in.
func (k *Dir) SaveMark(m trust.Mark) (trust.Mark, error) {
	err := Locked(k.dir, func() error {
		have, err := k.Mark()
		if err != nil {
			return err
		}
		merged, err := m.Merge(have)
		if err != nil {
			m = have
			return err
		}
		m = merged
		return WriteFile(filepath.Join(k.dir, FileMark), wire.Marshal(m))
	})
	return m, err
}

// Mark reads the mark; the zero Mark if there is none.
func (k *Dir) Mark() (trust.Mark, error) {
	data, err := ReadFile(filepath.Join(k.dir, FileMark), trust.MaxMark)
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
func (k *Dir) SaveMembers(chain [][]byte) error {
	return Locked(k.dir, func() error {
		if have, err := k.Members(); err == nil && len(have) > len(chain) {
			return nil
		}
		return WriteFile(filepath.Join(k.dir, FileMembers), wire.Marshal(chain))
	})
}

// Members reads the member chain, of which nothing is verified.
func (k *Dir) Members() ([][]byte, error) {
	data, err := ReadFile(filepath.Join(k.dir, FileMembers), 2*wire.MaxMembers)
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

// Proof is what such a file holds, in the encoding of package wire.
type Proof struct {
	_      struct{} `cbor:",toarray"`
	Type   string   // TypeProof
	Kind   string   // type string of Second
	First  []byte   // the message believed before
	Second []byte   // the one that contradicts it
}

// SaveProof implements trust.Keeper. The same proof is kept once.
func (k *Dir) SaveProof(typ string, a, b []byte) error {
	data := wire.Marshal(Proof{Type: TypeProof, Kind: typ, First: a, Second: b})
	name := wire.Sum("proof", data).String()[:32] + ".cbor"
	dir := filepath.Join(k.dir, DirProofs)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep proof: %w", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) >= maxProofs {
		return fmt.Errorf("keep proof: more than %d are there", maxProofs)
	}
	if err := WriteFile(filepath.Join(dir, name), data); err != nil {
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

// Pinned returns the id that a server signed for a key's name, if one has.
func (k *Dir) Pinned(name string) (wire.KeyID, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	id, ok := k.pins[name]
	return id, ok
}

// NameOf returns the pinned name of an id, "" if there is none.
func (k *Dir) NameOf(id wire.KeyID) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.names[id]
}

// Names are the pinned names, sorted.
func (k *Dir) Names() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Sorted(maps.Keys(k.pins))
}

// LoadPins reads the pins and adds those that the profile's owner wrote down.
func (k *Dir) LoadPins(owner map[string]wire.KeyID) error {
	pins, err := k.readPins()
	if err != nil {
		return err
	}
	maps.Copy(pins, owner)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pins, k.names = pins, byID(pins)
	return nil
}

func byID(pins map[string]wire.KeyID) map[wire.KeyID]string {
	out := make(map[wire.KeyID]string, len(pins))
	for name, id := range pins {
		out[id] = name
	}
	return out
}

func (k *Dir) readPins() (map[string]wire.KeyID, error) {
	pins := map[string]wire.KeyID{}
	data, err := ReadFile(filepath.Join(k.dir, FilePins), maxPins)
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
		return nil, fmt.Errorf("read pinned keys: %s is malformed", FilePins)
	}
	for name, text := range f.Keys {
		id, err := ParseKeyID(text)
		if err != nil || !wire.ValidKeyName(name) {
			return nil, fmt.Errorf("read pinned keys: %s is malformed", FilePins)
		}
		pins[name] = id
	}
	return pins, nil
}

// maxPins bounds the file of pins in bytes: room for 20,000 of the longest names.
const maxPins = 4 << 20

// ParseKeyID reads a key id in hexadecimal.
func ParseKeyID(s string) (wire.KeyID, error) {
	id, err := hex.DecodeString(s)
	if err != nil || len(id) != len(wire.KeyID{}) {
		return wire.KeyID{}, errors.New("key id is not 32 hexadecimal digits")
	}
	return wire.KeyID(id), nil
}

// Pin notes which id a server signed for a name. A name that has another id
// already, or an id that has another name, is refused: both are for ever, and a
// name that moves to another key is how a ciphertext of the wrong key would come to
// be believed.
func (k *Dir) Pin(name string, id wire.KeyID) error {
	k.mu.Lock()
	known, err := pinned(k.pins, k.names, name, id)
	k.mu.Unlock()
	if known || err != nil {
		return err
	}
	return Locked(k.dir, func() error {
		pins, err := k.readPins()
		if err != nil {
			return err
		}
		if _, err := pinned(pins, byID(pins), name, id); err != nil {
			return err
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
		// A larger file could not be read again.
		if len(data) >= maxPins {
			return fmt.Errorf("keep pinned keys: %d don't fit into %s", len(pins), FilePins)
		}
		if err := WriteFile(filepath.Join(k.dir, FilePins), append(data, '\n')); err != nil {
			return fmt.Errorf("keep pinned keys: %w", err)
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.pins[name], k.names[id] = id, name
		return nil
	})
}

// pinned reports whether a name and an id are pinned to each other. One that is
// pinned to another is an error.
func pinned(pins map[string]wire.KeyID, names map[wire.KeyID]string, name string, id wire.KeyID) (bool, error) {
	have, ok := pins[name]
	if ok && have != id {
		return false, fmt.Errorf("%w: key %s has another id than the one pinned", ErrUnexpectedKey, name)
	}
	if other, ok := names[id]; ok && other != name {
		return false, fmt.Errorf("%w: key %s has the id that is pinned to %s", ErrUnexpectedKey, name, other)
	}
	return ok, nil
}
