// SPDX-License-Identifier: Apache-2.0

package replay_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"claviger/internal/admin/replay"
	"claviger/internal/authority"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// history is a log as its server could write it: of one admin and one server.
type history struct {
	t             testing.TB
	admin, server ed25519.PrivateKey
	log           *replay.Log
	cache         []byte
}

func newKey(t testing.TB) (ed25519.PrivateKey, []byte) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}

func newHistory(t testing.TB) *history {
	t.Helper()
	h := &history{t: t}
	var admin, server []byte
	h.admin, admin = newKey(t)
	h.server, server = newKey(t)
	g := members.Genesis{
		Name: "test", RootGeneration: 1, Root: wire.Sum("root"),
		Server:  members.Server{Name: "s1", Key: server, EpochKey: make([]byte, wire.PublicKeySize)},
		Keys:    members.Keys{Keys: []members.Key{{Name: "ann", Public: admin}}, Threshold: 1},
		Anchors: []members.Anchor{{Name: "embedded", Prefix: "spiffe://test/workload/", Embedded: true}},
	}
	genesis, err := authority.Genesis(g, time.UnixMilli(1000), h.admin)
	if err != nil {
		t.Fatal(err)
	}
	state, err := members.Found(genesis)
	if err != nil {
		t.Fatal(err)
	}
	h.log = &replay.Log{Domain: state.Domain}
	h.append(genesis)
	return h
}

// append writes a record, whatever its entry is worth, and folds it.
func (h *history) append(entry []byte) {
	h.t.Helper()
	link := wire.Link{
		Type: wire.TypeRecord, Epoch: wire.Epoch{Generation: 1, Position: 1}, Time: 2000,
		Server: wire.ServerIDOf(h.server.Public()), Content: wire.EntryHash(entry),
	}
	if s := h.log.State; s != nil {
		link.Epoch.Position, link.Previous = s.Epoch.Position+1, s.Head
	}
	o := wire.Opened{Link: link, Entry: entry}
	if err := h.log.Fold(o); err != nil {
		h.t.Fatal(err)
	}
	h.cache = replay.AppendRecord(h.cache, o)
}

// key is an entry that makes a key.
func (h *history) key(name string, by crypto.Signer) []byte {
	h.t.Helper()
	id := wire.Sum("id", []byte(name))
	p := authority.KeyCreate{
		Name: name, Algorithm: authority.AES256, ID: wire.KeyID(id[:16]), Revocation: wire.RevocationID{1, 2},
		Settings: authority.Settings{Lease: authority.DefaultLease, Staleness: authority.DefaultStaleness},
	}
	entry, err := h.log.State.Entry(authority.KindKeyCreate, p, time.UnixMilli(3000), by)
	if err != nil {
		h.t.Fatal(err)
	}
	return entry
}

// falsified is a key by the admin, whose signature is of other bytes.
func (h *history) falsified(name string) []byte {
	entry := h.key(name, h.admin)
	signed, err := wire.ParseSigned(wire.TypeBody, entry, wire.MaxBody)
	if err != nil {
		h.t.Fatal(err)
	}
	value := signed.Signatures[0].Value
	return bytes.Replace(entry, value, bytes.Repeat([]byte{7}, len(value)), 1)
}

// filled has two keys and, between them, one whose signature is false.
func filled(t testing.TB) *history {
	h := newHistory(t)
	h.append(h.key("a", h.admin))
	h.append(h.falsified("planted"))
	h.append(h.key("b", h.admin))
	return h
}

// again reads the cache anew.
func (h *history) again(known *replay.Verified) (log *replay.Log, used bool) {
	h.t.Helper()
	log = &replay.Log{Domain: h.log.Domain}
	good, used := log.Read(h.cache, known)
	if good != len(h.cache) || log.State.Head != h.log.State.Head {
		h.t.Fatalf("%d good bytes of %d", good, len(h.cache))
	}
	return log, used
}

// holdsBoth fails unless the log has the two keys and the planted record is void.
func holdsBoth(t *testing.T, name string, l *replay.Log) {
	t.Helper()
	s := l.State
	if s.KeyCount() != 2 || s.KeyNamed("a") == nil || s.KeyNamed("b") == nil || s.KeyNamed("planted") != nil || len(s.Voids) != 1 {
		t.Errorf("%s: %d keys, voids %+v", name, s.KeyCount(), s.Voids)
	}
}

