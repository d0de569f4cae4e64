// SPDX-License-Identifier: Apache-2.0

package change

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"claviger/internal/authority"
	"claviger/internal/authority/endpoints"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// ErrUnreadable means that a signed change is not one that this program can show
// whole: unknown, or malformed. It must not be signed.
var ErrUnreadable = errors.New("this change can't be shown, so it must not be signed")

// Change says what a signed body does, for people who decide about it.
type Change struct {
	Kind    string   // as in the signer table
	Summary string   // one line: what happens, to what
	Lines   []string // every field of the payload, and how it differs from the present state
	Signers string   // who has to sign
}

// Payload decodes the payload of a body that people sign. The encoding has one
// form per value, so what is decoded is all that the bytes say.
func Payload(body *wire.Body) (any, error) {
	v := newPayload(body.Kind)
	if v == nil {
		return nil, fmt.Errorf("%w: kind %q", ErrUnreadable, body.Kind)
	}
	if err := wire.Unmarshal(body.Payload, v, wire.MaxBody); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return v, nil
}

// newPayload returns a pointer to an empty payload of a kind, nil for kinds that
// no person signs.
func newPayload(kind string) any {
	switch kind {
	case members.KindKeys, members.KindRecover, authority.KindRecoverBegin:
		return new(members.Keys)
	case members.KindJoin:
		return new(members.Server)
	case members.KindFence, members.KindUnfence, members.KindLeave:
		return new(members.Fence)
	case members.KindRestore:
		return new(members.Restore)
	case members.KindAnchors:
		return new(members.Anchors)
	case members.KindRecovery:
		return new(members.Recovery)
	case authority.KindConfirm:
		return new(authority.Confirm)
	case authority.KindPolicy:
		return new(authority.Policy)
	case authority.KindInviteRule:
		return new(authority.InviteRule)
	case authority.KindInvite:
		return new(authority.Invite)
	case authority.KindClientRevoke, authority.KindClientEnable, authority.KindRevokeAll, authority.KindEnableAll:
		return new(authority.Subject)
	}
	if endpoints.IsKind(kind) {
		return newEndpointPayload(kind)
	}
	return newKeyPayload(kind)
}

func newKeyPayload(kind string) any {
	switch kind {
	case authority.KindKeyCreate:
		return new(authority.KeyCreate)
	case authority.KindKeySettings:
		return new(authority.KeySettings)
	case authority.KindKeyRotate, authority.KindKeyDisable, authority.KindKeyEnable:
		return new(authority.KeyRef)
	case authority.KindKeyCompromise, authority.KindKeyKeep:
		return new(authority.VersionRef)
	case authority.KindKeyDestroy:
		return new(authority.Destroy)
	case authority.KindBackupGone:
		return new(authority.BackupGone)
	}
	return nil
}

// Object names what a body is about, as State.Replaces needs it.
func Object(body *wire.Body) (string, error) {
	p, err := Payload(body)
	if err != nil {
		return "", err
	}
	return authority.Object(deref(p)), nil
}

// deref turns the pointers of newPayload into the values that authority.Object
// knows.
func deref(p any) any {
	switch p := p.(type) {
	case *authority.Policy:
		return *p
	case *authority.Confirm:
		return *p
	case *authority.InviteRule:
		return *p
	case *authority.Invite:
		return *p
	case *authority.Subject:
		return *p
	case *authority.KeyCreate:
		return *p
	case *authority.KeySettings:
		return *p
	case *authority.KeyRef:
		return *p
	case *authority.VersionRef:
		return *p
	case *authority.Destroy:
		return *p
	case *authority.BackupGone:
		return *p
	case *authority.EndpointSet:
		return *p
	case *authority.EndpointDisable:
		return *p
	case *authority.EndpointRef:
		return *p
	}
	return p // the member chain: one object
}

