// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"crypto"
	"log/slog"
	"sync"
	"time"

	"claviger/internal/clock"
	"claviger/internal/wire"
)

// Log is the authority log as it is told to others.
type Log interface {
	Epoch() wire.Epoch
	Chain() [][]byte // of the members
	// Told is what there is to tell at a time in Unix milliseconds.
	Told(now int64) (Told, error)
}

// Told is what a statement says of one state of the log and the audit log.
type Told struct {
	Epoch      wire.Epoch
	Head       wire.Hash
	Members    wire.Hash
	Revoked    []wire.RevocationID // whose longest lease has not ended
	Checkpoint wire.Checkpoint
}

// Options of an Identity; all but Mailbox are required.
type Options struct {
	Domain  wire.DomainID
	Server  wire.ServerID
	Signer  crypto.Signer
	TLSKey  wire.Hash // of the door that clients dial
	Mailbox wire.Hash // at relays; zero for none
	Clock   clock.Clock
	Logger  *slog.Logger
	Every   time.Duration // between statements while nothing changes
	Log     Log
	Usable  func() error // why nothing may be vouched for, nil while it may
	// Stated hears of each new statement: the epoch and the time of issue.
	Stated func(epoch wire.Epoch, issued int64)
}

// Identity makes descriptors and statements and keeps the newest. It is safe for
// concurrent use.
type Identity struct {
	o Options

	mu        sync.Mutex
	current   described
	former    *described
	offset    time.Duration // of the wall clock from the boot clock, when last seen
	statement []byte
	stated    time.Time
	statedAt  wire.Epoch
}

// New returns an identity with a new descriptor.
func New(o Options) (*Identity, error) {
	id := &Identity{o: o}
	id.offset = id.wallOffset()
	var err error
	id.current, err = id.describe()
	return id, err
}

// Wipe forgets the private keys of all descriptors.
func (id *Identity) Wipe() {
	id.mu.Lock()
	defer id.mu.Unlock()
	id.forget()
	id.current.key.Wipe()
}

// Statement returns a signed statement: the last one if it is younger than
// the interval and the log has not moved, else a new one.
func (id *Identity) Statement() ([]byte, error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	// Security: a server that stopped must not vouch for a state that it can't
	// follow any more.
	if err := id.o.Usable(); err != nil {
		return nil, err
	}
	now := id.o.Clock.Now()
	if age := now.Sub(id.stated); id.statement != nil && age >= 0 && age < id.o.Every && id.statedAt == id.o.Log.Epoch() {
		return id.statement, nil
	}
	told, err := id.o.Log.Told(now.UnixMilli())
	if err != nil {
		return nil, err
	}
	s := wire.Statement{
		Type: wire.TypeStatement, Domain: id.o.Domain, Server: id.o.Server, Checkpoint: told.Checkpoint, Issued: now.UnixMilli(),
		Epoch: told.Epoch, Head: told.Head, Members: told.Members, Revoked: told.Revoked,
	}
	if len(s.Revoked) > wire.MaxRevocations {
		// More than a statement can name: the reserved id stops everything, and
		// clients ask for what they may still use.
		s.Revoked = []wire.RevocationID{wire.RevokeEverything}
	}
	signed, err := wire.Sign(wire.TypeStatement, wire.Marshal(s), id.o.Signer)
	if err != nil {
		return nil, err
	}
	id.statement, id.stated, id.statedAt = signed, now, s.Epoch
	id.o.Stated(s.Epoch, s.Issued)
	return signed, nil
}
