// SPDX-License-Identifier: Apache-2.0

package client

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"testing"

	"claviger/internal/testkit/fakeserver"
	"claviger/internal/wire"
)

// TestLies holds each field of a release, one by one, against a server or carrier
// that lies in it: the lie's error, no ciphertext, no plaintext, and a client that
// still works once it is told the truth again.
func TestLies(t *testing.T) {
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	grant := func(f func(*wire.Grant)) func(*world) {
		return func(w *world) { w.server.Lie.Grant = f }
	}
	item := func(f func(*wire.GrantItem)) func(*world) {
		return grant(func(g *wire.Grant) { f(&g.Items[0]) })
	}
	release := func(f func(*wire.Release)) func(*world) {
		return func(w *world) { w.server.Lie.Release = f }
	}
	message := func(f func([]byte) []byte) func(*world) {
		return func(w *world) { w.server.Lie.Message = f }
	}
	deny := func(i *wire.GrantItem) { i.Decision, i.KC, i.Reason = wire.DecisionDenied, nil, "because" }
	tests := []struct {
		name string
		lie  func(*world)
		want error
	}{
		{"another domain", grant(func(g *wire.Grant) { g.Domain[0]++ }), ErrIntegrity},
		{"another server", grant(func(g *wire.Grant) { g.Server[0]++ }), ErrIntegrity},
		{"another client", grant(func(g *wire.Grant) { g.Client = "spiffe://acme/workload/other" }), ErrIntegrity},
		{"another one-time key", grant(func(g *wire.Grant) { g.HPKE[0]++ }), ErrIntegrity},
		{"another request", grant(func(g *wire.Grant) { g.Request[0]++ }), ErrIntegrity},
		{"unknown membership", grant(func(g *wire.Grant) { g.Members[0]++ }), ErrIntegrity},
		{"no membership", grant(func(g *wire.Grant) { g.Members = wire.Hash{} }), ErrIntegrity},
		{"next generation", grant(func(g *wire.Grant) { g.Epoch.Generation++ }), ErrIntegrity},
		{"generation zero", grant(func(g *wire.Grant) { g.Epoch.Generation = 0 }), ErrIntegrity},
		{"position zero", grant(func(g *wire.Grant) { g.Epoch.Position = 0 }), ErrIntegrity},
		{"same epoch, another head", grant(func(g *wire.Grant) { g.Head[0]++ }), ErrFork},
		{"earlier epoch", func(w *world) {
			w.domain.Tick()
			w.seal("later")
			w.client.cache.Drop(sealAsk("payments/cards", EncryptOptions{}))
			w.server.Lie.Grant = func(g *wire.Grant) { g.Epoch.Position-- }
		}, ErrRollback},
		{"time zero", grant(func(g *wire.Grant) { g.Issued = 0 }), ErrIntegrity},
		{"another type in the grant", grant(func(g *wire.Grant) { g.Type = wire.TypeStatement }), ErrIntegrity},
		{"signed as another type", func(w *world) { w.server.Lie.Type = wire.TypeStatement }, ErrIntegrity},
		{"an item more", grant(func(g *wire.Grant) { g.Items = append(g.Items, g.Items[0]) }), ErrIntegrity},
		{"no item", grant(func(g *wire.Grant) { g.Items = nil }), ErrIntegrity},
		{"another key's name", item(func(i *wire.GrantItem) { i.Name = "payments/other" }), ErrIntegrity},
		{"no name", item(func(i *wire.GrantItem) { i.Name = "" }), ErrIntegrity},
		{"another key's id", item(func(i *wire.GrantItem) { i.KeyID[0]++ }), ErrUnexpectedKey},
		{"no id", item(func(i *wire.GrantItem) { i.KeyID = wire.KeyID{} }), ErrIntegrity},
		{"no version", item(func(i *wire.GrantItem) { i.Version = 0 }), ErrIntegrity},
		{"another purpose", item(func(i *wire.GrantItem) { i.Purpose = wire.PurposeWrap }), ErrIntegrity},
		{"another partition", item(func(i *wire.GrantItem) { i.Partition = []byte("x") }), ErrIntegrity},
		{"another operation", item(func(i *wire.GrantItem) { i.Operations = []string{"decrypt"} }), ErrIntegrity},
		{"an operation more", item(func(i *wire.GrantItem) { i.Operations = []string{"encrypt", "sign"} }), ErrIntegrity},
		{"deactivated", item(func(i *wire.GrantItem) { i.State = wire.StateDeactivated }), ErrIntegrity},
		{"compromised", item(func(i *wire.GrantItem) { i.State = wire.StateCompromised }), ErrIntegrity},
		{"destroyed", item(func(i *wire.GrantItem) { i.State = wire.StateDestroyed }), ErrIntegrity},
		{"no state", item(func(i *wire.GrantItem) { i.State = "" }), ErrIntegrity},
		{"no lease", item(func(i *wire.GrantItem) { i.Lease = 0 }), ErrStale},
		{"no staleness bound", item(func(i *wire.GrantItem) { i.Staleness = 0 }), ErrStale},
		{"unknown decision", item(func(i *wire.GrantItem) { i.Decision = "perhaps" }), ErrIntegrity},
		{"denied with a key", item(deny), ErrIntegrity},
		{"another commitment", item(func(i *wire.GrantItem) { i.KC[0]++ }), ErrIntegrity},
		{"no commitment", item(func(i *wire.GrantItem) { i.KC = nil }), ErrIntegrity},
		{"another key", release(func(r *wire.Release) { r.Keys[0][0]++ }), ErrIntegrity},
		{"a short key", release(func(r *wire.Release) { r.Keys[0] = r.Keys[0][:31] }), ErrIntegrity},
		{"no key", release(func(r *wire.Release) { r.Keys[0] = nil }), ErrIntegrity},
		{"no keys", release(func(r *wire.Release) { r.Keys = nil }), ErrIntegrity},
		{"a key more", release(func(r *wire.Release) { r.Keys = append(r.Keys, r.Keys[0]) }), ErrIntegrity},
		{"no grant", release(func(r *wire.Release) { r.Grant = nil }), ErrIntegrity},
		{"a changed grant", release(func(r *wire.Release) { r.Grant[len(r.Grant)/2] ^= 1 }), ErrIntegrity},
		{"signed by a stranger", func(w *world) { w.server.Lie.Signer = stranger }, ErrIntegrity},
		{"sealed to somebody else", func(w *world) { w.server.Lie.SealTo = wire.NewKey().Public() }, ErrIntegrity},
		{"a flipped bit", message(func(m []byte) []byte { m[len(m)-1] ^= 1; return m }), ErrIntegrity},
		{"cut", message(func(m []byte) []byte { return m[:len(m)-1] }), ErrIntegrity},
		{"longer", message(func(m []byte) []byte { return append(m, 0) }), ErrIntegrity},
		{"empty", message(func([]byte) []byte { return nil }), ErrIntegrity},
		{"an unsigned refusal", func(w *world) {
			w.server.Refuse(&fakeserver.Refusal{Status: 403, Code: "denied", Message: "you are revoked"})
		}, ErrUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.seal("pins the key's id") // so that a wrong id is noticed
			w.client.cache.Drop(sealAsk("payments/cards", EncryptOptions{}))
			tt.lie(w)
			out, err := w.client.Encrypt(t.Context(), "payments/cards", []byte("4111"), EncryptOptions{})
			if !errors.Is(err, tt.want) || out != nil {
				t.Fatalf("Encrypt = %d bytes, %v; want %v", len(out), err, tt.want)
			}
			if n := w.client.cache.Len(); n != 0 {
				t.Errorf("%d leases at hand after a lie", n)
			}
			w.server.Lie = fakeserver.Lies{}
			w.server.Refuse(nil)
			if err := w.open(w.seal("4111")); err != nil {
				t.Errorf("after the lie: %v", err)
			}
		})
	}
}

