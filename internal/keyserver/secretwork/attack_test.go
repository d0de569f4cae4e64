// SPDX-License-Identifier: Apache-2.0

package secretwork

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"claviger/internal/audit"
	"claviger/internal/authority"
	"claviger/internal/authority/authoritytest"
	"claviger/internal/keyserver/rules"
	"claviger/internal/secrets"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// denied expects a refusal for a cause, with a leaf that says so, and nothing else.
func (k *kit) denied(who string, a Ask, cause rules.Cause) *Denied {
	k.Helper()
	leaves, slots := len(k.leaves), len(k.slots())
	epoch, _ := authoritytest.At(k.d.Log)
	out, err := k.by(k.w, who, a)
	d, ok := errors.AsType[*Denied](err)
	if !ok || out != nil || d.Cause != cause {
		k.Fatalf("%s %s %s: %+v, %v", who, a.Operation, a.Path, out, err)
	}
	after, _ := authoritytest.At(k.d.Log)
	if after != epoch || len(k.slots()) != slots || len(k.leaves) != leaves+1 || k.leaves[leaves].Allowed() || k.leaves[leaves].Kind != audit.Decision {
		k.Errorf("%s %s %s: refused, and something happened: %+v", who, a.Operation, a.Path, k.leaves[leaves:])
	}
	return d
}

// TestPolicyDecides: every operation takes its action on the secret itself, and a
// secret that isn't there is refused in the same words.
func TestPolicyDecides(t *testing.T) {
	k := newKit(t)
	for _, path := range []string{"db", "shared/in", "shared/other"} {
		k.put(path, `{}`)
	}
	for _, a := range operations("db") {
		for _, who := range []string{"nobody", "reader", "writer", "holder"} {
			here := k.denied(who, a, rules.CausePolicy)
			absent := a
			absent.Path = "xx"
			there := k.denied(who, absent, rules.CausePolicy)
			if strings.ReplaceAll(here.Error(), "/db", "/xx") != there.Error() {
				t.Errorf("%q and %q", here, there)
			}
		}
	}
	for _, a := range operations("shared/other") {
		if a.writes() {
			k.denied("reader", a, rules.CausePolicy)
		} else if _, err := k.by(k.w, "reader", a); err != nil {
			t.Errorf("reader, %s: %v", a.Operation, err)
		}
	}
	for _, a := range operations("shared/in") {
		if !a.writes() {
			k.denied("writer", a, rules.CausePolicy)
		} else if _, err := k.by(k.w, "writer", a); err != nil {
			t.Errorf("writer, %s: %v", a.Operation, err)
		}
	}
	// The folder itself is not in its own folder.
	k.denied("reader", Ask{Operation: Describe}, rules.CausePolicy)
	k.denied("writer", Ask{Operation: Configure}, rules.CausePolicy)
	k.denied("app", Ask{Operation: Read, Key: "secrets/nokey", Path: "db"}, rules.CausePolicy)
}

// TestLeaves: a decision before anything happens, and for a change a second leaf
// that names it.
func TestLeaves(t *testing.T) {
	k := newKit(t)
	k.put("db", `{}`)
	for _, a := range operations("db") {
		k.leaves = nil
		k.do(a)
		want := 1
		if a.writes() {
			want = 2
		}
		if len(k.leaves) != want {
			t.Fatalf("%s: %d leaves", a.Operation, len(k.leaves))
		}
		first := k.leaves[0]
		if first.Kind != audit.Decision || !first.Allowed() || first.Action != a.action() || first.Resource != "secrets/app/db" || first.KeyID != (wire.KeyID{1}) ||
			first.Version != 1 || fmt.Sprint(first.Operations) != "["+string(a.Operation)+"]" || first.Route != "test" || len(first.Policies) == 0 {
			t.Errorf("%s: %+v", a.Operation, first)
		}
		if want == 2 && (k.leaves[1].Kind != audit.Outcome || k.leaves[1].Decision != "done" || k.leaves[1].Of != (audit.Position{Log: 1, Index: 1})) {
			t.Errorf("%s: %+v", a.Operation, k.leaves[1])
		}
	}
	k.leaves = nil
	if _, err := k.by(k.w, "app", Ask{Operation: Put, Path: "db", Data: []byte(`{}`), CAS: new(uint64(9))}); !errors.Is(err, secrets.ErrMismatch) {
		t.Fatal(err)
	}
	if len(k.leaves) != 2 || k.leaves[1].Decision != "failed" {
		t.Errorf("a failure: %+v", k.leaves)
	}
	for _, leaf := range k.leaves {
		if strings.Contains(fmt.Sprintf("%+v", leaf), "hunter2") {
			t.Error("data in a leaf")
		}
	}
}

