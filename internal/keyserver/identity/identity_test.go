// SPDX-License-Identifier: Apache-2.0

package identity_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/keyserver/identity"
	"claviger/internal/wire"
)

// stand is a log that says what a test wants.
type stand struct {
	told   identity.Told
	asked  int
	stated int
	sick   error
}

func (s *stand) Epoch() wire.Epoch { return s.told.Epoch }
func (s *stand) Chain() [][]byte   { return [][]byte{[]byte("genesis")} }
func (s *stand) Told(int64) (identity.Told, error) {
	s.asked++
	return s.told, nil
}

type rig struct {
	*identity.Identity
	t     *testing.T
	log   *stand
	clock *clock.Manual
	key   crypto.PublicKey
}

func newRig(t *testing.T) *rig {
	t.Helper()
	pub, key, _ := ed25519.GenerateKey(rand.Reader)
	r := &rig{t: t, log: &stand{told: identity.Told{Epoch: wire.Epoch{Generation: 1, Position: 1}}}, clock: clock.NewManual(time.Now()), key: pub}
	var err error
	r.Identity, err = identity.New(identity.Options{
		Domain: wire.DomainID{1}, Server: wire.ServerIDOf(pub), Signer: key, TLSKey: wire.Hash{2}, Clock: r.clock,
		Logger: slog.New(slog.DiscardHandler), Every: 30 * time.Second, Log: r.log,
		Usable: func() error { return r.log.sick }, Stated: func(wire.Epoch, int64) { r.log.stated++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) statement() *wire.Statement {
	r.t.Helper()
	signed, err := r.Statement()
	if err != nil {
		r.t.Fatal(err)
	}
	s, err := wire.ParseStatement(signed, r.key)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// descriptor returns the present one.
func (r *rig) descriptor() (*wire.Descriptor, []byte) {
	r.t.Helper()
	in, err := r.Introduction()
	if err != nil {
		r.t.Fatal(err)
	}
	d, err := wire.ParseDescriptor(in.Descriptor, r.key)
	if err != nil {
		r.t.Fatal(err)
	}
	return d, in.Descriptor
}

// sealed is a message to a descriptor.
func (r *rig) sealed(d *wire.Descriptor, signed []byte) []byte {
	r.t.Helper()
	msg, err := wire.Seal(d.HPKE, wire.TypeRequest, wire.DescriptorHash(signed), []byte("hello"))
	if err != nil {
		r.t.Fatal(err)
	}
	return msg
}

func (r *rig) opens(msg []byte) bool {
	r.t.Helper()
	plain, _, err := r.Open(wire.TypeRequest, msg, wire.MaxSealedSize)
	if err != nil && !errors.Is(err, identity.ErrNoKey) {
		r.t.Fatal(err)
	}
	return err == nil && string(plain) == "hello"
}

func revocations(n int) []wire.RevocationID {
	out := make([]wire.RevocationID, n)
	for i := range out {
		binary.BigEndian.PutUint64(out[i][8:], uint64(i+1))
	}
	return out
}

// TestStatementCap: a statement names as many revocations as it may, and with
// one more it revokes everything; clients can read both.
func TestStatementCap(t *testing.T) {
	r := newRig(t)
	r.log.told.Revoked = revocations(wire.MaxRevocations)
	if s := r.statement(); len(s.Revoked) != wire.MaxRevocations || slices.Contains(s.Revoked, wire.RevokeEverything) {
		t.Errorf("as many as it may: %d named", len(s.Revoked))
	}
	r.log.told.Epoch.Position++
	r.log.told.Revoked = revocations(wire.MaxRevocations + 1)
	if s := r.statement(); !slices.Equal(s.Revoked, []wire.RevocationID{wire.RevokeEverything}) || s.Epoch != r.log.told.Epoch {
		t.Errorf("one more: %d named", len(s.Revoked))
	}
}

// TestStatementIsKept until the log moves or it is old; and is not given by a
// server that may not vouch for its state.
func TestStatementIsKept(t *testing.T) {
	r := newRig(t)
	r.statement()
	r.clock.Advance(29 * time.Second)
	r.statement()
	if r.log.asked != 1 || r.log.stated != 1 {
		t.Errorf("made %d times, told %d times", r.log.asked, r.log.stated)
	}
	r.clock.Advance(time.Second)
	r.statement()
	r.log.told.Epoch.Position++
	r.statement()
	if r.log.asked != 3 || r.log.stated != 3 {
		t.Errorf("after its time and a change: made %d times", r.log.asked)
	}
	r.log.sick = errors.New("the disk is full")
	if _, err := r.Statement(); !errors.Is(err, r.log.sick) {
		t.Errorf("of a server that can't follow: %v", err)
	}
}

// TestDescriptorsEnd: after half a day there is a new one, the former opens what
// is under way until its own end, and Refresh forgets it unasked. The keys are
// wiped then, so that what was recorded can't be opened later.
func TestDescriptorsEnd(t *testing.T) {
	r := newRig(t)
	first, signed := r.descriptor()
	toFirst := r.sealed(first, signed)
	r.clock.Advance(13 * time.Hour)
	second, signed := r.descriptor()
	if slices.Equal(first.HPKE, second.HPKE) {
		t.Fatal("the descriptor is not renewed")
	}
	if !r.opens(toFirst) || !r.opens(r.sealed(second, signed)) {
		t.Error("a message to a present descriptor does not open")
	}
	r.clock.Advance(11*time.Hour + time.Minute)
	if err := r.Refresh(); err != nil {
		t.Fatal(err)
	}
	if r.opens(toFirst) {
		t.Error("a message to a descriptor that has ended opens")
	}
}

// TestWipe: at a seal every key goes.
func TestWipe(t *testing.T) {
	r := newRig(t)
	first, signed := r.descriptor()
	toFirst := r.sealed(first, signed)
	r.clock.Advance(13 * time.Hour)
	second, signed := r.descriptor()
	toSecond := r.sealed(second, signed)
	r.Wipe()
	if r.opens(toFirst) || r.opens(toSecond) {
		t.Error("a wiped identity opens messages")
	}
}

// TestClockSetBack: what was sealed before opens no more.
func TestClockSetBack(t *testing.T) {
	r := newRig(t)
	d, signed := r.descriptor()
	msg := r.sealed(d, signed)
	r.clock.SetWall(r.clock.Now().Add(-time.Second))
	if !r.opens(msg) {
		t.Error("a second is nothing yet")
	}
	r.clock.SetWall(r.clock.Now().Add(-5 * time.Second))
	if r.opens(msg) {
		t.Error("a request of before opens")
	}
}
