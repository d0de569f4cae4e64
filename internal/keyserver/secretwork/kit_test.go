// SPDX-License-Identifier: Apache-2.0

package secretwork

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/internal/audit"
	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/authority/authoritytest"
	"claviger/internal/hierarchy"
	"claviger/internal/kdf"
	"claviger/internal/keyserver/executor"
	"claviger/internal/keyserver/keywork"
	"claviger/internal/keyserver/policyset"
	"claviger/internal/secret"
	"claviger/internal/secrets"
	"claviger/internal/store"
	"claviger/internal/testkit/faultstore"
	"claviger/internal/wire"
)

// fixed is custody of a root secret that is no secret.
type fixed struct{}

func (fixed) Derive(label string, fields ...[]byte) (*secret.Bytes, error) {
	root := secret.New(32)
	defer root.Wipe()
	return kdf.Expand(root, [32]byte{9}, label, fields...), nil
}

// blobs takes any blob.
type blobs struct{}

func (blobs) Known(wire.Hash) bool                 { return true }
func (blobs) Blob([]byte) (h wire.Hash, err error) { return h, nil }

// kit is a domain whose key secrets/app backs secrets, and a worker on it.
type kit struct {
	*testing.T
	d      *authoritytest.Domain
	keys   *hierarchy.Hierarchy
	store  *faultstore.Store // of slots, and of the logs of further workers
	policy *policyset.InForce
	w      *Worker

	mu      sync.Mutex
	leaves  []audit.Leaf
	alarms  []string
	onEnter func(audit.Leaf) error
	onWait  error
}

// allowAll lets app do everything with secrets under secrets, and reader read.
const allowAll = `permit (principal == Workload::"spiffe://acme/workload/app", action in [Action::"secret:read", Action::"secret:write"], resource in Folder::"secrets");
permit (principal == Workload::"spiffe://acme/workload/reader", action == Action::"secret:read", resource in Folder::"secrets/app/shared");
permit (principal == Workload::"spiffe://acme/workload/writer", action == Action::"secret:write", resource == Secret::"secrets/app/shared/in");
permit (principal == Workload::"spiffe://acme/workload/holder", action, resource == Key::"secrets/app");`

func newKit(t *testing.T) *kit {
	k := &kit{T: t, d: authoritytest.New(t), policy: policyset.New(blobs{})}
	k.store = faultstore.New(k.d.Options.Store)
	o := hierarchy.Options{Custody: fixed{}, Domain: k.d.ID, Generation: 1, Server: k.d.ServerID(), Slots: k.d.Options.Store, Dir: t.TempDir()}
	first, err := hierarchy.Generate()
	if err == nil {
		err = hierarchy.Init(o, first)
	}
	k.must(err)
	k.keys, err = hierarchy.Open(t.Context(), o, hierarchy.Logged{})
	k.must(err)
	t.Cleanup(k.keys.Close)
	k.key(1, "secrets/app")
	k.rules(allowAll)
	k.w = k.worker(k.d.Log)
	return k
}

func (k *kit) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

func (k *kit) rules(source string) {
	k.d.Append(k.d.Log, authority.KindPolicy, authority.Policy{Source: []byte(source)}, k.d.Admin)
}

// key makes a key with one version.
func (k *kit) key(id byte, name string) {
	k.Helper()
	k.d.Create(k.d.Log, wire.KeyID{id}, name)
	k.version(id, 1)
}

func (k *kit) version(id byte, number uint64) {
	k.Helper()
	v, err := k.keys.NewVersion(k.Context(), wire.KeyID{id}, number, authority.AES256)
	k.must(err)
	p := authority.KeyVersion{
		ID: wire.KeyID{id}, Number: number, RootGeneration: v.RootGeneration, Segment: v.Segment, ErasureEpoch: v.ErasureEpoch, VC: v.VC,
	}
	rand.Read(p.Revocation[:])
	k.d.Append(k.d.Log, authority.KindKeyVersion, p, k.d.Server)
}

// worker is another worker, on a log of the same domain.
func (k *kit) worker(log *authority.Log) *Worker {
	return New(Options{
		Domain: k.d.ID, Ledger: executor.NewLedger(log, k.d.Server, k.d.Clock), Refresh: log.Refresh, Slots: k.store,
		Keys: keywork.New(k.keys, k.d.ID), Using: new(sync.RWMutex).RLocker(), Now: k.d.Clock.Now, Policy: k.policy.Get,
		PolicyErrors: func(found []string) {
			if len(found) > 0 {
				k.Error("a policy could not be evaluated: ", found)
			}
		},
		Enter: k.enter, Wait: func(context.Context, ...audit.Ticket) error { return k.onWait },
		Turn: func(context.Context) (func(), error) { return func() {}, nil },
		Alarm: func(_ context.Context, _, reason string) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.alarms = append(k.alarms, reason)
		},
	})
}

// second opens the log once more, on the store with faults, as another server's
// process would.
func (k *kit) second() *Worker {
	k.Helper()
	o := k.d.Options
	o.Store, o.Fresh = k.store, false
	log, err := authority.Open(k.Context(), o)
	k.must(err)
	return k.worker(log)
}