// TestLiesOnOpening is TestLies for what only matters when a version, id or
// partition is asked for.
func TestLiesOnOpening(t *testing.T) {
	tests := []struct {
		name string
		lie  func(*wire.GrantItem)
		want error
	}{
		{"another version", func(i *wire.GrantItem) { i.Version++ }, ErrIntegrity},
		{"another id", func(i *wire.GrantItem) { i.KeyID[0]++ }, ErrIntegrity},
		{"another name", func(i *wire.GrantItem) { i.Name = "payments/other" }, ErrUnexpectedKey},
		{"no partition", func(i *wire.GrantItem) { i.Partition = nil }, ErrIntegrity},
		{"compromised", func(i *wire.GrantItem) { i.State = wire.StateCompromised }, ErrCompromised},
		{"pre-active", func(i *wire.GrantItem) { i.State = wire.StatePreActive }, ErrIntegrity},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			sealed, err := w.client.Encrypt(t.Context(), "payments/cards", []byte("4111"), EncryptOptions{Partition: []byte("p")})
			if err != nil {
				t.Fatal(err)
			}
			w.server.Lie.Grant = func(g *wire.Grant) { tt.lie(&g.Items[0]) }
			if err := w.open(sealed); !errors.Is(err, tt.want) {
				t.Fatalf("Decrypt = %v, want %v", err, tt.want)
			}
		})
	}
}

