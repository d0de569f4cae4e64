// SPDX-License-Identifier: Apache-2.0

package secretwork

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"claviger/internal/audit"
	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/keyserver/executor"
	"claviger/internal/keyserver/keywork"
	"claviger/internal/keyserver/policyset"
	"claviger/internal/keyserver/rules"
	"claviger/internal/secrets"
	"claviger/internal/store"
	"claviger/internal/wire"
)

// Options are what the choke point lends; all are required.
type Options struct {
	Domain  wire.DomainID
	Ledger  *executor.Ledger
	Refresh func(context.Context) error // reads what other servers have appended
	Slots   store.Slots
	Keys    *keywork.Worker
	Using   sync.Locker // held while keys are used: no erasure epoch changes meanwhile
	Now     func() time.Time

	Policy       func(*authority.PolicySet) (*policyset.Set, error)
	PolicyErrors func([]string)                                         // what could not be evaluated
	Enter        func(audit.Leaf) (audit.Position, audit.Ticket, error) // gives a leaf its position
	Wait         func(context.Context, ...audit.Ticket) error           // until it is durable
	Turn         func(context.Context) (done func(), err error)         // waits for a turn to compute
	Alarm        func(ctx context.Context, action, reason string)       // what an operator has to look at
}

const (
	stripes   = 64
	maxLooked = 50_000           // secrets that a list looks at
	maxOpen   = 32               // documents in memory at once
	finishing = 30 * time.Second // for a change that was permitted, whoever hangs up
)

// Worker does what is asked of secrets. It is safe for concurrent use.
type Worker struct {
	o      Options
	looked int // maxLooked
	seed   maphash.Seed
	locks  [stripes]chan struct{} // one change of a name at a time in this process
	open   chan struct{}

	alarmed atomic.Int64 // Unix seconds

	mu      sync.Mutex
	folders map[string]folder                  // by name of key
	holds   int                                // backups under way
	held    map[string]authority.SecretWritten // changes, by name, whose older slots wait for them
}

// folder is what is remembered of a folder's settings: those of one document.
type folder struct {
	slot     wire.Hash
	settings secrets.Settings
}

// New returns a worker that has done nothing yet.
func New(o Options) *Worker {
	w := &Worker{o: o, looked: maxLooked, seed: maphash.MakeSeed(), open: make(chan struct{}, maxOpen), folders: map[string]folder{}, held: map[string]authority.SecretWritten{}}
	for i := range w.locks {
		w.locks[i] = make(chan struct{}, 1)
	}
	return w
}

// alarm tells of what the store shows, once a minute.
func (w *Worker) alarm(reason string) {
	now, last := w.o.Now().Unix(), w.alarmed.Load()
	if (now-last >= 60 || now < last) && w.alarmed.CompareAndSwap(last, now) {
		w.o.Alarm(context.Background(), "secret", reason)
	}
}

// take waits for a place in a channel that bounds something.
func take(ctx context.Context, places chan struct{}) (release func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrStore, ctx.Err())
	}
}

// Do does one Ask. Nothing is answered, and nothing changed, before its leaf is
// durable; a change has a second leaf for how it ended.
func (w *Worker) Do(ctx context.Context, caller *authn.Caller, a *Ask) (*Result, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	release, err := take(ctx, w.open)
	if err != nil {
		return nil, err
	}
	defer release()
	switch {
	case a.Operation == List:
		return w.list(ctx, caller, a)
	case a.writes():
		return w.write(ctx, caller, a)
	}
	return w.read(ctx, caller, a)
}

// view is what one state says of a secret.
type view struct {
	key    *authority.Key
	row    *authority.Secret // nil: there is none
	folder *authority.Secret // that of the folder's own settings, or nil
	next   uint64            // revision of the next change
	facts  rules.Facts
}

func (w *Worker) look(caller *authn.Caller, a *Ask) view {
	var v view
	w.o.Ledger.View(func(s *authority.State) {
		v.facts = rules.Look(s, caller, nil)
		v.key = s.KeyNamed(a.Key)
		v.row, v.folder, v.next = s.Secrets().Get(a.name()), s.Secrets().Get(a.Key), s.Secrets().Next(a.name())
	})
	return v
}

// sealed is the version of the key that opens what is there, 0 if nothing is.
func (v *view) sealed() uint64 {
	if v.row == nil {
		return 0
	}
	return v.row.Version
}

