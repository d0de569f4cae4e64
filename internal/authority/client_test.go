// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"claviger/internal/authority/revoked"
	"claviger/internal/members"
	"claviger/internal/wire"
)

func (k *kit) invite(n byte, name string) Invite {
	return Invite{ID: wire.BodyID{n}, Client: client(name), Key: make([]byte, 32), Expires: k.clock.Now().Add(time.Hour).UnixMilli()}
}

func TestInviteWorksOnce(t *testing.T) {
	k := newKit(t)
	k.do(KindInvite, k.invite(1, "web"), k.ann, k.bob)
	use := Enrolled{Invite: wire.BodyID{1}, Client: client("web"), NotAfter: 77}
	k.refused(KindEnrolled, Enrolled{Invite: wire.BodyID{1}, Client: client("other")}, ErrRefused, k.s1)
	k.refused(KindEnrolled, Enrolled{Invite: wire.BodyID{9}, Client: client("web")}, ErrRefused, k.s1)
	k.refused(KindEnrolled, Enrolled{Client: "web"}, ErrRefused, k.s1)
	k.do(KindEnrolled, use, k.s1)
	k.refused(KindEnrolled, use, ErrRefused, k.s1)
	if i := k.state().Invite(wire.BodyID{1}); i == nil || !i.Used {
		t.Error("the invite is not used")
	}
	if c := k.state().Client(client("web")); c.NotAfter != 77 || c.Enrolled != k.clock.Now().UnixMilli() {
		t.Errorf("client: %+v", c)
	}
	k.do(KindEnrolled, Enrolled{Client: client("web"), NotAfter: 99, Key: wire.Hash{1}}, k.s1) // a renewal
	if c := k.state().Client(client("web")); c.NotAfter != 99 || c.Key != (wire.Hash{1}) {
		t.Errorf("renewed: %+v", c)
	}
}

func TestInviteBounds(t *testing.T) {
	k := newKit(t)
	for name, edit := range map[string]func(*Invite){
		"for no workload":  func(i *Invite) { i.Client = "web" },
		"without a key":    func(i *Invite) { i.Key = nil },
		"without an id":    func(i *Invite) { i.ID = wire.BodyID{} },
		"that has expired": func(i *Invite) { i.Expires = k.clock.Now().UnixMilli() },
		"for hours":        func(i *Invite) { i.Expires = k.clock.Now().Add(2 * time.Hour).UnixMilli() },
	} {
		i := k.invite(1, "web")
		edit(&i)
		t.Log(name)
		k.refused(KindInvite, i, ErrRefused, k.ann, k.bob)
	}
	k.do(KindInvite, k.invite(1, "web"), k.ann, k.bob)
	k.refused(KindInvite, k.invite(1, "web2"), ErrRefused, k.ann, k.bob)
	k.clock.Advance(time.Hour + time.Millisecond)
	k.refused(KindEnrolled, Enrolled{Invite: wire.BodyID{1}, Client: client("web")}, ErrRefused, k.s1)
	k.do(KindClientRevoke, Subject{Client: client("gone")}, k.ann)
	k.refused(KindInvite, k.invite(2, "gone"), ErrRefused, k.ann, k.bob)

	k.clock.Advance(25 * time.Hour)
	k.do(KindInvite, k.invite(3, "web"), k.ann, k.bob)
	if k.state().Invite(wire.BodyID{1}) != nil || len(k.state().invites.Open) != 1 || len(k.state().objects) != 2 {
		t.Error("invites are kept for ever")
	}
}

