// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"fmt"
	"slices"
	"time"

	"claviger/internal/authority/endpoints"
	"claviger/internal/authority/invites"
	"claviger/internal/authority/revoked"
	"claviger/internal/authority/secretring"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// handle finds the kind's handler and lets it decode and check the payload.
func (s *State) handle(in input, namer RevocationNamer) (change, error) {
	if members.IsKind(in.body.Kind) {
		return s.memberChange(in)
	}
	if endpoints.IsKind(in.body.Kind) {
		return s.endpoint(in)
	}
	switch in.body.Kind {
	case KindSecret:
		return s.secretWritten(in)
	case KindConfirm:
		return on(in, s.firstSignature)
	case KindPolicy:
		return on(in, s.setPolicy)
	case KindRecoverBegin:
		return on(in, s.recoverBegin)
	case KindInviteRule:
		return on(in, s.setInviteRule)
	case KindInvite:
		return on(in, s.invite)
	case KindEnrolled:
		return on(in, s.enrolled)
	case KindClientRevoke, KindClientEnable:
		return on(in, func(in input, p *Subject) (change, error) { return s.setClient(in, p, namer) })
	case KindRevokeAll, KindEnableAll:
		return on(in, s.setDomain)
	case KindBackup:
		return on(in, s.backup)
	case KindBackupGone:
		return on(in, s.backupGone)
	case KindAnchor:
		return on(in, s.anchor)
	case KindErasure:
		return on(in, s.erasure)
	case KindReceipt:
		return on(in, s.receipt)
	}
	return s.handleKey(in)
}

