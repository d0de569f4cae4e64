// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"context"
	"errors"
	"fmt"

	"claviger/internal/secret"
)

// First is the first erasure-epoch key and epoch key pair of a domain, made
// before the domain has an id: the genesis contains the public epoch key, and
// the hash of the genesis is the id that the epoch file is bound to.
type First struct{ state epochState }

// Generate makes the first keys of a domain. Wipe them after [Init].
func Generate() (*First, error) {
	f := &First{epochState{eek: secret.Random(keySize), seed: secret.Random(keySize)}}
	var err error
	if f.state.public, err = publicKey(f.state.seed); err != nil {
		f.Wipe()
		return nil, err
	}
	return f, nil
}

// Public is the public epoch key for the genesis, 1216 bytes.
func (f *First) Public() []byte { return f.state.public }

// Wipe erases the keys from memory.
func (f *First) Wipe() { f.state.wipe() }

// Init writes the first epoch file of a domain. It returns ErrExists if the
// directory holds any epoch file, also one that a crash left half-written: it
// never writes over keys, and which file is worthless a person decides.
func Init(o Options, first *First) error {
	h, err := newHierarchy(o)
	if err != nil {
		return err
	}
	defer h.Close()
	return h.initState(&first.state)
}

// Join writes the epoch file of a server that joins a running domain at the
// given erasure epoch, and returns its public epoch key for the join entry. The
// server waits until [Hierarchy.Accept]. Errors as of [Init].
func Join(o Options, at EpochID) (public []byte, err error) {
	h, err := newHierarchy(o)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	s := &epochState{at: at, seed: secret.Random(keySize)}
	defer s.wipe()
	if s.public, err = publicKey(s.seed); err != nil {
		return nil, err
	}
	return s.public, h.initState(s)
}

func (h *Hierarchy) initState(s *epochState) error {
	files, err := localFiles(h.fs)
	if err != nil {
		return err
	}
	if len(files) > 0 {
		return fmt.Errorf("%w: %s", ErrExists, files[0].name)
	}
	return h.storeState(s)
}

// Logged is what the authority log says about erasure.
type Logged struct {
	Epoch  EpochID // the erasure epoch at the log's head; zero without a switch
	Switch *Switch // the newest switch entry; nil at epoch 0
}

// Open reads the epoch file and brings it to the log's erasure epoch before it
// returns: files of older epochs are erased, after the newest switch gave this
// server its next key. A server whom that switch doesn't name, or who missed
// more than one, erases what it has and waits for a grant. Afterwards the caller
// compares [Hierarchy.Receipt] with the log, since a crash may have come before
// the receipt was recorded.
func Open(ctx context.Context, o Options, logged Logged) (*Hierarchy, error) {
	if o.Slots == nil {
		return nil, fmt.Errorf("%w options: slots are needed", ErrInvalid)
	}
	if err := logged.check(); err != nil {
		return nil, err
	}
	h, err := newHierarchy(o)
	if err != nil {
		return nil, err
	}
	if err := h.start(ctx, logged); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

func (l *Logged) check() error {
	if (l.Switch == nil) != (l.Epoch == EpochID{}) {
		return fmt.Errorf("%w: an erasure epoch above 0 comes with its switch", ErrInvalid)
	}
	if l.Switch == nil {
		return nil
	}
	if l.Switch.To != l.Epoch {
		return fmt.Errorf("%w: the newest switch leads to another erasure epoch", ErrInvalid)
	}
	return l.Switch.Check()
}

// start finds the file to go on from.
func (h *Hierarchy) start(ctx context.Context, logged Logged) error {
	files, err := localFiles(h.fs)
	if err != nil {
		return err
	}
	var here, before []localFile
	for _, f := range files {
		switch {
		case f.epoch > logged.Epoch.Number:
			return fmt.Errorf("%w: %s, the log is at erasure epoch %d", ErrAhead, f.name, logged.Epoch.Number)
		case f.epoch == logged.Epoch.Number:
			here = append(here, f)
		default:
			before = append(before, f)
		}
	}
	if len(files) == 0 {
		return ErrMissing
	}
	state, failed := h.loadAny(here)
	if state != nil {
		return h.resume(state, logged)
	}
	if len(before) == 0 || errors.Is(failed, ErrForeign) {
		return failed
	}
	return h.catchUp(ctx, before, logged)
}

// loadAny loads the one usable file of an epoch: the .key file, else the .join
// file that a crash left beside a half-written .key file.
func (h *Hierarchy) loadAny(files []localFile) (*epochState, error) {
	var failed error
	for _, suffix := range []string{keySuffix, joinSuffix} {
		for _, f := range files {
			if f.suffix != suffix {
				continue
			}
			s, err := h.loadState(f)
			if err == nil {
				return s, nil
			}
			failed = errors.Join(failed, err)
		}
	}
	return nil, failed
}

// resume goes on with a file of the log's epoch.
func (h *Hierarchy) resume(state *epochState, logged Logged) error {
	h.cur = state
	if state.at != logged.Epoch {
		return fmt.Errorf("%w: it comes from another switch than the log's", ErrForeign)
	}
	return h.eraseAllBut(state)
}

// catchUp goes on with files that are older than the log's epoch.
func (h *Hierarchy) catchUp(ctx context.Context, files []localFile, logged Logged) error {
	var last []localFile
	for _, f := range files {
		if f.epoch == logged.Switch.From.Number {
			last = append(last, f)
		}
	}
	if len(last) == 0 {
		// Security: a file that opens shows that custody is right; with a wrong
		// one nothing may be erased (TestWrongCustodyErasesNothing).
		state, err := h.loadAny(files)
		if err != nil {
			return err
		}
		h.cur = state
		return h.retire(logged.Epoch)
	}
	state, err := h.loadAny(last)
	if err != nil {
		return err
	}
	h.cur = state
	if state.at != logged.Switch.From {
		return fmt.Errorf("%w: it is not of the epoch that the newest switch ended", ErrForeign)
	}
	return h.advance(ctx, logged.Switch)
}

// retire erases what this server has and makes it wait for a grant at the given
// epoch, with a new epoch key.
func (h *Hierarchy) retire(at EpochID) error {
	next := &epochState{at: at, seed: secret.Random(keySize)}
	err := h.setPublic(next)
	if err == nil {
		err = h.storeState(next)
	}
	if err == nil {
		err = h.eraseAllBut(next)
	}
	if err != nil {
		next.wipe()
		return err
	}
	h.replace(next)
	return nil
}

func (h *Hierarchy) setPublic(s *epochState) (err error) {
	s.public, err = publicKey(s.seed)
	return err
}

// replace makes next the current state and wipes all that came from the last.
// The caller holds openMu, or nobody else has h yet.
func (h *Hierarchy) replace(next *epochState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cur.wipe()
	h.cur = next
	h.open.wipe()
	h.open = nil
	h.cache.clear()
}
