// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"claviger/client/internal/keep"
	"claviger/client/internal/trust"
	"claviger/internal/members"
	"claviger/internal/pace"
	"claviger/internal/testkit/fakeserver"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

var errDown = errors.New("the network is down")

// cut takes the server away; mend brings it back.
func (w *world) cut()  { w.server.Refuse(errDown) }
func (w *world) mend() { w.server.Refuse(nil) }

// tryOpen opens ciphertext and says whether that needed a request for a key.
func (w *world) tryOpen(ciphertext []byte) (asked bool, err error) {
	before := len(w.server.Requests())
	err = w.open(ciphertext)
	return len(w.server.Requests()) > before, err
}

// TestLeaseTimes plays with the clocks while no server can be asked.
func TestLeaseTimes(t *testing.T) {
	tests := []struct {
		name             string
		lease, staleness uint32
		play             func(w *world)
		want             error
	}{
		{"within both", 100, 60, func(w *world) { w.advance(59 * time.Second) }, nil},
		{"staleness bound reached", 100, 60, func(w *world) { w.advance(60 * time.Second) }, ErrStale},
		{"lease ended", 100, 1000, func(w *world) { w.advance(100 * time.Second) }, ErrUnavailable},
		{"just before its end", 100, 1000, func(w *world) { w.advance(99 * time.Second) }, nil},
		{"wall clock set back a day, lease ended", 100, 1000, func(w *world) {
			w.advance(101 * time.Second)
			w.clock.SetWall(start.Add(-24 * time.Hour))
		}, ErrUnavailable},
		{"wall clock set back, bound reached", 1000, 60, func(w *world) {
			w.advance(61 * time.Second)
			w.clock.SetWall(start)
		}, ErrStale},
		{"wall clock set forward", 100, 60, func(w *world) { w.clock.SetWall(start.Add(61 * time.Second)) }, ErrStale},
		{"boot clock stood still, as in a restored snapshot", 100, 1000, func(w *world) { w.clock.SetWall(start.Add(101 * time.Second)) }, ErrUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.domain.Set(w.key, func(k *fakeserver.Key) { k.Lease, k.Staleness = tt.lease, tt.staleness })
			sealed := w.seal("4111")
			if err := w.open(sealed); err != nil {
				t.Fatal(err)
			}
			w.cut()
			tt.play(w)
			err := w.open(sealed)
			if !errors.Is(err, tt.want) {
				t.Fatalf("Decrypt = %v, want %v", err, tt.want)
			}
			w.mend()
			w.clock.SetWall(w.remote.Now())
			if err := w.open(sealed); err != nil {
				t.Errorf("with the server back: %v", err)
			}
		})
	}
}

// TestSkewedClient has a client whose wall clock is wrong from the start.
func TestSkewedClient(t *testing.T) {
	for _, by := range []time.Duration{-24 * time.Hour, -2 * time.Minute, 2 * time.Minute, 8 * time.Hour} {
		w := newWorld(t)
		sealed := w.seal("4111")
		w.clock.SetWall(start.Add(by))
		w.client = w.dial()
		if err := w.open(sealed); err != nil {
			t.Errorf("clock off by %v: %v", by, err)
		}
	}
}

// TestRevocation: the next use after 30 s asks, and what a statement revokes is
// gone at once, although lease and bound would last.
func TestRevocation(t *testing.T) {
	for name, revoke := range map[string]func(*world){
		"key":        func(w *world) { w.domain.Revoke(w.key.Revocation) },
		"everything": func(w *world) { w.domain.Revoke(wire.RevokeEverything) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			sealed := w.seal("4111")
			if err := w.open(sealed); err != nil {
				t.Fatal(err)
			}
			revoke(w)
			w.advance(29 * time.Second)
			if asked, err := w.tryOpen(sealed); asked || err != nil || w.server.Statements() != 0 {
				t.Fatalf("before the interval: asked %v, %v", asked, err)
			}
			w.advance(time.Second)
			w.server.Lie.Grant = func(*wire.Grant) { t.Log("asked again") }
			asked, err := w.tryOpen(sealed)
			if !asked || w.server.Statements() != 1 {
				t.Fatalf("asked %v with %d statements, %v", asked, w.server.Statements(), err)
			}
			if denied, ok := errors.AsType[*DeniedError](err); name == "key" && (!ok || denied.Reason != "the key is disabled") {
				t.Errorf("Decrypt = %v", err)
			}
		})
	}
}