// on decodes a payload strictly and hands it to a handler.
func on[P any](in input, handler func(input, *P) (change, error)) (change, error) {
	var p P
	if err := wire.Unmarshal(in.body.Payload, &p, wire.MaxBody); err != nil {
		return change{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if n := len(reason(any(&p))); n > wire.MaxReason {
		return refuse("a reason of %d bytes", n)
	}
	return handler(in, &p)
}

// reason is the free text that a payload carries.
func reason(payload any) string {
	switch p := payload.(type) {
	case *Policy:
		return p.Reason
	case *Subject:
		return p.Reason
	case *KeyCreate:
		return p.Reason
	case *KeySettings:
		return p.Reason
	case *KeyRef:
		return p.Reason
	case *VersionRef:
		return p.Reason
	case *Destroy:
		return p.Reason
	case *BackupGone:
		return p.Reason
	}
	return ""
}

func refuse(format string, args ...any) (change, error) {
	return change{}, fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(format, args...))
}

// memberChange applies a link of the member chain, unless it would leave nobody
// who serves: the lock-out guard.
func (s *State) memberChange(in input) (change, error) {
	if s.locksOut(in.body) {
		return refuse("no server would be left to serve; join another one first")
	}
	next, err := s.Members.Apply(in.entry)
	if err != nil {
		return change{}, err
	}
	if err := s.recoveryDue(in); err != nil {
		return change{}, err
	}
	if err := s.restoresThis(in.body); err != nil {
		return change{}, err
	}
	return change{object: objectMembers, apply: func() { s.setMembers(in, next) }}, nil
}

func (s *State) setMembers(in input, next *members.State) {
	switch in.body.Kind {
	case members.KindKeys, members.KindRecovery, members.KindRecover:
		// What was announced was announced to other people.
		clear(s.Announced)
	case members.KindJoin:
		s.joinedIn[next.Servers[len(next.Servers)-1].ID()] = s.Erasure
	case members.KindRestore:
		s.restores = append(s.restores, in.link.Epoch.Position)
	}
	s.Members = next
	s.membersAt = in.link.Epoch.Position
}

// locksOut reports whether a body takes away the last server that serves.
func (s *State) locksOut(body *wire.Body) bool {
	var f members.Fence
	takes := body.Kind == members.KindFence || body.Kind == members.KindLeave
	if !takes || wire.Unmarshal(body.Payload, &f, wire.MaxMembers) != nil {
		return false
	}
	return !slices.ContainsFunc(s.Members.Servers, func(m members.Member) bool {
		return m.Status == members.StatusActive && m.ID() != f.Server
	})
}

// errEarly says that a body may be applied later as it is. It counts as a
// missing signature: the body waits.
type errEarly struct{ due time.Time }

func (e errEarly) Error() string {
	return "the waiting time of the recovery ends at " + e.due.UTC().Format(time.RFC3339)
}

func (e errEarly) Is(target error) bool { return target == members.ErrThreshold }

// recoveryDue holds that a recovery was announced long enough ago, in the log's
// own time.
func (s *State) recoveryDue(in input) error {
	if in.body.Kind != members.KindRecover {
		return nil
	}
	due, ok := s.Announced.Due(in.body.Payload, s.Members.Recovery)
	if !ok {
		return fmt.Errorf("%w: these keys were not announced (%s)", ErrRefused, KindRecoverBegin)
	}
	if in.link.Time < due.UnixMilli() {
		return errEarly{due}
	}
	return nil
}

// restoresThis holds that a restore names a record of this log to go on from.
func (s *State) restoresThis(body *wire.Body) error {
	if body.Kind != members.KindRestore {
		return nil
	}
	var r members.Restore
	if err := wire.Unmarshal(body.Payload, &r, wire.MaxMembers); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if !s.On(r.Epoch, r.Head) {
		return fmt.Errorf("%w: the restore goes on from a record that is not on this log", ErrRefused)
	}
	return nil
}

// recoverBegin announces new authority keys: from then on everybody can see
// what the recovery quorum is about to do.
func (s *State) recoverBegin(in input, p *members.Keys) (change, error) {
	if err := p.Check(); err != nil {
		return change{}, err
	}
	return change{object: objectMembers, apply: func() {
		s.Announced.Note(in.body.Payload, in.link.Time)
	}}, nil
}

// firstSignature has no effect of its own: what is applied confirms its signers.
func (s *State) firstSignature(in input, p *Confirm) (change, error) {
	named := func(k members.Key) bool { return k.Name == p.Admin }
	if !slices.ContainsFunc(s.Members.Keys.Keys, named) {
		return refuse("who is named is no admin")
	}
	if !slices.Contains(in.admins, p.Admin) {
		return change{}, fmt.Errorf("%w: that of %s", members.ErrThreshold, p.Admin)
	}
	return change{object: "admin:" + p.Admin, apply: func() {}}, nil
}

func (s *State) setPolicy(in input, p *Policy) (change, error) {
	return change{object: "policy", apply: func() {
		s.Policy = &PolicySet{Source: p.Source, Hash: PolicyHash(p.Source), Body: wire.BodyHash(in.signed.Payload)}
	}}, nil
}

func (s *State) setInviteRule(_ input, p *InviteRule) (change, error) {
	if err := invites.CheckRule(p); err != nil {
		return refuse("%w", err)
	}
	return change{object: "rule:" + p.Admin, apply: func() { s.invites.SetRule(p) }}, nil
}

func (s *State) invite(in input, p *Invite) (change, error) {
	if err := s.invites.Check(p, in.link.Time); err != nil {
		return refuse("%w", err)
	}
	if s.ClientRevoked(p.Client) {
		return refuse("%s is revoked", p.Client)
	}
	ruled := slices.ContainsFunc(in.admins, func(a string) bool { return s.MayInvite(a, p.Client) })
	return change{object: inviteObject(p.ID), quorum: !ruled, apply: func() {
		for _, gone := range s.invites.Add(p, in.link.Time) {
			delete(s.objects, inviteObject(gone))
		}
	}}, nil
}

func inviteObject(id wire.BodyID) string { return "invite:" + id.String() }

// endpoint does what package endpoints makes of a body.
func (s *State) endpoint(in input) (change, error) {
	ch, err := s.endpoints.Plan(in.body.Kind, in.body.Payload, in.link)
	if err != nil {
		return refuse("%w", err)
	}
	return change{object: endpoints.Object(ch.Name), quorum: ch.Quorum, apply: ch.Apply}, nil
}

// secretWritten does what package secretring makes of a body.
func (s *State) secretWritten(in input) (change, error) {
	name, apply, err := s.secrets.Plan(in.body.Payload, in.link, s.keys.Get)
	if err != nil {
		return refuse("%w", err)
	}
	return change{object: secretring.Object(name), apply: apply}, nil
}

// enrolled records a certificate. An invite works once, on any number of
// servers, because this record does.
func (s *State) enrolled(in input, p *Enrolled) (change, error) {
	if !wire.ValidID(p.Client) || s.ClientRevoked(p.Client) {
		return refuse("the client is revoked or has no usable name")
	}
	renewal := p.Invite == wire.BodyID{}
	inv := s.invites.Usable(p.Invite, p.Client, in.link.Time)
	if !renewal && inv == nil {
		return refuse("the invite was used, has expired or is for another client")
	}
	return change{object: "client:" + p.Client, apply: func() {
		if !renewal {
			s.invites.Use(inv)
		}
		c := Client{ID: p.Client}
		if have := s.clients[p.Client]; have != nil {
			c = *have
		}
		c.Enrolled, c.NotAfter, c.Key = in.link.Time, p.NotAfter, p.Key
		s.clients[p.Client] = &c
	}}, nil
}

func (s *State) setClient(in input, p *Subject, namer RevocationNamer) (change, error) {
	workload := wire.ValidID(p.Client)
	if !workload && !s.endpoints.Knows(p.Client) {
		return refuse("no usable client name, and no subject of an endpoint")
	}
	revoke := in.body.Kind == KindClientRevoke
	if s.ClientRevoked(p.Client) == revoke {
		return refuse("%s is already so", p.Client)
	}
	return change{object: "client:" + p.Client, apply: func() {
		c := Client{ID: p.Client}
		if have := s.clients[p.Client]; have != nil {
			c = *have
		}
		// Nobody holds a lease as a subject, so holders aren't told of one.
		if c.Revoked = revoke; namer != nil && workload {
			c.RevID = namer(p.Client)
			s.revoked = s.revoked.Set(revoke, revoked.By(in.link, "client:"+p.Client, c.RevID, s.LongestLease(in.link.Time)))
		}
		s.clients[p.Client] = &c
	}}, nil
}

func (s *State) setDomain(in input, p *Subject) (change, error) {
	revoke := in.body.Kind == KindRevokeAll
	if p.Client != "" || s.Revoked == revoke {
		return refuse("the domain is already so")
	}
	return change{object: objectDomain, apply: func() {
		s.Revoked = revoke
		s.revoked = s.revoked.Set(revoke, revoked.By(in.link, objectDomain, wire.RevokeEverything, s.LongestLease(in.link.Time)))
	}}, nil
}

// backup lists a backup. One of an older erasure epoch is listed too: it may
// have been made just before the switch, and what it holds must not be hidden.
func (s *State) backup(in input, p *Backup) (change, error) {
	known := slices.ContainsFunc(s.backups, func(b Backup) bool { return b.ID == p.ID })
	if p.Server != in.link.Server || p.ID == (wire.BodyID{}) || known || p.ErasureEpoch > s.Erasure {
		return refuse("a backup is recorded once, by the server that made it, with an erasure epoch that has begun")
	}
	return change{object: "backup:" + p.ID.String(), apply: func() { s.backups = append(s.backups, *p) }}, nil
}

func (s *State) backupGone(_ input, p *BackupGone) (change, error) {
	listed := func(b Backup) bool { return b.ID == p.ID }
	if !slices.ContainsFunc(s.backups, listed) {
		return refuse("no backup %s is listed", p.ID)
	}
	return change{object: "backup:" + p.ID.String(), apply: func() {
		s.backups = slices.DeleteFunc(slices.Clone(s.backups), listed)
	}}, nil
}

// anchor fixes a checkpoint; a server's log never gets shorter, and one size has
// one root.
func (s *State) anchor(in input, p *Anchor) (change, error) {
	have, again := s.anchors[p.Server]
	c := p.Checkpoint
	older := c.Log < have.Log || c.Log == have.Log && c.Size < have.Size
	forked := again && c.Log == have.Log && c.Size == have.Size && c.Root != have.Root
	if p.Server != in.link.Server || older || forked {
		return refuse("an anchor goes back, forks, or is another server's")
	}
	return change{object: "server:" + p.Server.String(), apply: func() { s.anchors[p.Server] = c }}, nil
}

// LongestLease is the longest lease that any key may be out for, in seconds.
func (s *State) LongestLease(now int64) uint64 { return s.keys.LongestLease(now) }
