// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"claviger/internal/members"
	"claviger/internal/wire"
)

// signerSet is one column of the signer table.
type signerSet struct {
	letter  string // in the expected table; "" may never sign anything
	name    string
	signers []person
	log     *Log // who appends
}

// tableKit is a kit with a fenced server s2 and a further server s3.
type tableKit struct {
	*kit
	s3          person
	fenced, two *Log
}

func newTableKit(t *testing.T) *tableKit {
	k := &tableKit{kit: newKit(t), s3: newPerson("s3")}
	k.do(members.KindJoin, k.s2.server(), k.ann, k.bob, k.s2)
	k.do(members.KindJoin, k.s3.server(), k.ann, k.bob, k.s3)
	k.do(members.KindFence, members.Fence{Server: k.s2.id()}, k.ann)
	return k
}

// sets opens the logs of the other servers on what the fixture wrote.
func (k *tableKit) sets(also []person) []signerSet {
	k.t.Helper()
	fresh := func(p person) *Log {
		o := k.options(p)
		o.HeadPath = ""
		return must(Open(k.t.Context(), o))
	}
	k.fenced, k.two = fresh(k.s2), fresh(k.s3)
	stranger := newPerson("ann") // the name says nothing
	sets := []signerSet{
		{"", "nobody", nil, k.log},
		{"A", "one admin", []person{k.ann}, k.log},
		{"Q", "a quorum", []person{k.bob, k.ann}, k.log},
		{"S", "the server", []person{k.s1}, k.log},
		{"", "a fenced server", []person{k.s2}, k.fenced},
		{"", "another server than the one that appends", []person{k.s1}, k.two},
		{"", "strangers", []person{stranger, newPerson("bob")}, k.log},
		{"", "one of the recovery quorum", []person{k.rex}, k.log},
		{"R", "the recovery quorum", []person{k.rex, k.rio}, k.log},
	}
	for i := range sets {
		sets[i].signers = append(sets[i].signers, also...)
	}
	return sets
}

// fixture brings a domain to where a body of a kind can hold.
type fixture struct {
	kind    string
	variant string
	want    string // letters of who may sign, written down from the design
	prepare func(k *tableKit) (payload any, also []person)
}

func withKey(k *tableKit) {
	k.do(KindKeyCreate, createKey(1, "a"), k.ann)
	k.do(KindKeyVersion, version(1, 1), k.s1)
}

func setEndpoint(name string) EndpointSet {
	return EndpointSet{Endpoint: Endpoint{Name: name, Kind: "xks", Host: name + ".example.com", Keys: []string{"aws/"}}}
}

func secretAt(name string, revision, version uint64) SecretWritten {
	return SecretWritten{Name: name, Revision: revision, Slot: wire.Hash{byte(revision)}, Key: keyID(1), Version: version}
}

func withEndpoint(k *tableKit) { k.do(KindEndpointSet, setEndpoint("door"), k.ann) }

func ordered(k *tableKit) {
	withKey(k)
	k.do(KindKeyDestroy, Destroy{ID: keyID(1), Number: 1}, k.ann, k.bob)
}

func erased(k *tableKit) {
	ordered(k)
	k.do(KindErasure, Erasure{Epoch: 1, Versions: []VersionRef{{ID: keyID(1), Number: 1}}}, k.s1)
}