// TestLiesOfIntroduction are those of who answers first.
func TestLiesOfIntroduction(t *testing.T) {
	other := newWorld(t)
	tests := []struct {
		name string
		lie  func(*world)
		want error
	}{
		{"descriptor of another domain", func(w *world) {
			w.server.Lie.Descriptor = func(d *wire.Descriptor) { d.Domain[0]++ }
		}, ErrIntegrity},
		{"descriptor of a server that never joined", func(w *world) {
			w.server.Lie.Descriptor = func(d *wire.Descriptor) { d.Server[0]++ }
		}, ErrIntegrity},
		{"descriptor that has ended", func(w *world) {
			w.server.Lie.Descriptor = func(d *wire.Descriptor) { d.Issued -= 7200e3; d.NotAfter = d.Issued + 3600e3 }
		}, ErrStale},
		{"descriptor for longer than a day", func(w *world) {
			w.server.Lie.Descriptor = func(d *wire.Descriptor) { d.NotAfter++ }
		}, ErrIntegrity},
		{"descriptor signed by a stranger", func(w *world) { w.server.Lie.Signer = other.server.Key() }, ErrIntegrity},
		{"no chain", func(w *world) {
			w.server.Lie.Introduction = func(in *wire.Introduction) { in.Members = nil }
		}, ErrIntegrity},
		{"another domain's chain", func(w *world) {
			w.server.Lie.Introduction = func(in *wire.Introduction) { in.Members = other.domain.Members().Chain }
		}, ErrIntegrity},
		{"another domain as a whole", func(w *world) {
			w.server.Lie.Introduction = func(in *wire.Introduction) {
				data, err := other.server.Introduction(w.t.Context())
				if err != nil {
					w.t.Error(err)
				}
				if err := wire.Unmarshal(data, in, wire.MaxIntroduction); err != nil {
					w.t.Error(err)
				}
			}
		}, ErrIntegrity},
		{"a cut link", func(w *world) {
			w.server.Lie.Introduction = func(in *wire.Introduction) { in.Members[0] = in.Members[0][:len(in.Members[0])-1] }
		}, ErrIntegrity},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.server.Restart()
			tt.lie(w)
			if _, err := w.client.Encrypt(t.Context(), "payments/cards", nil, EncryptOptions{}); !errors.Is(err, tt.want) {
				t.Fatalf("Encrypt = %v, want %v", err, tt.want)
			}
		})
	}
}
