// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"fmt"
	"slices"

	"claviger/internal/members"
	"claviger/internal/wire"
)

// handle finds the kind's handler and lets it decode and check the payload.
func (s *State) handle(in input, namer RevocationNamer) (change, error) {
	if members.IsKind(in.body.Kind) {
		return s.memberChange(in)
	}
	switch in.body.Kind {
	case KindConfirm:
		return on(in, s.confirm)
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
	return handler(in, &p)
}

func refuse(format string, args ...any) (change, error) {
	return change{}, fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

// memberChange applies a link of the member chain, unless it would leave nobody
// who serves: the lock-out guard.
func (s *State) memberChange(in input) (change, error) {
	next, err := s.Members.Apply(in.entry)
	if err != nil {
		return change{}, err
	}
	active := func(m members.Member) bool { return m.Status == members.StatusActive }
	if !slices.ContainsFunc(next.Servers, active) {
		return refuse("no server would be left to serve; join another one first")
	}
	if in.body.Kind == members.KindRecover {
		begun, ok := s.recoverAt[wire.Sum("recover", in.body.Payload)]
		if due := begun + int64(s.Members.Recovery.Wait)*1000; !ok || in.link.Time < due {
			return refuse("the recovery was not announced %d seconds ago", s.Members.Recovery.Wait)
		}
	}
	return change{objectMembers, func() {
		s.Members = next
		s.membersAt = in.link.Epoch.Position
		clear(s.recoverAt)
	}}, nil
}

// recoverBegin announces new authority keys: from then on everybody can see
// what the recovery quorum is about to do.
func (s *State) recoverBegin(in input, p *members.Keys) (change, error) {
	if err := p.Check(); err != nil {
		return change{}, err
	}
	return change{objectMembers, func() {
		s.recoverAt[wire.Sum("recover", in.body.Payload)] = in.link.Time
	}}, nil
}

func (s *State) confirm(in input, p *Confirm) (change, error) {
	if !slices.Contains(in.admins, p.Admin) {
		return refuse("%s has not signed", p.Admin)
	}
	return change{"admin:" + p.Admin, func() { s.confirmed[p.Admin] = true }}, nil
}

func (s *State) setPolicy(in input, p *Policy) (change, error) {
	return change{"policy", func() {
		s.Policy = &PolicySet{Source: p.Source, Hash: PolicyHash(p.Source), Body: wire.BodyHash(in.signed.Payload)}
	}}, nil
}

func (s *State) setInviteRule(_ input, p *InviteRule) (change, error) {
	if !wire.ValidNamePart(p.Admin) || p.Prefix != "" && !wire.ValidPath(p.Prefix[:len(p.Prefix)-1]) {
		return refuse("the rule's admin or path is not usable")
	}
	return change{"rule:" + p.Admin, func() {
		rest := slices.DeleteFunc(slices.Clone(s.inviteRule[p.Admin]), func(have string) bool { return have == p.Prefix })
		if !p.Remove {
			rest = append(rest, p.Prefix)
		}
		s.inviteRule[p.Admin] = rest
	}}, nil
}

func (s *State) invite(in input, p *Invite) (change, error) {
	if uint64(len(in.admins)) < s.Members.Keys.Threshold && !slices.ContainsFunc(in.admins, func(a string) bool { return s.MayInvite(a, p.Client) }) {
		return change{}, s.need(false, &in)
	}
	if !wire.ValidID(p.Client) || len(p.Key) != 32 || p.ID == (wire.BodyID{}) || p.Expires <= in.link.Time || s.invites[p.ID] != nil {
		return refuse("the invite is not usable or has expired")
	}
	if s.ClientRevoked(p.Client) {
		return refuse("%s is revoked", p.Client)
	}
	return change{"invite:" + p.ID.String(), func() { s.invites[p.ID] = &InviteState{Invite: *p} }}, nil
}

// enrolled records a certificate. An invite works once, on any number of
// servers, because this record does.
func (s *State) enrolled(in input, p *Enrolled) (change, error) {
	if !wire.ValidID(p.Client) || s.ClientRevoked(p.Client) {
		return refuse("%s is revoked or has no usable name", p.Client)
	}
	renewal := p.Invite == wire.BodyID{}
	inv := s.invites[p.Invite]
	if !renewal && (inv == nil || inv.Used || inv.Expires < in.link.Time || inv.Client != p.Client) {
		return refuse("the invite was used, has expired or is for another client")
	}
	return change{"client:" + p.Client, func() {
		if !renewal {
			s.invites[p.Invite] = &InviteState{Invite: inv.Invite, Used: true}
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
	if !wire.ValidID(p.Client) {
		return refuse("no usable client name")
	}
	revoke := in.body.Kind == KindClientRevoke
	if s.ClientRevoked(p.Client) == revoke {
		return refuse("%s is already so", p.Client)
	}
	return change{"client:" + p.Client, func() {
		c := Client{ID: p.Client}
		if have := s.clients[p.Client]; have != nil {
			c = *have
		}
		if c.Revoked = revoke; namer != nil {
			c.RevID = namer(p.Client)
		}
		s.clients[p.Client] = &c
		s.revoke(c.RevID, revoke, in.link.Time, s.longestLease())
	}}, nil
}

func (s *State) setDomain(in input, p *Subject) (change, error) {
	revoke := in.body.Kind == KindRevokeAll
	if p.Client != "" || s.Revoked == revoke {
		return refuse("the domain is already so")
	}
	return change{"domain", func() { s.Revoked = revoke }}, nil
}

func (s *State) backup(in input, p *Backup) (change, error) {
	if p.Server != in.link.Server || p.ID == (wire.BodyID{}) {
		return refuse("a backup is recorded by the server that made it")
	}
	return change{"backup:" + p.ID.String(), func() { s.backups = append(s.backups, *p) }}, nil
}

func (s *State) backupGone(_ input, p *BackupGone) (change, error) {
	i := slices.IndexFunc(s.backups, func(b Backup) bool { return b.ID == p.ID })
	if i < 0 {
		return refuse("no backup %s is listed", p.ID)
	}
	return change{"backup:" + p.ID.String(), func() {
		s.backups = slices.DeleteFunc(slices.Clone(s.backups), func(b Backup) bool { return b.ID == p.ID })
	}}, nil
}

// anchor fixes a checkpoint; a server's log never gets shorter.
func (s *State) anchor(in input, p *Anchor) (change, error) {
	have := s.anchors[p.Server]
	older := p.Checkpoint.Log < have.Log || p.Checkpoint.Log == have.Log && p.Checkpoint.Size < have.Size
	if p.Server != in.link.Server || older {
		return refuse("an anchor goes back or is another server's")
	}
	return change{"server:" + p.Server.String(), func() { s.anchors[p.Server] = p.Checkpoint }}, nil
}

// revoke adds or takes back a revocation id.
func (s *State) revoke(id wire.RevocationID, add bool, since int64, lease uint64) {
	rest := slices.DeleteFunc(slices.Clone(s.revoked), func(r Revocation) bool { return r.ID == id })
	if add {
		rest = append(rest, Revocation{ID: id, Since: since, Lease: lease})
	}
	s.revoked = rest
}

// longestLease is the longest lease that any key may be out for, in seconds.
func (s *State) longestLease() uint64 {
	longest := uint64(DefaultLease)
	for _, k := range s.keys {
		longest = max(longest, k.Settings.Lease)
	}
	return longest
}