func fixtures() []fixture {
	payload := func(p any) func(*tableKit) (any, []person) {
		return func(*tableKit) (any, []person) { return p, nil }
	}
	after := func(prepare func(*tableKit), p any) func(*tableKit) (any, []person) {
		return func(k *tableKit) (any, []person) { prepare(k); return p, nil }
	}
	invite := func(k *tableKit) Invite {
		return Invite{ID: wire.BodyID{7}, Client: client("ci/one"), Key: make([]byte, 32), Expires: k.clock.Now().Add(time.Hour).UnixMilli()}
	}
	ref := KeyRef{ID: keyID(1)}
	tight, loose := settings(), settings()
	tight.Lease, loose.Lease = 60, 7200
	export := createKey(1, "a")
	export.Settings.Exportable = true
	special := createKey(1, "a")
	special.Settings.Lease = 60
	newKeys := func(k *tableKit, dan person) members.Keys {
		return members.Keys{Keys: []members.Key{k.ann.admin(), dan.admin()}, Threshold: 2}
	}
	return []fixture{
		{KindConfirm, "", "AQ", payload(Confirm{Admin: "ann"})},
		{KindPolicy, "", "Q", payload(Policy{Source: []byte("x")})},
		{KindInviteRule, "", "Q", payload(InviteRule{Admin: "cyd", Prefix: "ci/"})},
		{KindInvite, "", "Q", func(k *tableKit) (any, []person) { return invite(k), nil }},
		{KindInvite, "under a path that is the admin's", "AQ", func(k *tableKit) (any, []person) {
			k.do(KindInviteRule, InviteRule{Admin: "ann", Prefix: "ci/"}, k.ann, k.bob)
			return invite(k), nil
		}},
		{KindEnrolled, "", "S", payload(Enrolled{Client: client("x"), NotAfter: 1})},
		{KindClientRevoke, "", "AQS", payload(Subject{Client: client("x")})},
		{KindClientEnable, "", "Q", after(func(k *tableKit) { k.do(KindClientRevoke, Subject{Client: client("x")}, k.ann) }, Subject{Client: client("x")})},
		{KindRevokeAll, "", "AQS", payload(Subject{})},
		{KindEnableAll, "", "Q", after(func(k *tableKit) { k.do(KindRevokeAll, Subject{}, k.ann) }, Subject{})},

		{KindKeyCreate, "", "AQS", payload(createKey(1, "a"))},
		{KindKeyCreate, "with settings of its own", "AQ", payload(special)},
		{KindKeyCreate, "that can be exported", "Q", payload(export)},
		{KindKeySettings, "tightening", "AQ", after(withKey, KeySettings{ID: keyID(1), Settings: tight})},
		{KindKeySettings, "loosening", "Q", after(withKey, KeySettings{ID: keyID(1), Settings: loose})},
		{KindKeyRotate, "", "AQS", after(withKey, ref)},
		{KindKeyVersion, "", "S", after(func(k *tableKit) { k.do(KindKeyCreate, createKey(1, "a"), k.ann) }, version(1, 1))},
		{KindSecret, "", "S", after(withKey, secretAt("a/db", 1, 1))},
		{KindKeyDisable, "", "AQS", after(withKey, ref)},
		{KindKeyEnable, "", "AQ", after(func(k *tableKit) { withKey(k); k.do(KindKeyDisable, ref, k.ann) }, ref)},
		{KindKeyCompromise, "", "AQ", after(withKey, VersionRef{ID: keyID(1), Number: 1})},
		{KindKeyDestroy, "", "Q", after(withKey, Destroy{ID: keyID(1), Number: 1})},
		{KindKeyKeep, "", "Q", after(ordered, VersionRef{ID: keyID(1), Number: 1})},

		{KindErasure, "", "S", after(ordered, Erasure{Epoch: 1, Versions: []VersionRef{{ID: keyID(1), Number: 1}}})},
		{KindReceipt, "", "S", func(k *tableKit) (any, []person) {
			erased(k)
			return Receipt{Server: k.s1.id(), Epoch: 1, NextKey: make([]byte, wire.PublicKeySize)}, nil
		}},
		{KindBackup, "", "S", func(k *tableKit) (any, []person) { return Backup{ID: wire.BodyID{8}, Server: k.s1.id()}, nil }},
		{KindBackupGone, "", "Q", func(k *tableKit) (any, []person) {
			k.do(KindBackup, Backup{ID: wire.BodyID{8}, Server: k.s1.id()}, k.s1)
			return BackupGone{ID: wire.BodyID{8}}, nil
		}},
		{KindAnchor, "", "S", func(k *tableKit) (any, []person) { return Anchor{Server: k.s1.id()}, nil }},

		{members.KindKeys, "", "Q", func(k *tableKit) (any, []person) {
			dan := newPerson("dan")
			return newKeys(k, dan), []person{dan}
		}},
		{members.KindJoin, "", "Q", func(*tableKit) (any, []person) {
			s4 := newPerson("s4")
			return s4.server(), []person{s4}
		}},
		{members.KindFence, "", "AQ", func(k *tableKit) (any, []person) { return members.Fence{Server: k.s3.id()}, nil }},
		{members.KindUnfence, "", "Q", func(k *tableKit) (any, []person) { return members.Fence{Server: k.s2.id()}, nil }},
		{members.KindLeave, "", "Q", func(k *tableKit) (any, []person) { return members.Fence{Server: k.s3.id()}, nil }},
		{members.KindAnchors, "", "Q", payload(members.Anchors{})},
		{members.KindRecovery, "", "Q", payload(members.Recovery{})},
		{members.KindRestore, "", "Q", func(k *tableKit) (any, []person) {
			return members.Restore{Generation: 2, Epoch: k.state().Epoch, Head: k.state().Head}, nil
		}},
		{KindRecoverBegin, "", "R", func(k *tableKit) (any, []person) { return newKeys(k, newPerson("dan")), nil }},
		{members.KindRecover, "", "R", func(k *tableKit) (any, []person) {
			dan := newPerson("dan")
			keys := newKeys(k, dan)
			keys.Keys = keys.Keys[1:]
			keys.Keys = append(keys.Keys, k.cyd.admin())
			k.do(KindRecoverBegin, keys, k.rex, k.rio)
			k.clock.Advance(recoveryWait * time.Second)
			return keys, []person{dan, k.cyd}
		}},
	}
}