// TestPlantedRecordStaysVoid: a record with a false signature lies in the chain
// below a head that was believed, and is void at every replay, remembered or not.
func TestPlantedRecordStaysVoid(t *testing.T) {
	h := filled(t)
	holdsBoth(t, "at first", h.log)
	v := h.log.Verified()
	for range 3 {
		parsed := replay.ParseVerified(wire.Marshal(v))
		log, used := h.again(parsed)
		if !used {
			t.Fatal("what was remembered is not used")
		}
		holdsBoth(t, "again", log)
		if v = log.Verified(); !bytes.Equal(v.Marks, []byte{0, 1, 0, 1}) {
			t.Errorf("marks %v", v.Marks)
		}
	}
	log, used := h.again(nil)
	if used {
		t.Error("nothing was used")
	}
	holdsBoth(t, "without", log)
	if got := log.Verified(); !bytes.Equal(got.Marks, v.Marks) {
		t.Errorf("marks %v", got.Marks)
	}
}

// TestMarksSpareTheArithmetic: a mark takes the place of a signature. That is what
// who can write the profile could do to its owner.
func TestMarksSpareTheArithmetic(t *testing.T) {
	h := filled(t)
	v := h.log.Verified()
	v.Marks = []byte{0, 1, 1, 1}
	if log, used := h.again(&v); !used || log.State.KeyNamed("planted") == nil {
		t.Error("the signature was verified all the same")
	}
}

// TestMarksOfAnotherHistory: all marks set, for a head that these records don't
// lead to, or in a shape that no replay leaves. They are not used.
func TestMarksOfAnotherHistory(t *testing.T) {
	h := filled(t)
	all := func(edit func(*replay.Verified)) *replay.Verified {
		v := h.log.Verified()
		v.Marks = []byte{1, 1, 1, 1}
		edit(&v)
		return &v
	}
	for name, v := range map[string]*replay.Verified{
		"another head":    all(func(v *replay.Verified) { v.Head[3] ^= 1 }),
		"an earlier head": all(func(v *replay.Verified) { v.Head, _ = h.log.State.HeadAt(3) }),
		"a later place": all(func(v *replay.Verified) {
			v.Epoch.Position, v.Marks = 5, []byte{1, 1, 1, 1, 1}
		}),
		"another domain":   all(func(v *replay.Verified) { v.Domain[0] ^= 1 }),
		"a mark too few":   all(func(v *replay.Verified) { v.Marks = v.Marks[1:] }),
		"a mark too many":  all(func(v *replay.Verified) { v.Marks = append(v.Marks, 1) }),
		"half a mark":      all(func(v *replay.Verified) { v.Marks[3] = 0x80 }),
		"a mark too large": all(func(v *replay.Verified) { v.Marks = binary.AppendUvarint([]byte{1, 1, 1}, 1<<32|1) }),
		"none":             all(func(v *replay.Verified) { v.Marks, v.Epoch = nil, wire.Epoch{} }),
	} {
		log, used := h.again(v)
		if used {
			t.Errorf("%s: used", name)
		}
		holdsBoth(t, name, log)
	}
	for _, data := range [][]byte{nil, []byte("noise"), wire.Marshal(replay.Verified{Type: "x"}), append(wire.Marshal(h.log.Verified()), 0)} {
		if v := replay.ParseVerified(data); v != nil {
			t.Errorf("%x: %+v", data, v)
		}
	}
}

// TestRecordsBeyondTheMarksAreVerified: a cache that grew since.
func TestRecordsBeyondTheMarksAreVerified(t *testing.T) {
	h := newHistory(t)
	h.append(h.key("a", h.admin))
	v := h.log.Verified()
	h.append(h.falsified("planted"))
	h.append(h.key("b", h.admin))
	log, used := h.again(&v)
	if !used {
		t.Error("not used")
	}
	holdsBoth(t, "grown", log)
	if got := log.Verified(); !bytes.Equal(got.Marks, []byte{0, 1, 0, 1}) {
		t.Errorf("marks %v", got.Marks)
	}
}