// TestNoLeafNoAnswer: what can't be recorded is neither done nor answered.
func TestNoLeafNoAnswer(t *testing.T) {
	full := errors.New("the disk is full")
	for name, fail := range map[string]func(*kit){
		"enter": func(k *kit) { k.onEnter = func(audit.Leaf) error { return full } },
		"sync":  func(k *kit) { k.onWait = full },
	} {
		k := newKit(t)
		k.put("db", `{"a":1}`)
		before, _ := authoritytest.At(k.d.Log)
		fail(k)
		for _, a := range append(operations("db"), Ask{Operation: List}) {
			for _, who := range []string{"app", "nobody"} {
				if out, err := k.by(k.w, who, a); out != nil || !errors.Is(err, full) {
					t.Errorf("%s, %s by %s: %+v, %v", name, a.Operation, who, out, err)
				}
			}
		}
		k.onEnter, k.onWait = nil, nil
		if after, _ := authoritytest.At(k.d.Log); after != before || k.data("db") != `{"a":1}` {
			t.Errorf("%s: something was changed", name)
		}
	}
}

// TestStorePutsBack: an older document, another secret's, a changed one or none is
// never taken for the one that the log names, and tells of itself.
func TestStorePutsBack(t *testing.T) {
	k := newKit(t)
	k.put("db", `{"a":1}`)
	old, _, err := k.store.Get(t.Context(), k.current("db"))
	k.must(err)
	oldKey := k.current("db")
	// What another server prepared for the same revision, and was second with.
	v := k.w.look(caller("app"), &Ask{Operation: Put, Key: "secrets/app", Path: "db"})
	loser, err := k.w.seal(t.Context(), &v, "secrets/app/db", wire.Marshal(secrets.New(k.d.Clock.Now())))
	k.must(err)
	lost, _, err := k.store.Get(t.Context(), slot(loser.Name, loser.Revision, loser.Slot))
	k.must(err)
	k.put("db", `{"a":2}`)
	k.put("other", `{"a":3}`)
	other, _, err := k.store.Get(t.Context(), k.current("other"))
	k.must(err)
	good, version, err := k.store.Get(t.Context(), k.current("db"))
	k.must(err)
	put := func(value []byte) {
		_, version, err = k.store.Get(t.Context(), k.current("db"))
		k.must(err)
		k.must(k.store.Put(t.Context(), k.current("db"), version, value))
	}
	for name, fault := range map[string]func(){
		"older":   func() { put(old) },
		"loser":   func() { put(lost) },
		"swapped": func() { put(other) },
		"changed": func() { k.store.FlipSlot(k.current("db"), 700) },
		"cut":     func() { k.store.TruncateSlot(k.current("db"), len(good)-1) },
		"lost":    func() { k.store.Hide(k.current("db")) },
	} {
		fault()
		k.alarms = nil
		k.w.alarmed.Store(0)
		for _, a := range operations("db") {
			if a.Operation == Forget {
				continue
			}
			if out, err := k.by(k.w, "app", a); out != nil || !errors.Is(err, ErrStore) {
				t.Errorf("%s, %s: %+v, %v", name, a.Operation, out, err)
			}
		}
		if len(k.alarms) != 1 || !strings.Contains(k.alarms[0], "secrets/app/db") {
			t.Errorf("%s: alarms %q", name, k.alarms)
		}
		k.store.Heal()
		put(good)
		if got := k.data("db"); got != `{"a":2}` {
			t.Errorf("%s: healed to %q", name, got)
		}
	}
	// The older slot itself, where it once lay, is nothing to anybody.
	k.must(k.store.Put(t.Context(), oldKey, 0, old))
	if got := k.data("db"); got != `{"a":2}` {
		t.Errorf("read %q", got)
	}
	k.put("db", `{"a":4}`)
	if n := len(k.slots()); n != 2 {
		t.Errorf("%d slots of two secrets", n)
	}
}

