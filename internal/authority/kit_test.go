// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"claviger/internal/clock"
	"claviger/internal/members"
	"claviger/internal/secret"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// person is whoever has a signing key: an admin, a server, a stranger.
type person struct {
	name string
	key  ed25519.PrivateKey
}

func newPerson(name string) person {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err)
	}
	return person{name, key}
}

func (p person) public() []byte {
	der, err := x509.MarshalPKIXPublicKey(p.key.Public())
	if err != nil {
		panic(err)
	}
	return der
}

func (p person) admin() members.Key { return members.Key{Name: p.name, Public: p.public()} }

func (p person) server() members.Server {
	return members.Server{Name: p.name, Key: p.public(), EpochKey: make([]byte, wire.PublicKeySize)}
}

func (p person) id() wire.ServerID { return wire.ServerIDOf(p.key.Public()) }

// kit is a domain of three admins with threshold 2, a recovery quorum of two,
// and the server s1, whose log is open on a store in memory.
type kit struct {
	t             testing.TB
	clock         *clock.Manual
	ann, bob, cyd person
	rex, rio      person // recovery
	s1, s2        person
	store         store.Store
	dir           string
	domain        wire.DomainID
	genesis       []byte
	body          *secret.Bytes
	slot          *secret.Bytes
	local         *secret.Bytes
	log           *Log
}

const recoveryWait = 3600

func newKit(t testing.TB) *kit { return newKitOn(t, store.NewMem()) }

func newKitOn(t testing.TB, st store.Store) *kit {
	t.Helper()
	k := &kit{
		t: t, clock: clock.NewManual(time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)), store: st, dir: t.TempDir(),
		ann: newPerson("ann"), bob: newPerson("bob"), cyd: newPerson("cyd"), rex: newPerson("rex"), rio: newPerson("rio"),
		s1: newPerson("s1"), s2: newPerson("s2"),
		body: secret.Random(32), slot: secret.Random(32), local: secret.Random(32),
	}
	g := members.Genesis{
		Name: "test", RootGeneration: 1, Root: wire.Sum("root"), Server: k.s1.server(),
		Keys:     members.Keys{Keys: []members.Key{k.ann.admin(), k.bob.admin(), k.cyd.admin()}, Threshold: 2},
		Recovery: members.Recovery{Keys: []members.Key{k.rex.admin(), k.rio.admin()}, Threshold: 2, Wait: recoveryWait},
		Anchors:  []members.Anchor{{Name: "embedded", Prefix: "spiffe://test/workload/", Embedded: true}},
	}
	rand.Read(g.Random[:])
	k.genesis = must(Genesis(g, k.clock.Now(), k.ann.key))
	k.domain = must(members.Found(k.genesis)).Domain
	k.log = must(Create(t.Context(), k.options(k.s1), k.genesis))
	return k
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (k *kit) options(server person) Options {
	return Options{
		Store: k.store, Domain: k.domain, BodySeal: k.body, SlotSeal: k.slot, LocalSeal: k.local,
		HeadPath: filepath.Join(k.dir, "head-"+server.name), Server: server.id(), Signer: server.key,
		Clock: k.clock, Namer: revID,
	}
}

func revID(client string) wire.RevocationID {
	h := wire.Sum("namer", []byte(client))
	return wire.RevocationID(h[:16])
}

// open opens the log again, as the same server.
func (k *kit) open() (*Log, error) { return Open(k.t.Context(), k.options(k.s1)) }

// reopen is open for a store that has nothing wrong.
func (k *kit) reopen() *Log {
	k.t.Helper()
	l, err := k.open()
	if err != nil {
		k.t.Fatalf("open: %v", err)
	}
	return l
}

func keysOf(signers []person) []crypto.Signer {
	var keys []crypto.Signer
	for _, s := range signers {
		keys = append(keys, s.key)
	}
	return keys
}