// TestReadStopsAtWhatIsNoRecord and says how much is good, with marks and without.
func TestReadStopsAtWhatIsNoRecord(t *testing.T) {
	h := filled(t)
	v := h.log.Verified()
	flipped := bytes.Clone(h.cache)
	flipped[len(flipped)-30] ^= 1
	last := lastRecord(h.cache)
	for name, c := range map[string]struct {
		data []byte
		good int
	}{
		"a record cut":      {h.cache[:len(h.cache)-1], last},
		"a record changed":  {flipped, last},
		"a length alone":    {append(bytes.Clone(h.cache), 0, 0), len(h.cache)},
		"an endless record": {append(bytes.Clone(h.cache), 0xff, 0xff, 0xff, 0xff), len(h.cache)},
		"all twice":         {slices.Concat(h.cache, h.cache), len(h.cache)},
		"nothing":           {nil, 0},
	} {
		for _, known := range []*replay.Verified{nil, &v} {
			l := &replay.Log{Domain: h.log.Domain}
			if good, _ := l.Read(c.data, known); good != c.good {
				t.Errorf("%s: %d good bytes, want %d", name, good, c.good)
			}
		}
	}
}

// lastRecord is where the last record of a cache begins.
func lastRecord(cache []byte) (at int) {
	for next := 0; next < len(cache); {
		at, next = next, next+4+int(binary.BigEndian.Uint32(cache[next:]))
	}
	return at
}

func TestAnotherDomain(t *testing.T) {
	h := filled(t)
	v := h.log.Verified()
	v.Domain = wire.DomainID{1}
	l := &replay.Log{Domain: wire.DomainID{1}}
	if good, used := l.Read(h.cache, &v); good != 0 || used || l.State != nil {
		t.Errorf("%d bytes of another domain's log are good", good)
	}
	o, err := wire.ParseOpened(h.cache[4 : 4+binary.BigEndian.Uint32(h.cache)])
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Fold(*o); !errors.Is(err, replay.ErrOtherDomain) || l.State != nil {
		t.Errorf("another domain's genesis: %v", err)
	}
}

// TestNewerSaysWhatWasFolded.
func TestNewerSaysWhatWasFolded(t *testing.T) {
	h := filled(t)
	h.log.Newer = nil
	h.append(h.key("c", h.admin))
	if n := h.log.Newer; len(n) != 1 || n[0].Kind != authority.KindKeyCreate || n[0].Epoch.Position != 5 || n[0].Body == (wire.BodyID{}) {
		t.Errorf("%+v", n)
	}
	if log, _ := h.again(nil); len(log.Newer) != 0 {
		t.Errorf("%d records of a cache are new", len(log.Newer))
	}
}

func FuzzRead(f *testing.F) {
	h := filled(f)
	f.Add([]byte{0, 0, 0, 1, 0x80}, []byte{})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, []byte{0xa0})
	f.Add(h.cache, wire.Marshal(h.log.Verified()))
	f.Fuzz(func(t *testing.T, data, known []byte) {
		l := &replay.Log{Domain: h.log.Domain}
		good, used := l.Read(data, replay.ParseVerified(known))
		if good < 0 || good > len(data) || l.State == nil && (good != 0 || used) {
			t.Errorf("%d good bytes of %d", good, len(data))
		}
	})
}

func benchmark(b *testing.B, remembered bool) {
	const records = 1000
	h := newHistory(b)
	for i := range records {
		h.append(h.key("k"+strconv.Itoa(i), h.admin))
	}
	v := h.log.Verified()
	known := &v
	if !remembered {
		known = nil
	}
	for b.Loop() {
		if log, used := h.again(known); used != remembered || log.State.KeyCount() != records {
			b.Fatal(log.State.KeyCount())
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/records, "µs/record")
}

// BenchmarkRead is what every command of an admin pays for a log of 1,000
// records that the profile holds.
func BenchmarkRead(b *testing.B) {
	b.Run("remembered", func(b *testing.B) { benchmark(b, true) })
	b.Run("verified", func(b *testing.B) { benchmark(b, false) })
}