// Describe says what a body would do to a state, from the body's bytes alone.
func Describe(s *authority.State, body *wire.Body) (*Change, error) {
	p, err := Payload(body)
	if err != nil {
		return nil, err
	}
	d := describer{state: s}
	c := &Change{Kind: body.Kind, Signers: signersOf(body.Kind, s)}
	switch p := p.(type) {
	case *members.Keys:
		c.Summary = d.keys(body.Kind, p)
	case *members.Server:
		c.Summary = d.server(p)
	case *members.Fence:
		c.Summary = d.fence(body.Kind, p)
	case *members.Restore:
		c.Summary = d.restore(p)
	case *members.Anchors:
		c.Summary = d.anchors(p)
	case *members.Recovery:
		c.Summary = d.recovery(p)
	default:
		c.Summary = d.rest(body.Kind, p)
	}
	c.Summary, c.Lines = plain(c.Summary), d.lines
	return c, nil
}

// signersOf says in words who has to sign a kind.
func signersOf(kind string, s *authority.State) string {
	quorum, recovery := "a quorum of the admins", "the recovery quorum" // all that is known without a log
	if n := s.Members.Keys.Threshold; n > 0 {
		quorum = fmt.Sprintf("%d of %d admins", n, len(s.Members.Keys.Keys))
		recovery = fmt.Sprintf("%d of %d holders of recovery keys", s.Members.Recovery.Threshold, len(s.Members.Recovery.Keys))
	}
	if kind == authority.KindEndpointSet || kind == authority.KindEndpointEnable {
		return endpointSigners(kind, quorum)
	}
	switch authority.Table()[kind] {
	case authority.OneAdmin, authority.AdminOrServer:
		return "one admin"
	case authority.QuorumIfLoose:
		return "one admin; " + quorum + " if it loosens the key"
	case authority.RuledAdmin:
		return quorum + ", or an admin whom an invite rule names for the path"
	case authority.RecoverQuorum:
		return recovery
	}
	switch kind {
	case members.KindFence:
		return "one admin"
	case members.KindRecover:
		return recovery + ", and each new key itself"
	case members.KindKeys:
		return quorum + ", and each new key itself"
	case members.KindJoin:
		return quorum + ", and the joining server"
	}
	return quorum
}

// DescribeAlone is Describe for who has no copy of the log: it shows what the
// body says, and nothing of what was before.
func DescribeAlone(body *wire.Body) (*Change, error) {
	return Describe(&authority.State{Members: &members.State{}, Policy: &authority.PolicySet{}}, body)
}

// describer collects the lines of one change.
type describer struct {
	state *authority.State
	lines []string
}

// set notes a field of something new.
func (d *describer) set(name string, value any) {
	d.lines = append(d.lines, fmt.Sprintf("+ %s: %s", name, plain(value)))
}

// change notes a field with the value it has now, if that differs.
func (d *describer) change(name string, old, new any) {
	was, is := plain(old), plain(new)
	if was == is {
		d.lines = append(d.lines, fmt.Sprintf("  %s: %s", name, is))
		return
	}
	d.lines = append(d.lines, fmt.Sprintf("- %s: %s", name, was), fmt.Sprintf("+ %s: %s", name, is))
}

// plain writes a value as one line. A text that could pass for another line, or
// hide something, is quoted; so is one that begins like a quoted text.
//
// Security: reasons and names are whatever the proposer wrote.
func plain(value any) string {
	s := fmt.Sprint(value)
	odd := func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }
	if strings.HasPrefix(s, `"`) || strings.ContainsFunc(s, odd) {
		return strconv.Quote(s)
	}
	return s
}

func (d *describer) reason(text string) {
	if text != "" {
		d.set("reason", text)
	}
}

func seconds(n uint64) string { return (time.Duration(n) * time.Second).String() }

func stamp(milliseconds int64) string {
	return time.UnixMilli(milliseconds).UTC().Format(time.RFC3339Nano)
}
