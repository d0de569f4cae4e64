// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"errors"
	"fmt"

	"claviger/internal/audit"
	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/keyserver/auditpage"
	"claviger/internal/keyserver/report"
	"claviger/internal/keyserver/rules"
	"claviger/internal/members"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// Do is the choke point: every use of a key and every change passes here, and
// nothing is answered whose audit leaf is not durable.
func (c *Core) Do(ctx context.Context, caller *authn.Caller, op Op) (Answer, error) {
	// Security: a door that forgets to authenticate gets nothing (T-11, T-66).
	if !caller.Proved() || !c.Now().Before(caller.NotAfter) && !caller.NotAfter.IsZero() {
		return nil, ErrUnproved
	}
	usable := c.Usable
	if caller.Kind == authn.Admin || caller.Kind == authn.Recovery {
		usable = c.sound // Security: or nobody could fence a server over which this one has stopped
	}
	if err := usable(); err != nil {
		return nil, err
	}
	switch caller.Kind {
	case authn.Workload:
		return c.doWorkload(ctx, caller, op)
	case authn.Subject: // whose keys are used here, and never leave by a release
		return c.doKeys(ctx, caller, op)
	case authn.Admin:
		return c.doAdmin(ctx, caller, op)
	case authn.Recovery:
		return c.doRecovery(ctx, caller, op)
	case authn.Local:
		// An enrolment's sender is named by its invite, and by nothing yet.
		if op, ok := op.(*Certify); ok && op.Enroll != nil {
			return c.certify(ctx, caller, op)
		}
	}
	return nil, ErrUnproved
}

func (c *Core) doWorkload(ctx context.Context, caller *authn.Caller, op Op) (Answer, error) {
	switch op := op.(type) {
	case *Release:
		return c.release(ctx, caller, op)
	case *Certify:
		if op.Renew != nil {
			return c.certify(ctx, caller, op)
		}
	}
	return c.doKeys(ctx, caller, op)
}

// doRecovery serves a holder of the recovery quorum, who comes when no admin's
// key works: what it takes to see the state and to replace the authority keys.
func (c *Core) doRecovery(ctx context.Context, caller *authn.Caller, op Op) (Answer, error) {
	switch op := op.(type) {
	case *ReadRecords, *ReadPending:
		return c.read(ctx, caller, op)
	case *Propose:
		body, err := authority.Read(op.Entry)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		// Security: whatever else its signatures may be worth, this credential
		// brings nothing but a recovery.
		if recovers(body) {
			return c.doPropose(ctx, caller, op)
		}
	}
	return nil, &Denial{Caller: caller.ID, Operation: "do this", Key: "a recovery key", Reason: "it replaces authority keys, and reads what that takes"}
}

// recovers reports whether a body announces a recovery or is one.
func recovers(body *wire.Body) bool {
	return body.Kind == authority.KindRecoverBegin || body.Kind == members.KindRecover
}

func (c *Core) doPropose(ctx context.Context, caller *authn.Caller, op *Propose) (Answer, error) {
	// Security: a session key reads, it never changes anything (T-68).
	if caller.ReadOnly {
		return nil, &Denial{Caller: caller.ID, Operation: "change anything", Key: "a session key", Reason: "sign with the key that the session is for"}
	}
	return c.propose(ctx, caller, op)
}

func (c *Core) doAdmin(ctx context.Context, caller *authn.Caller, op Op) (Answer, error) {
	if p, ok := op.(*Propose); ok {
		return c.doPropose(ctx, caller, p)
	}
	if p, ok := op.(*PutMaterial); ok {
		return c.putMaterial(ctx, caller, p)
	}
	if _, ok := op.(*MakeBackup); ok && caller.ReadOnly {
		return nil, &Denial{Caller: caller.ID, Operation: "make a backup", Key: "a session key", Reason: "sign with the authority key"}
	}
	return c.read(ctx, caller, op)
}

// read answers what changes nothing, once its trace is durable.
func (c *Core) read(ctx context.Context, caller *authn.Caller, op Op) (Answer, error) {
	if err := c.recordRead(ctx, caller, op); err != nil {
		return nil, err
	}
	switch op := op.(type) {
	case *ReadRecords:
		records, err := c.ledger.Page(ctx, op.From)
		return &Records{records}, unavailable(err)
	case *ReadPending:
		return c.readPending(ctx, caller)
	case *ReadStatus:
		return c.status(), nil
	case *ReadReach:
		return &Reach{Addresses: c.o.Reach, Token: c.sendToken()}, nil
	case *ReadRevocation:
		r, err := c.holding.Watch(ctx, op.Question, op.Wait)
		return &Revocation{r}, err
	case *ReadAudit:
		return c.readAudit(op)
	case *ExportAudit:
		return &Done{}, c.audit.Export(op.To)
	case *MakeBackup:
		defer c.secrets.Hold()()
		return &Done{}, c.exec.Backup(ctx, c.store, c.dir.Root(), op.To)
	}
	return nil, &Denial{Caller: caller.ID, Operation: "do this", Key: "the domain", Reason: "it is for workloads"}
}

