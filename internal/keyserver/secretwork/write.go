// SPDX-License-Identifier: Apache-2.0

package secretwork

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/keyserver/rules"
	"claviger/internal/secret"
	"claviger/internal/secrets"
)

// write changes a secret: a leaf for the decision, the change, a leaf for how it
// ended.
func (w *Worker) write(ctx context.Context, caller *authn.Caller, a *Ask) (*Result, error) {
	v := w.look(caller, a)
	_, at, ticket, err := w.decide(ctx, caller, a, &v)
	if err == nil {
		err = w.o.Wait(ctx, ticket)
	}
	if err != nil {
		return nil, err
	}
	// Once permitted, it is done or refused: a caller who hangs up must not leave it
	// undecided.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishing)
	defer cancel()
	out, err := w.change(ctx, caller, a)
	if oerr := w.outcome(ctx, caller, a, at, &v, err); oerr != nil {
		return nil, oerr
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// errMoved says that another change of the secret was first.
var errMoved = errors.New("the secret was changed meanwhile")

// change tries until no other change of the secret comes between.
func (w *Worker) change(ctx context.Context, caller *authn.Caller, a *Ask) (*Result, error) {
	release, err := take(ctx, w.locks[maphash.String(w.seed, a.name())%stripes])
	if err != nil {
		return nil, err
	}
	defer release()
	for range 16 {
		out, err := w.changeOnce(ctx, caller, a)
		if !errors.Is(err, errMoved) {
			return out, err
		}
		if err := w.o.Refresh(ctx); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrStore, err)
		}
	}
	return nil, fmt.Errorf("%w: %w", ErrStore, ErrMoved)
}

func (w *Worker) changeOnce(ctx context.Context, caller *authn.Caller, a *Ask) (*Result, error) {
	v := w.look(caller, a)
	// Security: a change waits for others of its name, and whoever is revoked
	// meanwhile makes it no more (T-81).
	if why := v.facts.Barred(); why != "" {
		return nil, &Denied{Caller: caller.ID, Operation: a.Operation, Name: a.name(), Cause: rules.CauseRevoked, Reason: why}
	}
	if v.row != nil && v.row.Key != v.key.ID {
		return nil, ErrFolder
	}
	if a.Operation == Forget {
		return &Result{}, w.forget(ctx, a, &v)
	}
	folder, err := w.settings(ctx, caller, a, &v)
	if err != nil {
		return nil, err
	}
	d, err := w.load(ctx, caller, a, &v, itself)
	if err != nil {
		return nil, err
	}
	var before []byte
	if d != nil {
		defer d.Wipe()
		if before, err = d.Encode(); err != nil {
			return nil, err
		}
		defer secret.Wipe(before)
	}
	d, out, err := w.edit(a, d, folder)
	if err != nil || d == nil {
		return out, err
	}
	after, err := d.Encode()
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(after)
	if bytes.Equal(before, after) {
		return out, nil
	}
	return out, w.keep(ctx, a, &v, after)
}

// edit does to a document what is asked; d is nil if there is none, and comes back
// so if there still is none.
func (w *Worker) edit(a *Ask, d *secrets.Document, folder secrets.Settings) (*secrets.Document, *Result, error) {
	now := w.o.Now().Truncate(time.Millisecond)
	creates := a.Operation == Put || a.Operation == Configure && !a.Change.Existing
	if d == nil && (a.Operation == Patch || a.Operation == Configure && !creates) {
		return nil, nil, secrets.ErrNoVersion
	}
	if d == nil && !creates {
		return nil, &Result{}, nil
	}
	if d == nil {
		d = secrets.New(now)
	}
	var v *secrets.Version
	var err error
	switch a.Operation {
	case Put:
		v, err = d.Put(now, a.Data, a.CAS, folder)
	case Patch:
		v, err = d.Patch(now, a.Data, a.CAS, folder)
		if newest := d.Find(0); errors.Is(err, secrets.ErrNoVersion) && newest != nil {
			err = &Gone{&Result{Version: said(newest), Tags: d.Tags}}
		}
	case Delete:
		d.Delete(now, a.Versions)
	case Undelete:
		d.Undelete(now, a.Versions, folder)
	case Destroy:
		d.Destroy(a.Versions)
	case Configure:
		err = d.Configure(a.Change)
	}
	if err != nil {
		return nil, nil, err
	}
	out := &Result{Tags: d.Tags}
	if v != nil {
		out.Version = said(v)
	}
	return d, out, nil
}

// keep writes a document: slot, record, and then the older slots go.
func (w *Worker) keep(ctx context.Context, a *Ask, v *view, plain []byte) error {
	next, err := w.seal(ctx, v, a.name(), plain)
	if err != nil {
		return err
	}
	return w.record(ctx, v, next)
}

// forget ends a secret.
func (w *Worker) forget(ctx context.Context, a *Ask, v *view) error {
	if v.row == nil {
		return nil
	}
	return w.record(ctx, v, authority.SecretWritten{Name: a.name(), Revision: v.next, Key: v.key.ID})
}

// record appends what the log has to say of a change.
func (w *Worker) record(ctx context.Context, v *view, next authority.SecretWritten) error {
	// The fold holds it too; asked here, it costs no signature.
	first := func(s *authority.State) error {
		if s.Secrets().Next(next.Name) != v.next {
			return errMoved
		}
		return nil
	}
	err := w.o.Ledger.AppendIf(ctx, authority.KindSecret, next, first)
	if errors.Is(err, authority.ErrRefused) && w.moved(v, next) {
		err = errMoved
	}
	switch {
	case err == nil:
		w.tidy(ctx, next)
		return nil
	case errors.Is(err, errMoved), errors.Is(err, authority.ErrRefused):
		w.drop(ctx, next)
		return err
	}
	return fmt.Errorf("%w: %w", ErrStore, err) // the record may have landed: its slot stays
}

// moved reports whether what was refused may hold by now: another revision, or
// another version of the key that seals.
func (w *Worker) moved(v *view, next authority.SecretWritten) (moved bool) {
	w.o.Ledger.View(func(s *authority.State) {
		k := s.KeyNamed(v.key.Name)
		usable := k != nil && !k.Disabled && k.Current() != nil
		moved = s.Secrets().Next(next.Name) != v.next || usable && k.Current().Number != next.Version
	})
	return moved
}

// drop removes a slot that no record will ever name.
func (w *Worker) drop(ctx context.Context, next authority.SecretWritten) {
	if next.Slot.IsZero() {
		return
	}
	key := slot(next.Name, next.Revision, next.Slot)
	if _, version, err := w.o.Slots.Get(ctx, key); err == nil {
		// What fails here is removed by the next change of the name.
		_ = w.o.Slots.Put(ctx, key, version, nil)
	}
}