func TestInviteRules(t *testing.T) {
	k := newKit(t)
	for _, bad := range []InviteRule{
		{Admin: "cyd", Prefix: "ci"}, {Admin: "cyd", Prefix: "/"}, {Admin: "cyd", Prefix: "CI/"},
		{Admin: "cyd", Prefix: "ci//"}, {Admin: "cyd", Prefix: "ci/../"}, {Admin: "", Prefix: "ci/"},
	} {
		t.Log(bad.Prefix)
		k.refused(KindInviteRule, bad, ErrRefused, k.ann, k.bob)
	}
	k.do(KindInviteRule, InviteRule{Admin: "cyd", Prefix: "ci/"}, k.ann, k.bob)
	for name, may := range map[string]bool{"ci/x": true, "ci/x/y": true, "cix": false, "ci": false, "web": false} {
		if k.state().MayInvite("cyd", client(name)) != may || k.state().MayInvite("ann", client(name)) {
			t.Errorf("who may invite %s", name)
		}
	}
	k.refused(KindInvite, k.invite(1, "web"), members.ErrThreshold, k.cyd)
	k.refused(KindInvite, k.invite(1, "ci/x"), members.ErrThreshold, k.ann)
	k.do(KindInvite, k.invite(1, "ci/x"), k.cyd)
	k.do(KindInviteRule, InviteRule{Admin: "cyd", Prefix: "ci/", Remove: true}, k.ann, k.bob)
	k.refused(KindInvite, k.invite(2, "ci/x"), members.ErrThreshold, k.cyd)
	k.do(KindInviteRule, InviteRule{Admin: "cyd"}, k.ann, k.bob)
	k.do(KindInvite, k.invite(2, "anything"), k.cyd)
	if k.state().MayInvite("cyd", "spiffe://test/other/x") {
		t.Error("a rule for all covers what is no workload")
	}
}

func TestClientRevocation(t *testing.T) {
	k := newKit(t)
	id := client("web")
	k.do(KindEnrolled, Enrolled{Client: id, NotAfter: 5}, k.s1)
	k.refused(KindClientEnable, Subject{Client: id}, ErrRefused, k.ann, k.bob)
	k.refused(KindClientRevoke, Subject{Client: "web"}, ErrRefused, k.ann)
	k.do(KindClientRevoke, Subject{Client: id}, k.s1)
	k.refused(KindClientRevoke, Subject{Client: id}, ErrRefused, k.ann)
	k.refused(KindEnrolled, Enrolled{Client: id}, ErrRefused, k.s1)
	if c := k.state().Client(id); !k.state().ClientRevoked(id) || c.NotAfter != 5 || c.RevID != revID(id) || !k.isRevoked(revID(id)) {
		t.Errorf("revoked: %+v", c)
	}
	k.do(KindClientEnable, Subject{Client: id}, k.ann, k.bob)
	if k.state().ClientRevoked(id) || k.isRevoked(revID(id)) {
		t.Error("enabled and still revoked")
	}
	names := []string{}
	for c := range k.state().Clients() {
		names = append(names, c.ID)
	}
	if !slices.Equal(names, []string{id}) || k.state().ClientRevoked("spiffe://test/workload/nobody") {
		t.Errorf("clients: %v", names)
	}
}

func TestRevocationsEndWithTheLongestLease(t *testing.T) {
	k := newKit(t)
	create := createKey(1, "a")
	create.Settings.Lease = 7200
	k.do(KindKeyCreate, create, k.ann)
	tight := create.Settings
	tight.Lease = 60
	k.clock.Advance(time.Hour)
	k.do(KindKeySettings, KeySettings{ID: keyID(1), Settings: tight}, k.ann)
	k.clock.Advance(time.Minute)
	k.do(KindKeyDisable, KeyRef{ID: keyID(1)}, k.ann)
	k.do(KindClientRevoke, Subject{Client: client("web")}, k.ann)
	both := []wire.RevocationID{create.Revocation, revID(client("web"))}
	if got := k.revocations(); !slices.Equal(got, both) {
		t.Errorf("revoked: %v", got)
	}
	// A lease given just before the settings were tightened runs for two hours.
	k.clock.Advance(2*time.Hour - time.Minute)
	if got := k.revocations(); !slices.Equal(got, both) {
		t.Errorf("while a lease may run: %v", got)
	}
	k.clock.Advance(time.Second)
	if got := k.revocations(); len(got) != 0 {
		t.Errorf("when all leases are over: %v", got)
	}
	k.clock.Advance(time.Minute)
	k.do(KindClientRevoke, Subject{Client: client("other")}, k.ann)
	if len(k.state().revoked) != 1 {
		t.Error("revocations are kept for ever")
	}
	if key := k.state().Key(keyID(1)); !key.Disabled {
		t.Error("the key is enabled when its revocation ends")
	}
}