// TestDocumentsAreBound: a document opens for its own name and revision alone,
// whatever a server says of it.
func TestDocumentsAreBound(t *testing.T) {
	k := newKit(t)
	k.put("db", `{"a":1}`)
	var row authority.Secret
	k.d.Log.View(func(s *authority.State) { row = *s.Secrets().Get("secrets/app/db") })
	sealed, _, err := k.store.Get(t.Context(), k.current("db"))
	k.must(err)
	for _, as := range []authority.SecretWritten{
		{Name: "secrets/app/db", Revision: 2, Slot: row.Slot, Key: row.Key, Version: 1},
		{Name: "secrets/app/copy", Revision: 1, Slot: row.Slot, Key: row.Key, Version: 1},
	} {
		k.must(k.store.Put(t.Context(), slot(as.Name, as.Revision, as.Slot), 0, sealed))
		k.d.Append(k.d.Log, authority.KindSecret, as, k.d.Server)
		path := strings.TrimPrefix(as.Name, "secrets/app/")
		if out, err := k.by(k.w, "app", Ask{Operation: Read, Path: path}); out != nil || !errors.Is(err, ErrStore) {
			t.Errorf("%s revision %d: %+v, %v", as.Name, as.Revision, out, err)
		}
	}
}

// TestCrashBetweenSlotAndRecord: nothing is lost, and what is left over goes with
// the next change.
func TestCrashBetweenSlotAndRecord(t *testing.T) {
	for _, landed := range []bool{false, true} {
		k := newKit(t)
		w := k.second()
		k.put("db", `{"a":1}`)
		k.must(w.o.Refresh(t.Context()))
		crash := errors.New("the machine is gone")
		seen := 0
		k.onEnter = func(leaf audit.Leaf) error {
			if seen++; seen == 2 { // the outcome of what follows: nobody hears of it
				return crash
			}
			return nil
		}
		armed := w.o.Slots
		w.o.Slots = &afterPut{Slots: armed, then: func() { k.store.Fail(crash, landed) }}
		if _, err := k.by(w, "app", Ask{Operation: Put, Path: "db", Data: []byte(`{"a":2}`)}); !errors.Is(err, crash) {
			t.Fatalf("landed %v: %v", landed, err)
		}
		k.onEnter, w.o.Slots = nil, armed
		k.must(k.w.o.Refresh(t.Context()))
		want, version, left := `{"a":1}`, uint64(2), 2
		if landed { // the log finds that it did
			want, version, left = `{"a":2}`, 3, 1
		}
		for _, again := range []*Worker{k.w, k.second()} {
			out, err := k.by(again, "app", Ask{Operation: Read, Path: "db"})
			if err != nil || string(out.Data) != want {
				t.Errorf("landed %v: %+v, %v", landed, out, err)
			}
		}
		if n := len(k.slots()); n != left {
			t.Errorf("landed %v: %d slots after the crash", landed, n)
		}
		if out := k.do(Ask{Operation: Put, Path: "db", Data: []byte(`{"a":3}`)}); out.Version.Number != version || len(k.slots()) != 1 {
			t.Errorf("landed %v: version %d, %d slots", landed, out.Version.Number, len(k.slots()))
		}
	}
}

