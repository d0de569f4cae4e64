// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"claviger/internal/wire"
)

// headRecord is what a server keeps outside the store: how far it has acted.
type headRecord struct {
	_      struct{} `cbor:",toarray"`
	Type   string
	Domain wire.DomainID
	Epoch  wire.Epoch
	Head   wire.Hash
}

const (
	typeHead     = "claviger/v1/head"
	typeRollback = "claviger/v1/accept-rollback"
	maxHead      = 1 << 10
)

// headFile is the server's own memory of the log, against a store that goes
// back. It is replaced whole: written beside, synced, renamed, directory synced.
type headFile struct {
	path string
	box  box
}

func (h headFile) write(r headRecord) error {
	r.Type = typeHead
	sealed := h.box.seal(wire.Marshal(r), []byte(typeHead))
	if err := replaceFile(h.path, sealed); err != nil {
		return fmt.Errorf("write head file: %w", err)
	}
	return nil
}

// read returns nil without an error if there is no head file.
func (h headFile) read() (*headRecord, error) {
	sealed, err := os.ReadFile(h.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read head file: %w", err)
	}
	plain, err := h.box.open(sealed, []byte(typeHead))
	if err != nil {
		return nil, fmt.Errorf("%w: head file: %w", ErrLog, err)
	}
	var r headRecord
	if err := wire.Unmarshal(plain, &r, maxHead); err != nil || r.Type != typeHead {
		return nil, fmt.Errorf("%w: head file: %w", ErrLog, wire.ErrMalformed)
	}
	return &r, nil
}

func replaceFile(path string, data []byte) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// AcceptRollback is the body that a quorum signs (type string
// claviger/v1/accept-rollback) so that a server without a head file, or with one
// ahead of its store, may start on this head.
func AcceptRollback(domain wire.DomainID, epoch wire.Epoch, head wire.Hash) []byte {
	return wire.Marshal(headRecord{Type: typeRollback, Domain: domain, Epoch: epoch, Head: head})
}

// TypeRollback is the type string of an [AcceptRollback] message.
const TypeRollback = typeRollback

// accepts reports nil if a quorum has signed that the log may end at s.
func (s *State) accepts(signed []byte) error {
	parsed, err := wire.ParseSigned(typeRollback, signed, maxHead*8)
	if err != nil {
		return err
	}
	if err := s.Members.Quorum(parsed); err != nil {
		return err
	}
	var r headRecord
	if err := wire.Unmarshal(parsed.Payload, &r, maxHead); err != nil {
		return err
	}
	if r.Type != typeRollback || r.Domain != s.Members.Domain || r.Epoch != s.Epoch || r.Head != s.Head {
		return fmt.Errorf("%w: the accepted head is another one", ErrRefused)
	}
	return nil
}