// TestRefresh needs no waiting.
func TestRefresh(t *testing.T) {
	w := newWorld(t)
	if err := w.client.Refresh(t.Context()); err != nil {
		t.Errorf("Refresh before anything was asked: %v", err)
	}
	sealed := w.seal("4111")
	w.domain.Revoke(w.key.Revocation)
	if err := w.client.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := w.client.cache.Len(); n != 0 {
		t.Errorf("%d leases left", n)
	}
	denied, ok := errors.AsType[*DeniedError](w.open(sealed))
	if !ok || denied.Client != app || denied.Operation != "decrypt" || denied.Key != "payments/cards" {
		t.Errorf("Decrypt = %+v", denied)
	}
}

// TestOldRevocationSparesNewLease: what a server permits at an epoch was not
// revoked then, whatever its statements still list.
func TestOldRevocationSparesNewLease(t *testing.T) {
	w := newWorld(t)
	w.domain.Revoke(w.key.Revocation)
	w.domain.Set(w.key, func(k *fakeserver.Key) { k.Denied = "" })
	sealed := w.seal("4111")
	if err := w.client.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w.client.cache.Len() != 1 {
		t.Error("a lease of the statement's own epoch was dropped")
	}
	if err := w.open(sealed); err != nil {
		t.Error(err)
	}
}

// TestStatementLies: none of them counts as news, so the bound runs out.
func TestStatementLies(t *testing.T) {
	tests := []struct {
		name string
		lie  func(*wire.Statement)
		want error
	}{
		{"another domain", func(s *wire.Statement) { s.Domain[0]++ }, ErrIntegrity},
		{"another server", func(s *wire.Statement) { s.Server[0]++ }, ErrIntegrity},
		{"from the future", func(s *wire.Statement) { s.Issued += 31000 }, ErrIntegrity},
		{"same epoch, another head", func(s *wire.Statement) { s.Head[0]++ }, ErrFork},
		{"earlier epoch", func(s *wire.Statement) { s.Epoch.Position-- }, ErrRollback},
		{"next generation", func(s *wire.Statement) { s.Epoch.Generation++ }, ErrIntegrity},
		{"unknown membership", func(s *wire.Statement) { s.Members[0]++ }, trust.ErrMembers},
		{"shorter audit log", func(s *wire.Statement) { s.Checkpoint.Size = 1 }, ErrRollback},
		{"earlier audit log", func(s *wire.Statement) { s.Checkpoint.Log = 0 }, ErrRollback},
		{"changed audit log", func(s *wire.Statement) { s.Checkpoint.Size = 2; s.Checkpoint.Root[0]++ }, ErrIntegrity},
		{"another type", func(s *wire.Statement) { s.Type = wire.TypeGrant }, ErrIntegrity},
		{"too many ids", func(s *wire.Statement) { s.Revoked = make([]wire.RevocationID, wire.MaxRevocations+1) }, ErrIntegrity},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.domain.Tick()
			sealed := w.seal("4111")
			if err := w.open(sealed); err != nil {
				t.Fatal(err)
			}
			w.advance(time.Second)
			if err := w.client.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.advance(time.Second)
			w.server.Lie.Statement = tt.lie
			if err := w.client.Refresh(t.Context()); !errors.Is(err, tt.want) {
				t.Fatalf("Refresh = %v, want %v", err, tt.want)
			}
			w.advance(899 * time.Second)
			w.server.Lie.Grant = func(g *wire.Grant) { g.Domain[0]++ }
			if err := w.open(sealed); !errors.Is(err, ErrIntegrity) {
				t.Errorf("after the bound: %v", err)
			}
		})
	}
}