// TestManyServersAtOnce: of changes at once none is lost, and check-and-set lets
// one of each version through.
func TestManyServersAtOnce(t *testing.T) {
	k := newKit(t)
	workers := []*Worker{k.w, k.second(), k.second()}
	const each = 8
	k.do(Ask{Operation: Configure, Change: secrets.Change{MaxVersions: new(uint64(100))}})
	k.put("counter", `{"n":0}`)
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(func() {
			for range each {
				if _, err := k.by(w, "app", Ask{Operation: Put, Path: "shared/free", Data: []byte(`{}`)}); err != nil {
					t.Error(err)
				}
				if err := k.count(w); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	k.must(k.w.o.Refresh(t.Context()))
	if got, want := k.data("counter"), fmt.Sprintf(`{"n":%d}`, len(workers)*each); got != want {
		t.Errorf("counted to %s, want %s", got, want)
	}
	if out := k.do(Ask{Operation: Read, Path: "shared/free"}); out.Version.Number != uint64(len(workers)*each) {
		t.Errorf("%d versions", out.Version.Number)
	}
	if n := len(k.slots()); n != 3 {
		t.Errorf("%d slots of two secrets and a folder's settings", n)
	}
	if len(k.alarms) != 0 {
		t.Error(k.alarms)
	}
}

// count adds one to the counter, by check-and-set.
func (k *kit) count(w *Worker) error {
	for {
		have, err := k.by(w, "app", Ask{Operation: Read, Path: "counter"})
		if err != nil {
			return err
		}
		var n int
		if _, err := fmt.Sscanf(string(have.Data), `{"n":%d}`, &n); err != nil {
			return err
		}
		_, err = k.by(w, "app", Ask{Operation: Put, Path: "counter", Data: fmt.Appendf(nil, `{"n":%d}`, n+1), CAS: &have.Version.Number})
		if !errors.Is(err, secrets.ErrMismatch) {
			return err
		}
		if err := w.o.Refresh(k.Context()); err != nil {
			return err
		}
	}
}

// TestKeyGoesDark: a disabled key opens and seals nothing, at once.
func TestKeyGoesDark(t *testing.T) {
	k := newKit(t)
	k.put("db", `{"a":1}`)
	k.d.Append(k.d.Log, authority.KindKeyDisable, authority.KeyRef{ID: wire.KeyID{1}}, k.d.Admin)
	for _, a := range append(operations("db"), Ask{Operation: List}, Ask{Operation: Describe}, Ask{Operation: Configure}) {
		k.denied("app", a, rules.CauseDisabled)
		k.denied("nobody", a, rules.CausePolicy)
	}
	k.d.Append(k.d.Log, authority.KindKeyEnable, authority.KeyRef{ID: wire.KeyID{1}}, k.d.Admin)
	if k.data("db") != `{"a":1}` {
		t.Error("it doesn't come back")
	}
	// Between the decision and the record.
	k.onEnter = func(leaf audit.Leaf) error {
		if leaf.Kind == audit.Decision {
			k.d.Append(k.d.Log, authority.KindKeyDisable, authority.KeyRef{ID: wire.KeyID{1}}, k.d.Admin)
		}
		return nil
	}
	if out, err := k.by(k.w, "app", Ask{Operation: Put, Path: "db", Data: []byte(`{"a":2}`)}); out != nil || !errors.Is(err, authority.ErrRefused) {
		t.Errorf("written past a disable: %+v, %v", out, err)
	}
	k.onEnter = nil
	k.d.Append(k.d.Log, authority.KindKeyEnable, authority.KeyRef{ID: wire.KeyID{1}}, k.d.Admin)
	if k.data("db") != `{"a":1}` || len(k.slots()) != 1 {
		t.Errorf("%q, %d slots", k.data("db"), len(k.slots()))
	}
}

// TestRevokedMeanwhile: whoever is revoked between the decision and the change makes
// it no more.
func TestRevokedMeanwhile(t *testing.T) {
	k := newKit(t)
	k.put("db", `{"a":1}`)
	app := caller("app").ID
	for _, a := range operations("db") {
		if !a.writes() {
			continue
		}
		k.onEnter = func(leaf audit.Leaf) error {
			if leaf.Kind == audit.Decision {
				k.d.Append(k.d.Log, authority.KindClientRevoke, authority.Subject{Client: app}, k.d.Admin)
			}
			return nil
		}
		_, err := k.by(k.w, "app", a)
		k.onEnter = nil
		if d, ok := errors.AsType[*Denied](err); !ok || d.Cause != rules.CauseRevoked {
			t.Errorf("%s past a revocation: %v", a.Operation, err)
		}
		k.d.Append(k.d.Log, authority.KindClientEnable, authority.Subject{Client: app}, k.d.Admin)
		if k.data("db") != `{"a":1}` {
			t.Fatalf("%s: %q", a.Operation, k.data("db"))
		}
	}
}

// TestKeyRotates: what an old version sealed opens, what is written next is under
// the new one, also when it comes in between.
func TestKeyRotates(t *testing.T) {
	k := newKit(t)
	sealedBy := func(path string) (version uint64) {
		k.d.Log.View(func(s *authority.State) { version = s.Secrets().Get("secrets/app/" + path).Version })
		return version
	}
	rotate := func(number uint64) {
		k.d.Append(k.d.Log, authority.KindKeyRotate, authority.KeyRef{ID: wire.KeyID{1}}, k.d.Admin)
		k.version(1, number)
	}
	k.put("db", `{"a":1}`)
	k.put("old", `{"b":1}`)
	rotate(2)
	if k.data("db") != `{"a":1}` || sealedBy("db") != 1 {
		t.Errorf("sealed by version %d", sealedBy("db"))
	}
	k.put("db", `{"a":2}`)
	if k.data("db") != `{"a":2}` || sealedBy("db") != 2 {
		t.Errorf("sealed by version %d", sealedBy("db"))
	}
	k.onEnter = func(leaf audit.Leaf) error {
		if leaf.Kind == audit.Decision && leaf.Action == "secret:write" {
			k.onEnter = nil
			rotate(3)
		}
		return nil
	}
	k.put("db", `{"a":3}`)
	if k.data("db") != `{"a":3}` || sealedBy("db") != 3 || len(k.slots()) != 2 {
		t.Errorf("sealed by version %d, %d slots", sealedBy("db"), len(k.slots()))
	}
	k.d.Append(k.d.Log, authority.KindKeyDestroy, authority.Destroy{ID: wire.KeyID{1}, Number: 1, Wait: 86400}, k.d.Admin)
	for _, a := range operations("old") {
		k.denied("app", a, rules.CauseState)
	}
	if k.data("db") != `{"a":3}` {
		t.Error("another version's destruction darkens it")
	}
}

// TestFolderSettings: they hold for all in the folder, from the next change on.
func TestFolderSettings(t *testing.T) {
	k := newKit(t)
	if out := k.do(Ask{Operation: Describe}); out.Secret == nil || out.Secret.Settings != (secrets.Settings{}) {
		t.Errorf("%+v", out.Secret)
	}
	for n := uint64(1); n < 4; n++ {
		k.do(Ask{Operation: Configure, Change: secrets.Change{MaxVersions: &n}})
		for range 5 {
			k.put("db", `{}`)
		}
		if got := k.do(Ask{Operation: Describe, Path: "db"}).Secret; uint64(len(got.Versions)) != n {
			t.Errorf("%d versions, want %d", len(got.Versions), n)
		}
		if got := k.do(Ask{Operation: Describe}).Secret.Settings; got.MaxVersions != n {
			t.Errorf("%+v", got)
		}
	}
	k.do(Ask{Operation: Configure, Change: secrets.Change{CASRequired: new(true)}})
	if _, err := k.by(k.w, "app", Ask{Operation: Put, Path: "db", Data: []byte(`{}`)}); !errors.Is(err, secrets.ErrCASRequired) {
		t.Error(err)
	}
	if out := k.do(Ask{Operation: List}); fmt.Sprint(out.Names) != "[db]" {
		t.Errorf("%q", out.Names)
	}
}

// TestAskIsChecked: what can't be a question is refused before policy is asked.
func TestAskIsChecked(t *testing.T) {
	k := newKit(t)
	for name, a := range map[string]Ask{
		"no operation": {Operation: "x", Path: "a"}, "no path": {Operation: Read}, "no path to write": {Operation: Put, Data: []byte(`{}`)},
		"up": {Operation: Read, Path: "../x"}, "empty part": {Operation: Read, Path: "a//b"}, "slash": {Operation: Read, Path: "a/"}, "newline": {Operation: Read, Path: "a\nb"},
		"bidirectional": {Operation: Read, Path: "a\u202eb"}, "filler": {Operation: Read, Path: "\u3164"}, "no break": {Operation: Read, Path: "a\u00a0b"}, "no text": {Operation: Read, Path: "\xff"},
		"long": {Operation: Read, Path: strings.Repeat("a", 501)}, "long folder": {Operation: List, Path: strings.Repeat("a", 499)},
		"key": {Operation: Read, Key: "Secrets/App", Path: "a"}, "versions": {Operation: Delete, Path: "a", Versions: make([]uint64, maxVersionsNamed+1)},
	} {
		if out, err := k.by(k.w, "app", a); out != nil || !errors.Is(err, secrets.ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
	if len(k.leaves) != 0 {
		t.Errorf("%d leaves", len(k.leaves))
	}
	k.do(Ask{Operation: Put, Path: strings.Repeat("a", 500), Data: []byte(`{}`)})
	k.do(Ask{Operation: Put, Path: "Team A/é ü/日本", Data: []byte(`{}`)})
	// Every character that is taken fits policy and leaf.
	for r := rune(0); r < 0x30000; r++ {
		if name := "a/" + string(r) + "b"; utf8.ValidRune(r) && validName(name) && (!unicode.IsPrint(r) || strings.ContainsRune("\u115f\u1160\u3164\uffa0", r)) {
			t.Errorf("%U is taken", r)
		}
	}
}

// TestBounds: what is too large is refused, and not half kept.
func TestBounds(t *testing.T) {
	k := newKit(t)
	large := `{"a":"` + strings.Repeat("x", secrets.MaxData-8) + `"}`
	for i := range 6 {
		_, err := k.by(k.w, "app", Ask{Operation: Put, Path: "db", Data: []byte(large)})
		if (err == nil) != (i < 5) || err != nil && !errors.Is(err, secrets.ErrTooLarge) {
			t.Errorf("%d: %v", i+1, err)
		}
	}
	if _, err := k.by(k.w, "app", Ask{Operation: Put, Path: "db", Data: []byte(large + " ")}); !errors.Is(err, secrets.ErrTooLarge) {
		t.Errorf("a longer one: %v", err)
	}
	k.do(Ask{Operation: Destroy, Path: "db", Versions: []uint64{1, 2}})
	k.put("db", large)
	if n := len(k.slots()); n != 1 {
		t.Errorf("%d slots", n)
	}
}

// TestSorted: every error has a place among those of the choke point.
func TestSorted(t *testing.T) {
	malformed, refused, unavailable, other := errors.New("malformed"), errors.New("refused"), errors.New("unavailable"), errors.New("other")
	for err, want := range map[error]error{
		secrets.ErrInvalid: malformed, secrets.ErrTooLarge: malformed, secrets.ErrMismatch: refused, secrets.ErrCASRequired: refused,
		secrets.ErrNoVersion: refused, &Gone{}: refused, ErrFolder: refused, ErrTooMany: refused, authority.ErrRefused: refused, ErrStore: unavailable, other: other,
	} {
		if got := Sorted(err, malformed, refused, unavailable); !errors.Is(got, want) || !errors.Is(got, err) {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// TestListIsBounded: a folder of more than a list looks at is refused, not cut.
func TestListIsBounded(t *testing.T) {
	k := newKit(t)
	for _, path := range []string{"a", "b/c", "d"} {
		k.put(path, `{}`)
	}
	for looked, want := range map[int]error{2: ErrTooMany, 3: nil} {
		k.w.looked = looked
		if _, err := k.by(k.w, "app", Ask{Operation: List}); !errors.Is(err, want) {
			t.Errorf("%d looked at: %v", looked, err)
		}
		k.denied("nobody", Ask{Operation: List}, rules.CausePolicy)
	}
}

// TestBackupFindsWhatItsLogNames: while one is made, no slot goes that the log named
// when it began; after it, they go.
func TestBackupFindsWhatItsLogNames(t *testing.T) {
	k := newKit(t)
	k.put("db", `{"a":1}`)
	k.put("gone", `{}`)
	release, second := k.w.Hold(), k.w.Hold()
	named := []string{k.current("db"), k.current("gone")}
	k.put("db", `{"a":2}`)
	k.put("db", `{"a":3}`)
	k.do(Ask{Operation: Forget, Path: "gone"})
	k.w.Sweep(t.Context())
	second()
	for _, key := range named {
		if _, _, err := k.store.Get(t.Context(), key); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	release()
	if slots := k.slots(); len(slots) != 1 || slots[0] != k.current("db") {
		t.Errorf("after the backup: %q", slots)
	}
	if k.data("db") != `{"a":3}` {
		t.Error(k.data("db"))
	}
}

// TestSweep: what a crash left goes at the next start, what may be a change under way
// stays.
func TestSweep(t *testing.T) {
	k := newKit(t)
	k.put("db", `{"a":1}`)
	k.put("db", `{"a":2}`)
	k.put("gone", `{}`)
	k.do(Ask{Operation: Forget, Path: "gone"})
	left := func(name string, revision uint64) string {
		key := slot("secrets/app/"+name, revision, wire.Sum("left"))
		k.must(k.store.Put(t.Context(), key, 0, []byte("x")))
		return key
	}
	useless := []string{left("db", 1), left("db", 2), left("gone", 1), left("gone", 2), left("never", 2)}
	stays := []string{k.current("db"), left("db", 3), left("gone", 3), left("never", 3)}
	for _, odd := range []string{"secret/x", "secret/" + strings.Repeat("zz", 32) + "/1-2", prefix("secrets/app/db") + "odd", "secretary/1"} {
		k.must(k.store.Put(t.Context(), odd, 0, []byte("x")))
		stays = append(stays, odd)
	}
	k.w.Sweep(t.Context())
	for _, key := range useless {
		if _, _, err := k.store.Get(t.Context(), key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", key, err)
		}
	}
	for _, key := range stays {
		if _, _, err := k.store.Get(t.Context(), key); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	if k.data("db") != `{"a":2}` {
		t.Error(k.data("db"))
	}
}