// recordRead leaves a trace of what people read, once it is durable.
func (c *Core) recordRead(ctx context.Context, caller *authn.Caller, op Op) error {
	action := "state:read"
	switch op.(type) {
	case *ReadAudit, *ExportAudit:
		action = "audit:read"
	case *MakeBackup:
		action = "backup"
	}
	leaf := c.leaf(caller, audit.Decision, action)
	leaf.Decision, leaf.Reason = wire.DecisionAllowed, "an authority key of the domain"
	if caller.Kind == authn.Recovery {
		leaf.Reason = "a key of the recovery quorum"
	}
	return c.record(ctx, leaf)
}

// leaf starts a leaf with what every leaf has.
func (c *Core) leaf(caller *authn.Caller, kind audit.Kind, action string) audit.Leaf {
	l := audit.Leaf{Time: c.Now().UnixMilli(), Kind: kind, Action: action, Caller: caller.ID, Route: "native"}
	c.log.View(func(s *authority.State) { l.Epoch = s.Epoch })
	return l
}

// record writes one leaf and waits until it is durable.
func (c *Core) record(ctx context.Context, leaf audit.Leaf) error {
	_, ticket, err := c.enter(leaf)
	if err != nil {
		return err
	}
	return c.wait(ctx, ticket)
}

// enter gives a leaf its position. A refused caller beyond its budget leaves no
// leaf of its own: ErrBusy, and a counting leaf follows.
func (c *Core) enter(leaf audit.Leaf) (audit.Position, audit.Ticket, error) {
	if leaf.Kind == audit.Decision && !leaf.Allowed() {
		if err := c.budget.Refuse(leaf.Caller); err != nil {
			return audit.Position{}, audit.Ticket{}, fmt.Errorf("%w: %w", ErrBusy, err)
		}
	}
	at, ticket, err := c.audit.Enter(leaf)
	if err != nil {
		return at, ticket, fmt.Errorf("%w: audit log: %w", ErrUnavailable, err)
	}
	if leaf.Kind == audit.Decision {
		c.o.Meter.Decision(leaf.Action, leaf.Decision)
	}
	return at, ticket, nil
}

// wait holds the answer back until its leaf is durable.
func (c *Core) wait(ctx context.Context, tickets ...audit.Ticket) error {
	for _, t := range tickets {
		if err := t.Wait(ctx); err != nil {
			return fmt.Errorf("%w: audit log: %w", ErrUnavailable, err)
		}
	}
	return nil
}

// propose records who brought what, appends or keeps it, carries out what the
// server has to do for it, and records how that ended.
func (c *Core) propose(ctx context.Context, caller *authn.Caller, op *Propose) (Answer, error) {
	body, err := authority.Read(op.Entry)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if _, known := authority.Table()[body.Kind]; !known {
		return nil, fmt.Errorf("%w: this server knows no kind %.40q; it may be older than your program", ErrMalformed, body.Kind)
	}
	if err := c.vet(ctx, body); err != nil {
		return nil, err
	}
	leaf := c.leaf(caller, audit.Decision, body.Kind)
	leaf.Request, leaf.Decision, leaf.Reason = wire.EntryHash(op.Entry), wire.DecisionAllowed, "proposed"
	if check := c.log.Check(op.Entry); check != nil && !errors.Is(check, members.ErrThreshold) {
		leaf.Decision, leaf.Reason = wire.DecisionDenied, rules.Clip(check.Error())
	}
	at, ticket, err := c.enter(leaf)
	if err != nil {
		return nil, err
	}
	if err := c.wait(ctx, ticket); err != nil {
		return nil, err
	}
	// Once asked for, it is done: a caller who hangs up must not leave it undecided.
	ctx = context.WithoutCancel(ctx)
	out, err := c.log.Propose(ctx, op.Entry)
	if out.Applied {
		err = nil // what is left then is to tidy up, which the next reading of the pending does
	}
	end := c.leaf(caller, audit.Outcome, body.Kind)
	end.Of, end.Decision, end.Reason = at, "done", report.Outcome(out)
	if err != nil {
		end.Decision, end.Reason = "failed", rules.Clip(err.Error())
	}
	if err := c.record(ctx, end); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, logError(err)
	}
	answer := &Proposed{Outcome: out}
	if out.Applied {
		if recovers(body) {
			c.recovering(ctx, body, out.Epoch)
		}
		if err := c.exec.CarryOut(ctx, body); err != nil {
			c.dutyFailed(ctx, err)
			answer.Note = "recorded; the server could not carry it out yet and tries again every minute: see its log"
		}
	}
	return answer, nil
}

// logError sorts the authority log's errors for doors.
func logError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, authority.ErrRefused), errors.Is(err, members.ErrThreshold), errors.Is(err, members.ErrChain):
		return fmt.Errorf("%w: %w", ErrRefused, err)
	case errors.Is(err, authority.ErrLog), errors.Is(err, store.ErrClosed):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// unavailable is what an error of the store or the audit log is for doors.
func unavailable(err error) error {
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

func (c *Core) readPending(ctx context.Context, caller *authn.Caller) (Answer, error) {
	waiting, err := c.log.Pending(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	out := &PendingBodies{}
	for _, p := range waiting {
		if caller.Kind == authn.Admin || recovers(p.Body) {
			out.Entries = append(out.Entries, p.Entry)
		}
	}
	return out, nil
}

func (c *Core) readAudit(op *ReadAudit) (Answer, error) {
	entries, err := auditpage.Read(c.audit, op.From, op.N)
	if errors.Is(err, auditpage.ErrNumber) {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return &Leaves{entries}, unavailable(err)
}