// endpointFixtures are those of endpoints and of whom their credentials name.
func endpointFixtures() []fixture {
	after := func(payload any, before ...func(*tableKit)) func(*tableKit) (any, []person) {
		return func(k *tableKit) (any, []person) {
			for _, f := range before {
				f(k)
			}
			return payload, nil
		}
	}
	do := func(kind string, payload any) func(*tableKit) {
		return func(k *tableKit) { k.do(kind, payload, k.ann) }
	}
	off, on := EndpointDisable{Name: "door"}, EndpointRef{Name: "door"}
	revoked := EndpointDisable{Name: "door", Revoke: true}
	ann := Subject{Client: "door:ann@example.com"}
	return []fixture{
		{KindEndpointSet, "", "AQ", after(setEndpoint("door"))},
		{KindEndpointSet, "of a known name", "Q", after(setEndpoint("door"), withEndpoint)},
		{KindEndpointSet, "of a removed name", "Q", after(setEndpoint("door"), withEndpoint, do(KindEndpointRemove, on))},
		{KindEndpointDisable, "", "AQS", after(off, withEndpoint)},
		{KindEndpointDisable, "by a revocation", "AQS", after(revoked, withEndpoint)},
		{KindEndpointEnable, "", "AQ", after(on, withEndpoint, do(KindEndpointDisable, off))},
		{KindEndpointEnable, "after a revocation", "Q", after(on, withEndpoint, do(KindEndpointDisable, revoked))},
		{KindEndpointRemove, "", "AQ", after(on, withEndpoint)},
		{KindClientRevoke, "a subject", "AQS", after(ann, withEndpoint)},
		{KindClientEnable, "a subject", "Q", after(ann, withEndpoint, do(KindClientRevoke, ann))},
	}
}

func TestSignerTable(t *testing.T) {
	rules := Table()
	for _, f := range append(fixtures(), endpointFixtures()...) {
		delete(rules, f.kind)
		t.Run(strings.TrimSpace(f.kind+" "+f.variant), func(t *testing.T) {
			k := newTableKit(t)
			payload, also := f.prepare(k)
			var minimal []byte
			for _, set := range k.sets(also) {
				entry := k.entry(f.kind, payload, set.signers...)
				err := set.log.Check(entry)
				may := set.letter != "" && strings.Contains(f.want, set.letter)
				if may && err != nil {
					t.Errorf("%s may sign it, and: %v", set.name, err)
				}
				if may && minimal == nil {
					minimal = entry
				}
				// For another server or a fenced one there is more than that to refuse.
				if !may && (err == nil || set.log == k.log && !errors.Is(err, members.ErrThreshold)) {
					t.Errorf("%s may not sign it: got %v", set.name, err)
				}
			}
			if _, err := k.log.Append(t.Context(), minimal); err != nil {
				t.Fatalf("append: %v", err)
			}
			if s := k.reopen().state; len(s.Voids) > 0 || s.Epoch != k.epoch() {
				t.Errorf("replayed to %s with voids %v", s.Epoch, s.Voids)
			}
		})
	}
	if len(rules) > 0 {
		t.Errorf("kinds without a line here: %v", slices.Sorted(maps.Keys(rules)))
	}
}

func TestKindsWithoutARow(t *testing.T) {
	k := newKit(t)
	everybody := []person{k.ann, k.bob, k.cyd, k.s1, k.rex, k.rio}
	for _, kind := range []string{"key.import", "members.other", members.KindGenesis} {
		k.refused(kind, Subject{}, ErrRefused, everybody...)
	}
	if Rule(0) != Nobody || Table()["key.import"] != Nobody {
		t.Error("a kind without a row is not refused by the table")
	}
}