func (k *kit) enter(leaf audit.Leaf) (audit.Position, audit.Ticket, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.onEnter != nil {
		if err := k.onEnter(leaf); err != nil {
			return audit.Position{}, audit.Ticket{}, err
		}
	}
	k.leaves = append(k.leaves, leaf)
	return audit.Position{Log: 1, Index: uint64(len(k.leaves))}, audit.Ticket{}, nil
}

func caller(name string) *authn.Caller {
	c := authn.LocalCaller("x")
	c.Kind, c.ID = authn.Workload, "spiffe://acme/workload/"+name
	return c
}

// by has somebody ask through a worker.
func (k *kit) by(w *Worker, who string, a Ask) (*Result, error) {
	if a.Key == "" {
		a.Key = "secrets/app"
	}
	a.Route = "test"
	return w.Do(k.Context(), caller(who), &a)
}

// do has app ask, and expects no error.
func (k *kit) do(a Ask) *Result {
	k.Helper()
	out, err := k.by(k.w, "app", a)
	if err != nil {
		k.Fatalf("%s %s: %v", a.Operation, a.Path, err)
	}
	return out
}

func (k *kit) put(path, data string) {
	k.Helper()
	k.do(Ask{Operation: Put, Path: path, Data: []byte(data)})
}

// data is the newest data of a secret.
func (k *kit) data(path string) string {
	k.Helper()
	return string(k.do(Ask{Operation: Read, Path: path}).Data)
}

// slots are the keys of the slots of secrets.
func (k *kit) slots() (keys []string) {
	k.Helper()
	for e, err := range k.d.Options.Store.List(k.Context(), "secret/") {
		k.must(err)
		keys = append(keys, e.Key)
	}
	return keys
}

// current is the slot that the log names for a secret.
func (k *kit) current(path string) string {
	k.Helper()
	var row *authority.Secret
	k.d.Log.View(func(s *authority.State) { row = s.Secrets().Get("secrets/app/" + path) })
	return slot(row.Name, row.Revision, row.Slot)
}

// operations are one Ask of each operation on a secret that is there.
func operations(path string) []Ask {
	return []Ask{
		{Operation: Read, Path: path}, {Operation: Describe, Path: path}, {Operation: Put, Path: path, Data: []byte(`{}`)},
		{Operation: Patch, Path: path, Data: []byte(`{"x":1}`)}, {Operation: Delete, Path: path}, {Operation: Undelete, Path: path, Versions: []uint64{1}},
		{Operation: Destroy, Path: path, Versions: []uint64{1}}, {Operation: Configure, Path: path, Change: secrets.Change{CASRequired: new(bool)}},
		{Operation: Forget, Path: path},
	}
}

// TestLife: everything that is done to a secret, and one slot for it at any time.
func TestLife(t *testing.T) {
	k := newKit(t)
	steps := []struct {
		ask  Ask
		data string // of the newest version afterwards; "": none
	}{
		{Ask{Operation: Put, Data: []byte(`{"a": 1}`)}, `{"a":1}`},
		{Ask{Operation: Put, Data: []byte(`{"a":2,"b":{"c":"d"}}`), CAS: new(uint64(1))}, `{"a":2,"b":{"c":"d"}}`},
		{Ask{Operation: Patch, Data: []byte(`{"b":{"c":null,"e":[1]}}`)}, `{"a":2,"b":{"e":[1]}}`},
		{Ask{Operation: Delete}, ""},
		{Ask{Operation: Delete}, ""},
		{Ask{Operation: Undelete, Versions: []uint64{3}}, `{"a":2,"b":{"e":[1]}}`},
		{Ask{Operation: Destroy, Versions: []uint64{3}}, ""},
		{Ask{Operation: Put, Data: []byte(`{}`)}, `{}`},
	}
	for i, s := range steps {
		s.ask.Path = "team/db"
		out := k.do(s.ask)
		if v := out.Version; (s.ask.Operation == Put || s.ask.Operation == Patch) && (v == nil || v.Number == 0) {
			t.Errorf("%d: %+v", i, out)
		}
		if got := k.data("team/db"); got != s.data {
			t.Errorf("%d, %s: %q, want %q", i, s.ask.Operation, got, s.data)
		}
		if n := len(k.slots()); n != 1 {
			t.Errorf("%d, %s: %d slots", i, s.ask.Operation, n)
		}
		k.d.Clock.Advance(time.Minute)
	}
	if out := k.do(Ask{Operation: Read, Path: "team/db", Version: 1}); string(out.Data) != `{"a":1}` {
		t.Errorf("version 1: %s", out.Data)
	}
	if out := k.do(Ask{Operation: Read, Path: "team/db", Version: 3}); out.Data != nil || !out.Version.Destroyed {
		t.Errorf("a destroyed version: %+v", out)
	}
	about := k.do(Ask{Operation: Describe, Path: "team/db"}).Secret
	if about.Current != 4 || len(about.Versions) != 4 || !about.Created.Before(about.Updated) {
		t.Errorf("%+v", about)
	}
	k.do(Ask{Operation: Forget, Path: "team/db"})
	k.do(Ask{Operation: Forget, Path: "team/db"})
	if _, err := k.by(k.w, "app", Ask{Operation: Read, Path: "team/db"}); !errors.Is(err, secrets.ErrNoVersion) || len(k.slots()) != 0 {
		t.Errorf("after it was forgotten: %v, %d slots", err, len(k.slots()))
	}
	k.put("team/db", `{"new":true}`)
	if out := k.do(Ask{Operation: Read, Path: "team/db"}); string(out.Data) != `{"new":true}` || out.Version.Number != 1 {
		t.Errorf("anew: %+v", out)
	}
	if len(k.alarms) != 0 {
		t.Error(k.alarms)
	}
}

