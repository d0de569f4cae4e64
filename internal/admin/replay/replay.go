// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"encoding/binary"
	"errors"
	"iter"
	"sync/atomic"

	"claviger/internal/authority"
	"claviger/internal/authority/ahead"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// Log is a log that is being replayed. Domain is set first.
type Log struct {
	Domain wire.DomainID    // the pin
	State  *authority.State // nil before the first record
	Newer  []Taken          // what Fold took since the caller emptied it

	marks   []byte // of the records so far: wire.Verified, a uvarint each
	members *members.State
	keys    atomic.Pointer[ahead.Keys] // of members
}

// Taken is a record that was folded in.
type Taken struct {
	Epoch wire.Epoch
	Body  wire.BodyID
	Kind  string
}

// ErrOtherDomain means that the first record is not the pinned genesis.
var ErrOtherDomain = errors.New("it is the log of another trust domain")

// Fold checks a record as servers do and takes it into the state.
func (l *Log) Fold(o wire.Opened) error {
	r := ahead.Parse(o.Link, o.Entry)
	if err := l.fold(r); err != nil {
		return err
	}
	t := Taken{Epoch: r.Link.Epoch}
	if r.Body != nil {
		t.Body, t.Kind = r.Body.ID, r.Body.Kind
	}
	l.Newer = append(l.Newer, t)
	return nil
}

// verify verifies the signatures of keys that are known by now. It may run ahead
// of the fold, on other goroutines.
func (l *Log) verify(r *ahead.Record) {
	if keys := l.keys.Load(); keys != nil {
		r.Verify(*keys)
	}
}

func (l *Log) fold(r *ahead.Record) error {
	if l.State == nil {
		return l.found(r)
	}
	l.verify(r) // again, if it came before its key was known: what is good is to be marked
	if err := l.State.FoldParsed(r, nil); err != nil {
		return err
	}
	if r.Signed == nil {
		l.took(0)
	} else {
		l.took(r.Signed.Verified())
	}
	return nil
}

func (l *Log) found(r *ahead.Record) error {
	state, err := authority.Found(r.Link, r.Entry)
	if err != nil {
		return err
	}
	// Security: the pin is what makes the rest of the log believable (T-08).
	if state.Members.Domain != l.Domain {
		return ErrOtherDomain
	}
	l.State = state
	l.took(0)
	return nil
}

// took notes what is to be remembered of the newest record.
func (l *Log) took(v wire.Verified) {
	l.marks = binary.AppendUvarint(l.marks, uint64(v))
	if l.members != l.State.Members {
		l.members = l.State.Members
		keys := ahead.KeysOf(l.members)
		l.keys.Store(&keys)
	}
}

// AppendRecord appends a record to a cache: its length, 32 bits big-endian, and
// its encoding.
func AppendRecord(cache []byte, o wire.Opened) []byte {
	data := wire.Marshal(o)
	return append(binary.BigEndian.AppendUint32(cache, uint32(len(data))), data...)
}

// Read folds the records of a cache into a Log that has none yet, and returns how
// many bytes of it are good. Known is what was remembered of an earlier replay;
// nil, or of another history, it is not used and harms nothing.
func (l *Log) Read(cache []byte, known *Verified) (good int, used bool) {
	if marks := known.marks(l.Domain); len(marks) > 0 {
		trial := &Log{Domain: l.Domain}
		good := trial.read(cache, marks)
		// Security: the head fixes every record up to it. Without this the marks
		// would speak for records that nobody verified.
		if trial.State != nil && known.fits(trial.State) {
			l.State, l.marks, l.members = trial.State, trial.marks, trial.members
			l.keys.Store(trial.keys.Load())
			return good, true
		}
	}
	return l.read(cache, nil), false
}

// cached is a record of a cache, its place and the bytes up to its end.
type cached struct {
	data  []byte
	index int
	end   int
}

type parsed struct {
	*ahead.Record
	end int
}

// read parses and verifies ahead of the fold. What marks say of a record takes
// the place of its verification.
func (l *Log) read(cache []byte, marks []wire.Verified) (good int) {
	for r, err := range ahead.Map(split(cache), func(c cached) (parsed, error) {
		opened, err := wire.ParseOpened(c.data)
		if err != nil {
			return parsed{}, err
		}
		r := ahead.Parse(opened.Link, opened.Entry)
		if c.index < len(marks) && r.Signed != nil {
			r.Signed.Trust(marks[c.index])
		} else {
			l.verify(r)
		}
		return parsed{r, c.end}, nil
	}) {
		if err != nil || l.fold(r.Record) != nil {
			return good
		}
		good = r.end
	}
	return good
}

// split yields the records of a cache up to the first that is no whole one.
func split(cache []byte) iter.Seq2[cached, error] {
	return func(yield func(cached, error) bool) {
		at := 0
		for index := 0; len(cache)-at >= 4; index++ {
			size := int(binary.BigEndian.Uint32(cache[at:]))
			if size > wire.MaxRecord || len(cache)-at-4 < size {
				return
			}
			end := at + 4 + size
			if !yield(cached{cache[at+4 : end], index, end}, nil) {
				return
			}
			at = end
		}
	}
}
