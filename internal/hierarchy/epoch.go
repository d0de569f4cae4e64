// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"claviger/internal/kdf"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// EpochID names an erasure epoch. Number counts switches; ID is the switch's
// random id, zero for epoch 0: two servers may prepare epoch e+1 at once, and
// only one of the two switches enters the log.
type EpochID struct {
	_      struct{} `cbor:",toarray"`
	Number uint64
	ID     [16]byte
}

// ServerEpochKey is the newest public epoch key of one server, from its join
// entry, its newest receipt or its server's own state.
type ServerEpochKey struct {
	Server [16]byte
	Epoch  uint64 // the erasure epoch it belongs to
	Public []byte // HPKE MLKEM768-X25519, 1216 bytes
}

// epochState is what an epoch file holds.
type epochState struct {
	at     EpochID
	eek    *secret.Bytes // nil: waiting
	seed   *secret.Bytes // private epoch key
	public []byte
}

func (s *epochState) wipe() {
	if s != nil {
		wipe(s.eek)
		wipe(s.seed)
	}
}

// publicKey computes the public half of an epoch key.
func publicKey(seed *secret.Bytes) ([]byte, error) {
	key, err := wire.KeyFromSeed(seed.Expose())
	if err != nil {
		return nil, fmt.Errorf("expand epoch key: %w", err)
	}
	return key.Public(), nil
}

// eekCommitment fixes an EEK without giving it away, so that no server can be
// made to take another one than its peers.
func eekCommitment(eek *secret.Bytes, domain [32]byte, at EpochID) [32]byte {
	out := kdf.Expand(eek, domain, "eek commit", u64(at.Number), at.ID[:])
	defer out.Wipe()
	return [32]byte(out.Expose())
}

// epochMagic begins every epoch file; its last byte is the format version.
const epochMagic = "CLVGEPO\x01"

// Layout of an epoch file: magic (8), domain (32), server (16), root generation
// (8), epoch (8), all readable, then a blob bound to them.
const epochHeader = 8 + 32 + 16 + 8 + 8

func (h *Hierarchy) fileHeader(epoch uint64) []byte {
	out := append(make([]byte, 0, epochHeader), epochMagic...)
	out = append(out, h.o.Domain[:]...)
	out = append(out, h.o.Server[:]...)
	out = append(out, u64(h.o.Generation)...)
	return append(out, u64(epoch)...)
}

// encodeState seals a state for its file: epoch id (16), EEK (32) unless
// waiting, private epoch key (32).
func (h *Hierarchy) encodeState(s *epochState) (name string, content []byte) {
	header := h.fileHeader(s.at.Number)
	kind, suffix, n := kindJoinFile, joinSuffix, 16+keySize
	if s.eek != nil {
		kind, suffix, n = kindEpochFile, keySuffix, n+keySize
	}
	plaintext := secret.New(n)
	defer plaintext.Wipe()
	p := plaintext.Expose()
	p = p[copy(p, s.at.ID[:]):]
	if s.eek != nil {
		p = p[copy(p, s.eek.Expose()):]
	}
	copy(p, s.seed.Expose())
	blob := seal(h.local, place{h.o.Domain, kind, [][]byte{header}}, plaintext.Expose())
	return fileName(s.at.Number, suffix), append(header, blob...)
}

// decodeState opens the content of an epoch file.
func (h *Hierarchy) decodeState(f localFile, content []byte) (*epochState, error) {
	if len(content) < epochHeader || string(content[:8]) != epochMagic {
		return nil, fmt.Errorf("%w: %s is not an epoch file of this version", ErrCorrupt, f.name)
	}
	header := content[:epochHeader]
	if want := h.fileHeader(f.epoch); !bytes.Equal(header, want) {
		return nil, fmt.Errorf("%w: %s", ErrForeign, foreignPart(header, want))
	}
	kind, n := kindJoinFile, 16+keySize
	if f.suffix == keySuffix {
		kind, n = kindEpochFile, n+keySize
	}
	plaintext, err := unseal(h.local, place{h.o.Domain, kind, [][]byte{header}}, content[epochHeader:])
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, f.name, err)
	}
	defer plaintext.Wipe()
	if plaintext.Len() != n {
		return nil, fmt.Errorf("%w: %s: wrong length", ErrCorrupt, f.name)
	}
	p := plaintext.Expose()
	s := &epochState{at: EpochID{Number: f.epoch, ID: [16]byte(p)}}
	if f.suffix == keySuffix {
		s.eek = secret.Take(p[16 : 16+keySize])
	}
	s.seed = secret.Take(p[n-keySize:])
	if s.public, err = publicKey(s.seed); err != nil {
		s.wipe()
		return nil, err
	}
	return s, nil
}

// foreignPart says in which part of the header two epoch files differ.
func foreignPart(got, want []byte) string {
	switch {
	case !bytes.Equal(got[8:40], want[8:40]):
		return "it belongs to another domain"
	case !bytes.Equal(got[40:56], want[40:56]):
		return "it belongs to another server"
	case !bytes.Equal(got[56:64], want[56:64]):
		return fmt.Sprintf("it is sealed under root generation %d", binary.BigEndian.Uint64(got[56:64]))
	}
	return "its name and its content name different epochs"
}

// loadState reads one epoch file.
func (h *Hierarchy) loadState(f localFile) (*epochState, error) {
	content, err := readFile(h.fs, f.name)
	if err != nil {
		return nil, err
	}
	return h.decodeState(f, content)
}

// storeState writes the file of a state and reads it back. What a crash left
// under that name is erased first.
func (h *Hierarchy) storeState(s *epochState) error {
	name, content := h.encodeState(s)
	if err := eraseFile(h.fs, name); err != nil {
		return err
	}
	if err := writeFile(h.fs, name, content); err != nil {
		return err
	}
	back, err := readFile(h.fs, name)
	if err != nil {
		return err
	}
	if !bytes.Equal(back, content) {
		return fmt.Errorf("%w: %s does not hold what was written", ErrCorrupt, name)
	}
	return nil
}

// eraseAllBut erases every epoch file except the one of s.
func (h *Hierarchy) eraseAllBut(s *epochState) error {
	keep := fileName(s.at.Number, keySuffix)
	if s.eek == nil {
		keep = fileName(s.at.Number, joinSuffix)
	}
	files, err := localFiles(h.fs)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.name == keep {
			continue
		}
		if err := eraseFile(h.fs, f.name); err != nil {
			return fmt.Errorf("erase %s: %w", f.name, err)
		}
	}
	return nil
}