// decide asks policy about the secret and enters the leaf. The error is a *Denied
// once that leaf is durable.
func (w *Worker) decide(ctx context.Context, caller *authn.Caller, a *Ask, v *view) (rules.Ruling, audit.Position, audit.Ticket, error) {
	set, err := w.o.Policy(v.facts.Policy)
	if err != nil {
		return rules.Ruling{}, audit.Position{}, audit.Ticket{}, err
	}
	r := v.facts.Secret(set, w.ask(a, a.name()), a.action(), v.key, v.sealed(), a.writes())
	// Security: a name that another key backs is as one that isn't there (two
	// folders can lie one in the other).
	if r.Allowed && v.row != nil && v.row.Key != v.key.ID {
		r.Allowed, r.Cause, r.Reason = false, rules.CauseState, ErrFolder.Error()
	}
	at, ticket, err := w.enter(a, v, set, r)
	if err == nil && !r.Allowed {
		if err = w.o.Wait(ctx, ticket); err == nil {
			err = &Denied{Caller: caller.ID, Operation: a.Operation, Name: a.name(), Cause: r.Cause, Reason: r.Reason}
		}
	}
	return r, at, ticket, err
}

func (w *Worker) ask(a *Ask, secret string) rules.Ask {
	return rules.Ask{Now: w.o.Now(), Route: a.Route, Asked: a.Asked, Secret: secret}
}

// enter leaves the leaf of a decision.
func (w *Worker) enter(a *Ask, v *view, set *policyset.Set, r rules.Ruling) (audit.Position, audit.Ticket, error) {
	w.o.PolicyErrors(r.Errors)
	leaf := v.facts.Leaf(set, w.ask(a, a.name()), wire.Item{Name: a.name(), Operations: []string{a.action()}}, r)
	leaf.Resource, leaf.Operations, leaf.Request, leaf.Item = a.name(), []string{string(a.Operation)}, a.Request, a.Index
	return w.o.Enter(leaf)
}

// outcome leaves the second leaf of a change.
func (w *Worker) outcome(ctx context.Context, caller *authn.Caller, a *Ask, of audit.Position, v *view, err error) error {
	leaf := audit.Leaf{
		Time: w.o.Now().UnixMilli(), Kind: audit.Outcome, Action: a.action(), Operations: []string{string(a.Operation)}, Caller: caller.ID,
		Resource: a.name(), KeyID: v.key.ID, Route: a.Route, Epoch: v.facts.Epoch, Of: of, Decision: "done",
	}
	if err != nil {
		leaf.Decision, leaf.Reason = "failed", rules.Clip(err.Error())
	}
	_, ticket, err := w.o.Enter(leaf)
	if err == nil {
		err = w.o.Wait(ctx, ticket)
	}
	return err
}

// read reads a version, or what is known of all.
func (w *Worker) read(ctx context.Context, caller *authn.Caller, a *Ask) (*Result, error) {
	v := w.look(caller, a)
	_, _, ticket, err := w.decide(ctx, caller, a, &v)
	if err != nil {
		return nil, err
	}
	d, err := w.load(ctx, caller, a, &v, itself)
	if werr := w.o.Wait(ctx, ticket); werr != nil {
		err = werr
	}
	if d != nil {
		defer d.Wipe()
	}
	if err != nil {
		return nil, err
	}
	if d == nil {
		if a.Operation == Describe && a.Path == "" { // a folder has settings, even if nobody set them
			return &Result{Secret: &Secret{}}, nil
		}
		return nil, secrets.ErrNoVersion
	}
	if a.Operation == Describe {
		return describe(d), nil
	}
	version := d.Find(a.Version)
	if version == nil {
		return nil, secrets.ErrNoVersion
	}
	out := &Result{Version: said(version), Tags: d.Tags}
	if version.Live(w.o.Now().UnixMilli()) {
		out.Data, version.Data = version.Data, nil // it is the caller's now
	}
	return out, nil
}

func describe(d *secrets.Document) *Result {
	s := &Secret{
		Created: time.UnixMilli(d.Created), Updated: time.UnixMilli(d.Updated), Current: d.Current, Oldest: d.Oldest(), Settings: d.Settings,
	}
	for i := range d.Versions {
		s.Versions = append(s.Versions, *said(&d.Versions[i]))
	}
	return &Result{Secret: s, Tags: d.Tags}
}

func said(v *secrets.Version) *Version {
	out := &Version{Number: v.Number, Created: time.UnixMilli(v.Created), Destroyed: v.Destroyed}
	if v.Deletes != 0 {
		out.Deletes = time.UnixMilli(v.Deletes)
	}
	return out
}