// TestReplayedStatement: an old one is no news, however often it comes, and an
// unknown server's age is judged by the latest clock.
func TestReplayedStatement(t *testing.T) {
	w := newWorld(t)
	w.domain.Set(w.key, func(k *fakeserver.Key) { k.Staleness = 60 })
	sealed := w.seal("4111")
	if err := w.open(sealed); err != nil {
		t.Fatal(err)
	}
	old, err := w.server.Statement(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.advance(61 * time.Second)
	w.cut()
	if err := w.client.view.Statement(old); err != nil {
		t.Fatalf("an old statement of the same epoch is true: %v", err)
	}
	if err := w.open(sealed); !errors.Is(err, ErrStale) {
		t.Errorf("Decrypt = %v", err)
	}
}

// TestStatementKeepsLeaseFresh: statements without a release do.
func TestStatementKeepsLeaseFresh(t *testing.T) {
	w := newWorld(t)
	w.domain.Set(w.key, func(k *fakeserver.Key) { k.Staleness = 60 })
	sealed := w.seal("4111")
	if err := w.open(sealed); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		w.advance(45 * time.Second)
		if asked, err := w.tryOpen(sealed); asked || err != nil {
			t.Fatalf("asked %v, %v", asked, err)
		}
	}
}

// TestRotation: a new epoch has the current version asked for again, and an
// unreachable server doesn't stop who has a lease, nor is it asked with each use.
func TestRotation(t *testing.T) {
	w := newWorld(t)
	old := w.seal("old")
	w.domain.Rotate(w.key)
	if err := w.client.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.cut()
	w.seal("still sealed with the lease at hand")
	w.mend()
	before := len(w.server.Requests())
	w.seal("at once")
	w.advance(pace.FirstRest/2 - 1)
	w.seal("a moment later")
	if n := len(w.server.Requests()) - before; n != 0 {
		t.Errorf("asked %d times with no rest", n)
	}
	w.advance(pace.FirstRest/2 + 1)
	_, opened, err := w.client.Decrypt(t.Context(), w.seal("new"), DecryptOptions{AnyKey: true})
	if err != nil || opened.Version != 2 {
		t.Errorf("after a rotation: version %d, %v", opened.Version, err)
	}
	_, opened, err = w.client.Decrypt(t.Context(), old, DecryptOptions{AnyKey: true})
	if err != nil || opened.Version != 1 || opened.State != wire.StateDeactivated {
		t.Errorf("the old object: %+v, %v", opened, err)
	}
}

// TestMarkOutlastsProcess: a state put back is noticed by the next process too.
func TestMarkOutlastsProcess(t *testing.T) {
	w := newWorld(t)
	epoch, head := w.domain.At()
	w.domain.Tick()
	sealed := w.seal("4111")
	w.domain.Rewind(epoch, head)
	w.client = w.dial()
	if err := w.open(sealed); !errors.Is(err, ErrRollback) {
		t.Fatalf("Decrypt = %v", err)
	}
	if got := w.client.Epoch(); got != "1.2" {
		t.Errorf("Epoch = %s", got)
	}
	// Without its mark the client can't know, and has to go by a fresh answer.
	if err := os.Remove(filepath.Join(w.profile.Dir, keep.FileMark)); err != nil {
		t.Fatal(err)
	}
	w.client = w.dial()
	if err := w.open(sealed); err != nil {
		t.Errorf("without a mark: %v", err)
	}
}

