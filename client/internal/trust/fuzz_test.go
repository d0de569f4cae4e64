// SPDX-License-Identifier: Apache-2.0

package trust_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"claviger/client/internal/trust"
	"claviger/internal/clock"
	"claviger/internal/testkit/fakeserver"
	"claviger/internal/wire"
)

// nothing keeps nothing.
type nothing struct{}

func (nothing) SaveMark(m trust.Mark) (trust.Mark, error) { return m, nil }
func (nothing) SaveMembers([][]byte) error                { return nil }
func (nothing) SaveProof(string, []byte, []byte) error    { return nil }

// FuzzHostileBytes feeds a View what anybody on the way can send. It must come
// out as it went in: nothing unsigned changes what is believed.
func FuzzHostileBytes(f *testing.F) {
	clk := clock.NewManual(time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC))
	d := fakeserver.New(f, fakeserver.Options{Clock: clk})
	s := d.Server("one")
	introduction, err := s.Introduction(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	statement, err := s.Statement(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(introduction)
	f.Add(statement)
	f.Add(wire.Marshal(trust.Mark{Type: trust.TypeMark, Domain: d.ID(), Checkpoints: []trust.Checkpoint{{Size: 1}}}))
	v, err := trust.New(trust.Options{Domain: d.ID(), Members: d.Members().Chain, Keeper: nothing{}, Clock: clk})
	if err != nil {
		f.Fatal(err)
	}
	peer, err := v.Introduce(introduction)
	if err != nil {
		f.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	asked, err := v.Ask(peer, trust.Identity{Client: "spiffe://acme/workload/app", Chain: [][]byte{{1}}, Key: key}, trust.Question{
		Items: []wire.Item{{Name: "k", Purpose: wire.PurposeData, Operations: []string{"encrypt"}}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wire.Marshal(wire.Release{Grant: statement, Keys: [][]byte{make([]byte, 32)}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := v.Ahead(asked, wire.Hash{}, bytes.Clone(data)); err == nil {
			t.Error("bytes that no server signed release a key")
		}
		if _, err := v.Introduce(data); err == nil && !bytes.Equal(data, introduction) {
			t.Error("bytes that the server never sent introduce it")
		}
		if err := v.Statement(data); err == nil {
			t.Error("a statement counts before anything was asked")
		}
		if m, err := trust.ParseMark(data, d.ID()); err == nil && !bytes.Equal(wire.Marshal(m), data) {
			t.Error("a mark has two encodings")
		}
		if len(v.Members().Chain) != 1 || v.Mark().Epoch != (wire.Epoch{}) {
			t.Error("hostile bytes changed what is believed")
		}
	})
}