// entry makes an entry about the newest state.
func (k *kit) entry(kind string, payload any, signers ...person) []byte {
	k.t.Helper()
	var out []byte
	k.log.View(func(s *State) {
		out = must(s.Entry(kind, payload, k.clock.Now().Add(time.Hour), keysOf(signers)...))
	})
	return out
}

// entryWith is entry with a body that edit has changed before it is signed.
func (k *kit) entryWith(kind string, payload any, edit func(*wire.Body), signers ...person) []byte {
	k.t.Helper()
	var body wire.Body
	k.log.View(func(s *State) { body = s.NewBody(kind, Object(payload), payload, k.clock.Now().Add(time.Hour)) })
	edit(&body)
	return must(wire.Sign(wire.TypeBody, wire.Marshal(body), keysOf(signers)...))
}

// do appends an entry that must hold.
func (k *kit) do(kind string, payload any, signers ...person) wire.Epoch {
	k.t.Helper()
	epoch, err := k.log.Append(k.t.Context(), k.entry(kind, payload, signers...))
	if err != nil {
		k.t.Fatalf("%s: %v", kind, err)
	}
	return epoch
}

// refused appends an entry and wants it refused.
func (k *kit) refused(kind string, payload any, want error, signers ...person) {
	k.t.Helper()
	before := k.epoch()
	if _, err := k.log.Append(k.t.Context(), k.entry(kind, payload, signers...)); !errors.Is(err, want) {
		k.t.Errorf("%s: got %v, want %v", kind, err, want)
	}
	if k.epoch() != before {
		k.t.Errorf("%s: refused, and the log moved", kind)
	}
}

func (k *kit) epoch() (e wire.Epoch) {
	k.log.View(func(s *State) { e = s.Epoch })
	return e
}

// force writes a record past all checks, as a server gone bad could: it has the
// seal, and the store takes anything.
func (k *kit) force(edit func(*wire.Link), entry []byte) {
	k.t.Helper()
	link := k.log.nextLink(entry)
	if edit != nil {
		edit(&link)
	}
	if err := k.store.Append(k.t.Context(), link.Epoch.Position-1, k.log.bodies.SealRecord(link, entry)); err != nil {
		k.t.Fatal(err)
	}
}

// records are the raw records of the store.
func (k *kit) records() (out [][]byte) {
	k.t.Helper()
	for r, err := range k.store.Read(k.t.Context(), 1, false) {
		if err != nil {
			k.t.Fatal(err)
		}
		out = append(out, r.Data)
	}
	return out
}

// withRecords is a kit on a new store with these records.
func (k *kit) withRecords(records [][]byte) *kit {
	k.t.Helper()
	other := *k
	other.store = store.NewMem()
	for i, r := range records {
		if err := other.store.Append(context.Background(), uint64(i), r); err != nil {
			k.t.Fatal(err)
		}
	}
	return &other
}

func keyID(n byte) wire.KeyID { return wire.KeyID{n, 1} }

func settings() Settings { return Settings{Lease: DefaultLease, Staleness: DefaultStaleness} }

func createKey(n byte, name string) KeyCreate {
	return KeyCreate{ID: keyID(n), Name: name, Algorithm: AES256, Settings: settings(), Revocation: wire.RevocationID{n, 2}}
}

func version(n byte, number uint64) KeyVersion {
	return KeyVersion{
		ID: keyID(n), Number: number, RootGeneration: 1, Segment: [16]byte{n}, VC: wire.Sum("vc", []byte{n, byte(number)}),
		Revocation: wire.RevocationID{n, 3, byte(number)},
	}
}

// state returns the state for tests that change nothing meanwhile.
func (k *kit) state() (s *State) {
	k.log.View(func(have *State) { s = have })
	return s
}

func (k *kit) revocations() []wire.RevocationID {
	return k.state().Revocations(k.clock.Now().UnixMilli())
}

func (k *kit) isRevoked(id wire.RevocationID) bool { return slices.Contains(k.revocations(), id) }

func client(name string) string { return "spiffe://test/workload/" + name }