// TestForkProof: both messages are kept, once.
func TestForkProof(t *testing.T) {
	w := newWorld(t)
	w.domain.Tick()
	sealed := w.seal("4111")
	first := w.client.view.Mark().Witness
	epoch, _ := w.domain.At()
	w.domain.Rewind(epoch, wire.Hash{9})
	for range 2 {
		if err := w.open(sealed); !errors.Is(err, ErrFork) || !errors.Is(err, ErrIntegrity) {
			t.Fatalf("Decrypt = %v", err)
		}
	}
	files, err := filepath.Glob(filepath.Join(w.profile.Dir, keep.DirProofs, "*.cbor"))
	if err != nil || len(files) != 2 { // each request has its own grant
		t.Fatalf("proofs %v, %v", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var p keep.Proof
	if err := wire.Unmarshal(data, &p, 1<<20); err != nil || p.Type != keep.TypeProof || p.Kind != wire.TypeGrant || !bytes.Equal(p.First, first) {
		t.Errorf("proof %s of %s, %v", p.Type, p.Kind, err)
	}
	second, err := wire.PeekGrant(p.Second)
	if err != nil || second.Epoch != epoch || second.Head != (wire.Hash{9}) {
		t.Errorf("the second message: %+v, %v", second, err)
	}
}

// TestMembership: a change is learned on the way, a fenced server is believed no
// more, and an older chain is refused.
func TestMembership(t *testing.T) {
	w := newWorld(t)
	two := w.domain.Server("two") // joins: the membership changes
	sealed := w.seal("4111")
	if got := len(w.client.view.Members().Chain); got != 2 {
		t.Fatalf("a chain of %d links", got)
	}
	if err := w.open(sealed); err != nil {
		t.Fatal(err)
	}
	before := w.domain.Members().Chain
	w.domain.Change(members.KindFence, members.Fence{Server: w.server.ID(), Reason: "stolen"})
	reroute(w.client, append(w.client.net.Order(), wayTo(two))...)
	if err := w.client.Refresh(t.Context()); err != nil {
		t.Fatalf("Refresh at the second server: %v", err)
	}
	if n := w.client.cache.Len(); n != 0 {
		t.Errorf("%d leases of a fenced server at hand", n)
	}
	if err := w.open(sealed); err != nil {
		t.Errorf("from the second server: %v", err)
	}
	w.client = w.dial(w.server)
	if err := w.open(sealed); !errors.Is(err, ErrIntegrity) {
		t.Errorf("from the fenced server: %v", err)
	}
	// Calls that nobody signs must not reach it either.
	if err := w.client.net.Introduce(t.Context()); !errors.Is(err, ErrIntegrity) {
		t.Errorf("a fenced server introduces itself: %v", err)
	}
	w.server.Lie.Introduction = func(in *wire.Introduction) { in.Members = before }
	w.client = w.dial(w.server)
	if err := w.open(sealed); !errors.Is(err, ErrRollback) {
		t.Errorf("from the fenced server with an older chain: %v", err)
	}
}

// TestGeneration: only the quorum's restore entry raises it, and it ends leases.
func TestGeneration(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		w.domain.Tick()
	}
	sealed := w.seal("4111")
	if err := w.open(sealed); err != nil {
		t.Fatal(err)
	}
	epoch, head := w.domain.At()
	w.domain.Rewind(wire.Epoch{Generation: 1, Position: 2}, wire.Hash{7}) // a restored backup
	if err := w.client.Refresh(t.Context()); !errors.Is(err, ErrRollback) {
		t.Fatalf("Refresh = %v", err)
	}
	w.domain.Change(members.KindRestore, members.Restore{Generation: 2, Epoch: epoch, Head: head})
	if err := w.client.Refresh(t.Context()); err != nil {
		t.Fatalf("Refresh after the restore entry: %v", err)
	}
	if asked, err := w.tryOpen(sealed); err != nil || !asked {
		t.Errorf("a lease of the generation before was used: asked %v, %v", asked, err)
	}
}

// TestOvertakenAnswer: an answer that was true when the question left counts,
// although news came first; but not for what that news revokes.
func TestOvertakenAnswer(t *testing.T) {
	for _, revoked := range []bool{false, true} {
		w := newWorld(t)
		id, err := w.client.id.Get()
		if err != nil {
			t.Fatal(err)
		}
		w.seal("introduces the server")
		at := w.client.net.Order()[0]
		ask := sealAsk("payments/cards", EncryptOptions{Partition: []byte("p")})
		asked, err := w.client.view.Ask(at.Peers()[0], id.Trust, trust.Question{Items: []wire.Item{itemOf(ask)}})
		if err != nil {
			t.Fatal(err)
		}
		message, err := at.Carrier.Exchange(t.Context(), transport.Peer{}, asked.Sealed)
		if err != nil {
			t.Fatal(err)
		}
		w.domain.Tick()
		if revoked {
			w.domain.Revoke(w.key.Revocation)
		}
		if err := w.client.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		answer, err := w.client.view.Answer(asked, message)
		if err != nil {
			t.Fatalf("Answer = %v", err)
		}
		l, err := w.client.accept(answer, 0, ask)
		if err != nil {
			t.Fatal(err)
		}
		if w.client.counts(l) == revoked {
			t.Errorf("revoked %v, and the lease counts: %v", revoked, !revoked)
		}
		if before := w.client.Epoch(); before == answer.Epoch.String() {
			t.Errorf("the mark went back to %s", before)
		}
		answer.Wipe()
		l.Drop()
	}
}
