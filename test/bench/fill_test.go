// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"crypto"
	"crypto/rand"
	"encoding/binary"
	"errors"
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
	start  int64       // Unix milliseconds: when the first key is made
	last   wire.Link   // before the next record, with its own hash as Previous
	slots  store.Store // in memory until the end
	keys   *hierarchy.Hierarchy
}

// made is what one key puts into the log.
type made struct{ create, version []byte }

const (
	fillBatch  = 10_000 // keys that are in memory at a time
	fillPerMS  = 100    // keys that the log says were made in one millisecond
	fillExpiry = 5      // milliseconds that their bodies hold: no key is new
)

// fill makes n keys of one version each in the stopped server's directory. The
// bodies that made them have expired by the next batch, as they would have for keys
// that were made weeks ago.
func fill(tb testing.TB, d *testkit.Domain, n int) {
	tb.Helper()
	f := &filler{d: d, root: d.Root(), slots: store.NewMem()}
	defer f.root.Wipe()
	must(tb, f.open(tb.Context()))
	defer f.keys.Close()
	must(tb, f.write(tb.Context(), n))
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
	f.start = max(f.d.Clock().Now().UnixMilli(), f.state.Time)
	f.last = wire.Link{Epoch: f.state.Epoch, Previous: f.state.Head}
	if f.signer, err = dir.Signer(domain, seals.Local); err != nil {
		return err
	}
	f.keys, err = hierarchy.Open(ctx, hierarchy.Options{
		Custody: f.root, Domain: domain, Generation: 1, Server: f.d.Founded.Server, Slots: f.slots, Dir: dir.Root(),
	}, hierarchy.Logged{})
	return err
}

// makeAll makes and signs keys from number first on, on every processor: all
// bodies have the same base.
func (f *filler) makeAll(ctx context.Context, first int, all []made) error {
	var group sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	errs := make([]error, workers)
	for w := range workers {
		group.Go(func() {
			for i := w; i < len(all) && errs[w] == nil; i += workers {
				all[i], errs[w] = f.makeKey(ctx, first+i)
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func (f *filler) makeKey(ctx context.Context, number int) (made, error) {
	p := authority.KeyCreate{
		Name: fmt.Sprintf("bench/%d", number), Algorithm: authority.AES256,
		Settings: authority.Settings{Lease: authority.DefaultLease, Staleness: authority.DefaultStaleness},
	}
	rand.Read(p.ID[:])
	rand.Read(p.Revocation[:])
	create := f.state.NewBody(authority.KindKeyCreate, authority.Object(p), p, f.expires(number))
	v, err := f.keys.NewVersion(ctx, p.ID, 1, p.Algorithm)
	if err != nil {
		return made{}, err
	}
	pv := authority.KeyVersion{
		ID: p.ID, Number: 1, RootGeneration: v.RootGeneration, Segment: v.Segment, ErasureEpoch: v.ErasureEpoch, VC: v.VC,
	}
	rand.Read(pv.Revocation[:])
	version := f.state.NewBody(authority.KindKeyVersion, authority.Object(pv), pv, f.expires(number))
	version.Replaces = wire.BodyHash(wire.Marshal(create))
	var out made
	if out.create, err = wire.Sign(wire.TypeBody, wire.Marshal(create), f.d.Admins[0]); err != nil {
		return made{}, err
	}
	out.version, err = wire.Sign(wire.TypeBody, wire.Marshal(version), f.signer)
	return out, err
}

// made says when a key was made, by the log.
func (f *filler) made(number int) int64 { return f.start + int64(number/fillPerMS) }

func (f *filler) expires(number int) time.Time { return time.UnixMilli(f.made(number) + fillExpiry) }

// write makes n keys and puts records and slots into the file, whose layout
// package bbolt documents.
func (f *filler) write(ctx context.Context, n int) error {
	db, err := bolt.Open(datadir.Dir(f.d.Dir).Store(), 0o600, &bolt.Options{NoSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return err
	}
	defer db.Close()
	for first := 0; first < n; first += fillBatch {
		some := make([]made, min(fillBatch, n-first))
		if err := f.makeAll(ctx, first, some); err != nil {
			return err
		}
		if err := db.Update(func(tx *bolt.Tx) error { return f.append(tx, first, some) }); err != nil {
			return err
		}
	}
	if err := db.Update(f.writeSlots); err != nil {
		return err
	}
	return db.Sync()
}

// append chains, seals and writes the records of some keys, the first of which has
// this number.
func (f *filler) append(tx *bolt.Tx, first int, some []made) error {
	log := tx.Bucket([]byte("log"))
	log.FillPercent = 1 // nothing is ever put between
	for i, m := range some {
		for _, entry := range [][]byte{m.create, m.version} {
			f.last = wire.Link{
				Type: wire.TypeRecord, Epoch: wire.Epoch{Generation: f.last.Epoch.Generation, Position: f.last.Epoch.Position + 1},
				Previous: f.last.Previous, Time: f.made(first + i), Server: f.d.Founded.Server, Content: wire.EntryHash(entry),
			}
			record := f.bodies.SealRecord(f.last, entry)
			if err := log.Put(binary.BigEndian.AppendUint64(nil, f.last.Epoch.Position), record); err != nil {
				return err
			}
			f.last.Previous = f.last.Hash()
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
