// SPDX-License-Identifier: Apache-2.0

package hearsay

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"claviger/internal/authority"
	"claviger/internal/wire"
)

const (
	typeProof = "claviger/v1/proof"
	maxProof  = 2*wire.MaxStatement + 1<<10
	maxProofs = 64 // files that a start reads
)

// proof is two signed words that can't both be of one log: what clients keep too
// (docs/spec/release.md, section 4).
type proof struct {
	_      struct{} `cbor:",toarray"`
	Type   string
	Of     string // type of Second
	First  []byte // this server's
	Second []byte
}

// Open reads the proofs that were kept: a server that was stopped by a fork stays
// so, also after a restart.
func Open(o Options) (*Hearsay, error) {
	h := &Hearsay{o: o, news: make(chan struct{}, 1)}
	names, err := os.ReadDir(o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read proofs: %w", err)
	}
	for _, name := range names[:min(len(names), maxProofs)] {
		if !name.Type().IsRegular() || !strings.HasSuffix(name.Name(), ".proof") {
			continue
		}
		w, err := h.read(filepath.Join(o.Dir, name.Name()))
		if err != nil {
			return nil, err
		}
		if w != nil {
			h.forks = append(h.forks, *w)
		}
	}
	return h, nil
}

// read returns nil for what proves nothing any more.
func (h *Hearsay) read(path string) (*word, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read proof: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxProof+1))
	if err != nil {
		return nil, fmt.Errorf("read proof: %w", err)
	}
	var p proof
	if wire.Unmarshal(data, &p, maxProof) != nil || p.Type != typeProof || p.Of != wire.TypeStatement {
		return nil, nil
	}
	s, err := wire.PeekStatement(p.Second)
	if err != nil || s.Domain != h.o.Domain || h.judge(s) != forked || !h.signedByMember(p.Second, s.Server) {
		return nil, nil
	}
	return &word{*s, p.Second, h.o.Clock.Boot()}, nil
}

// prove keeps both words: this server's on the same epoch, or on its newest if the
// other's lies between two generations.
func (h *Hearsay) prove(w word) error {
	var at wire.Epoch
	var head wire.Hash
	h.o.Log.View(func(st *authority.State) {
		var ok bool
		at = w.Epoch
		if head, ok = st.HeadAt(at.Position); !ok || !st.On(at, head) {
			at, head = st.Epoch, st.Head
		}
	})
	own, err := h.o.Own(at, head)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(h.o.Dir, 0o700); err != nil {
		return err
	}
	name := filepath.Join(h.o.Dir, fmt.Sprintf("%s-%s.proof", w.Epoch, w.Server))
	return writeSynced(name, wire.Marshal(proof{Type: typeProof, Of: wire.TypeStatement, First: own, Second: w.signed}))
}

// writeSynced makes a file under another name first: one that is there is whole.
func writeSynced(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".proof-") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
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