// TestRevocationIDsAreNotNames has an admin make a key with the revocation id of
// a revoked client: switching that key on frees nobody.
func TestRevocationIDsAreNotNames(t *testing.T) {
	k := newKit(t)
	id := client("web")
	k.do(KindClientRevoke, Subject{Client: id}, k.ann)
	mine := createKey(1, "mine")
	mine.Revocation = revID(id)
	k.do(KindKeyCreate, mine, k.ann)
	k.do(KindKeyDisable, KeyRef{ID: keyID(1)}, k.ann)
	if got := k.revocations(); !slices.Equal(got, []wire.RevocationID{revID(id)}) {
		t.Errorf("one id twice: %v", got)
	}
	k.do(KindKeyEnable, KeyRef{ID: keyID(1)}, k.ann)
	if !k.isRevoked(revID(id)) {
		t.Error("a key of an admin's own took back a client's revocation")
	}
}

func TestRevokeEverything(t *testing.T) {
	k := newKit(t)
	k.refused(KindRevokeAll, Subject{Client: client("web")}, ErrRefused, k.ann)
	k.refused(KindEnableAll, Subject{}, ErrRefused, k.ann, k.bob)
	k.do(KindRevokeAll, Subject{}, k.s1)
	now := k.state()
	if got := now.Revoking(now.Time); len(got) != 1 || got[0].Of != "domain" || got[0].Epoch != now.Epoch || got[0].Since != now.Time || got[0].Lease != DefaultLease {
		t.Errorf("revoking: %+v", got)
	}
	if got := k.revocations(); !slices.Equal(got, []wire.RevocationID{wire.RevokeEverything}) {
		t.Errorf("told: %v", got)
	}
	k.refused(KindRevokeAll, Subject{}, ErrRefused, k.ann)
	k.clock.Advance(1000 * time.Hour)
	if got := k.revocations(); !slices.Equal(got, []wire.RevocationID{wire.RevokeEverything}) || !k.state().Revoked {
		t.Errorf("revoked: %v", got)
	}
	k.do(KindEnableAll, Subject{}, k.ann, k.bob)
	if len(k.revocations()) != 0 || k.state().Revoked {
		t.Error("still revoked")
	}
}

func TestMoreRevocationsThanAStatementHolds(t *testing.T) {
	k := newKit(t)
	s := k.state()
	for i := range wire.MaxRevocations {
		s.revoked = s.revoked.With(revoked.By(wire.Link{Time: s.Time}, fmt.Sprint(i), wire.RevocationID{1, byte(i), byte(i >> 8)}, 60))
	}
	if got := s.Revocations(s.Time); len(got) != wire.MaxRevocations {
		t.Errorf("%d fit", len(got))
	}
	s.revoked = s.revoked.With(revoked.By(wire.Link{Time: s.Time}, "more", wire.RevocationID{2}, 60))
	if got := s.Revocations(s.Time); !slices.Equal(got, []wire.RevocationID{wire.RevokeEverything}) {
		t.Errorf("%d are told", len(got))
	}
}

func TestKeySwitch(t *testing.T) {
	k := newKit(t)
	k.refused(KindKeyDisable, KeyRef{ID: keyID(1)}, ErrRefused, k.ann)
	k.do(KindKeyCreate, createKey(2, "b"), k.ann)
	k.do(KindKeyCreate, createKey(1, "a"), k.ann)
	before := k.state().Key(keyID(1))
	k.refused(KindKeyEnable, KeyRef{ID: keyID(1)}, ErrRefused, k.ann)
	k.do(KindKeyDisable, KeyRef{ID: keyID(1)}, k.ann)
	k.refused(KindKeyDisable, KeyRef{ID: keyID(1)}, ErrRefused, k.ann)
	if before.Disabled || !k.state().Key(keyID(1)).Disabled {
		t.Error("a key that was handed out has changed")
	}
	var names []string
	for key := range k.state().Keys() {
		names = append(names, key.Name)
	}
	if !slices.Equal(names, []string{"a", "b"}) || k.state().KeyNamed("c") != nil {
		t.Errorf("keys: %v", names)
	}
}
