// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"crypto"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"claviger/internal/authority"
	"claviger/internal/authority/atrest"
	"claviger/internal/hierarchy"
	"claviger/internal/keyserver/datadir"
	"claviger/internal/root"
	"claviger/internal/store"
	"claviger/internal/store/bbolt"
	"claviger/internal/testkit"
	"claviger/internal/wire"
)

// filler writes keys into a data directory whose server is stopped: the records
// and slots that the server would have written, signed by the same keys, with one
// sync for all of them.
type filler struct {
	d      *testkit.Domain
	root   *root.Secret
	bodies atrest.Box
	signer crypto.Signer
	state  *authority.State
	slots  store.Store // in memory until the end
	keys   *hierarchy.Hierarchy
}

// made is what one key puts into the log.
type made struct{ create, version []byte }

// fill makes n keys of one version each in the stopped server's directory.
func fill(tb testing.TB, d *testkit.Domain, n int) {
	tb.Helper()
	f := &filler{d: d, root: d.Root(), slots: store.NewMem()}
	defer f.root.Wipe()
	must(tb, f.open(tb.Context()))
	defer f.keys.Close()
	all := make([]made, n)
	must(tb, f.makeAll(tb.Context(), all))
	must(tb, f.write(all))
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// open replays the log and takes the server's signing key and hierarchy.
func (f *filler) open(ctx context.Context) error {
	domain, dir := f.d.Founded.Domain, datadir.Dir(f.d.Dir)
	seals, err := datadir.DeriveSeals(f.root, domain)
	if err != nil {
		return err
	}
	f.bodies = atrest.Box{Key: seals.Body, Domain: domain, Label: "record"}
	st, err := bbolt.Open(dir.Store(), bbolt.Options{Existing: true})
	if err != nil {
		return err
	}
	defer st.Close()
	log, err := authority.Open(ctx, authority.Options{
		Store: st, Domain: domain, BodySeal: seals.Body, SlotSeal: seals.Slot, LocalSeal: seals.Local, Clock: f.d.Clock(),
	})
	if err != nil {
		return err
	}
	log.View(func(s *authority.State) { f.state = s })
	if f.signer, err = dir.Signer(domain, seals.Local); err != nil {
		return err
	}
	f.keys, err = hierarchy.Open(ctx, hierarchy.Options{
		Custody: f.root, Domain: domain, Generation: 1, Server: f.d.Founded.Server, Slots: f.slots, Dir: dir.Root(),
	}, hierarchy.Logged{})
	return err
}

// makeAll makes and signs on every processor: all bodies have the same base.
func (f *filler) makeAll(ctx context.Context, all []made) error {
	var group sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	errs := make([]error, workers)
	for w := range workers {
		group.Go(func() {
			for i := w; i < len(all) && errs[w] == nil; i += workers {
				all[i], errs[w] = f.makeKey(ctx, fmt.Sprintf("bench/%d", i))
			}
		})
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *filler) makeKey(ctx context.Context, name string) (made, error) {
	p := authority.KeyCreate{
		Name: name, Algorithm: authority.AES256,
		Settings: authority.Settings{Lease: authority.DefaultLease, Staleness: authority.DefaultStaleness},
	}
	rand.Read(p.ID[:])
	rand.Read(p.Revocation[:])
	create := f.state.NewBody(authority.KindKeyCreate, authority.Object(p), p, f.expires())
	v, err := f.keys.NewVersion(ctx, p.ID, 1, p.Algorithm)
	if err != nil {
		return made{}, err
	}
	pv := authority.KeyVersion{
		ID: p.ID, Number: 1, RootGeneration: v.RootGeneration, Segment: v.Segment, ErasureEpoch: v.ErasureEpoch, VC: v.VC,
	}
	rand.Read(pv.Revocation[:])
	version := f.state.NewBody(authority.KindKeyVersion, authority.Object(pv), pv, f.expires())
	version.Replaces = wire.BodyHash(wire.Marshal(create))
	var out made
	if out.create, err = wire.Sign(wire.TypeBody, wire.Marshal(create), f.d.Admins[0]); err != nil {
		return made{}, err
	}
	out.version, err = wire.Sign(wire.TypeBody, wire.Marshal(version), f.signer)
	return out, err
}

func (f *filler) expires() time.Time { return f.d.Clock().Now().Add(time.Hour) }

// write chains and seals the records and puts them and the slots into the file,
// whose layout package bbolt documents.
func (f *filler) write(all []made) error {
	db, err := bolt.Open(datadir.Dir(f.d.Dir).Store(), 0o600, &bolt.Options{NoSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return err
	}
	defer db.Close()
	const batch = 5000
	link := wire.Link{Epoch: f.state.Epoch, Previous: f.state.Head}
	for len(all) > 0 {
		n := min(batch, len(all))
		if err := db.Update(func(tx *bolt.Tx) error { return f.append(tx, all[:n], &link) }); err != nil {
			return err
		}
		all = all[n:]
	}
	if err := db.Update(f.writeSlots); err != nil {
		return err
	}
	return db.Sync()
}

// append writes the records of some keys; last is the link before them, with its
// own hash as Previous, and then that of the newest.
func (f *filler) append(tx *bolt.Tx, some []made, last *wire.Link) error {
	log := tx.Bucket([]byte("log"))
	now := max(f.d.Clock().Now().UnixMilli(), f.state.Time)
	for _, m := range some {
		for _, entry := range [][]byte{m.create, m.version} {
			*last = wire.Link{
				Type: wire.TypeRecord, Epoch: wire.Epoch{Generation: last.Epoch.Generation, Position: last.Epoch.Position + 1},
				Previous: last.Previous, Time: now, Server: f.d.Founded.Server, Content: wire.EntryHash(entry),
			}
			record := f.bodies.SealRecord(*last, entry)
			if err := log.Put(binary.BigEndian.AppendUint64(nil, last.Epoch.Position), record); err != nil {
				return err
			}
			last.Previous = last.Hash()
		}
	}
	return nil
}

func (f *filler) writeSlots(tx *bolt.Tx) error {
	slots := tx.Bucket([]byte("slots"))
	for e, err := range f.slots.List(context.Background(), "") {
		if err != nil {
			return err
		}
		next, err := slots.NextSequence()
		if err != nil {
			return err
		}
		if err := slots.Put([]byte(e.Key), append(binary.BigEndian.AppendUint64(nil, next), e.Value...)); err != nil {
			return err
		}
	}
	return nil
}