// TestNothingIsChangedForNothing: what changes nothing writes no record.
func TestNothingIsChangedForNothing(t *testing.T) {
	k := newKit(t)
	k.put("db", `{"a":1}`)
	before, _ := authoritytest.At(k.d.Log)
	for _, a := range []Ask{
		{Operation: Delete, Path: "none"}, {Operation: Undelete, Path: "none", Versions: []uint64{1}}, {Operation: Destroy, Path: "none", Versions: []uint64{1}},
		{Operation: Forget, Path: "none"}, {Operation: Delete, Path: "db", Versions: []uint64{9}}, {Operation: Undelete, Path: "db", Versions: []uint64{1}},
	} {
		k.do(a)
	}
	for _, a := range []Ask{
		{Operation: Patch, Path: "none", Data: []byte(`{}`)}, {Operation: Configure, Path: "none", Change: secrets.Change{Existing: true}},
		{Operation: Read, Path: "none"}, {Operation: Describe, Path: "none"}, {Operation: Read, Path: "db", Version: 7},
	} {
		if _, err := k.by(k.w, "app", a); !errors.Is(err, secrets.ErrNoVersion) {
			t.Errorf("%s: %v", a.Operation, err)
		}
	}
	if after, _ := authoritytest.At(k.d.Log); after != before {
		t.Errorf("the log went from %s to %s", before, after)
	}
}

// TestList: names of what one may read or write, and nothing of the rest.
func TestList(t *testing.T) {
	k := newKit(t)
	for _, path := range []string{"a", "a/b", "shared/in", "shared/deep/er", "z"} {
		k.put(path, `{}`)
	}
	for _, c := range []struct {
		who, folder string
		want        string // "denied": refused
	}{
		{"app", "", "a a/ shared/ z"}, {"app", "a", "b"}, {"app", "shared", "deep/ in"}, {"app", "nothing", ""},
		{"reader", "", "shared/"}, {"reader", "shared", "deep/ in"}, {"reader", "shared/empty", ""}, {"reader", "a", "denied"}, {"reader", "nothing", "denied"},
		{"writer", "", "shared/"}, {"writer", "shared", "in"}, {"writer", "shared/deep", "denied"},
		{"nobody", "", "denied"}, {"nobody", "a", "denied"}, {"holder", "", "denied"},
	} {
		out, err := k.by(k.w, c.who, Ask{Operation: List, Path: c.folder})
		got := "denied"
		if _, ok := errors.AsType[*Denied](err); !ok && err != nil {
			t.Fatal(err)
		} else if !ok {
			got = strings.Join(out.Names, " ")
		}
		if got != c.want {
			t.Errorf("%s in %q: %q, want %q", c.who, c.folder, got, c.want)
		}
		if last := k.leaves[len(k.leaves)-1]; last.Allowed() != (c.want != "denied") || last.Caller != caller(c.who).ID || !slices.Equal(last.Operations, []string{"list"}) {
			t.Errorf("%s in %q: leaf %+v", c.who, c.folder, last)
		}
	}
}

// TestRowsOfAnotherKeyAreNotListed: of two folders, one in the other, each has its
// own secrets.
func TestRowsOfAnotherKeyAreNotListed(t *testing.T) {
	k := newKit(t)
	k.key(2, "secrets")
	k.put("db", `{}`)
	k.do(Ask{Operation: Put, Key: "secrets", Path: "own", Data: []byte(`{}`)})
	if out := k.do(Ask{Operation: List, Key: "secrets"}); fmt.Sprint(out.Names) != "[own]" {
		t.Errorf("%v", out.Names)
	}
	for _, a := range operations("app/db") {
		a.Key = "secrets"
		out, err := k.by(k.w, "app", a)
		if d, ok := errors.AsType[*Denied](err); !ok || d.Cause == "" || out != nil {
			t.Errorf("%s under another key: %+v, %v", a.Operation, out, err)
		}
	}
	if k.data("db") != `{}` {
		t.Error("it was changed under another key")
	}
}

// afterPut calls something once the first slot was written.
type afterPut struct {
	store.Slots
	once sync.Once
	then func()
}

func (a *afterPut) Put(ctx context.Context, key string, old uint64, value []byte) error {
	err := a.Slots.Put(ctx, key, old, value)
	a.once.Do(a.then)
	return err
}
