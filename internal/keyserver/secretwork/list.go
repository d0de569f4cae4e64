// SPDX-License-Identifier: Apache-2.0

package secretwork

import (
	"context"
	"slices"
	"strings"

	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/keyserver/policyset"
	"claviger/internal/keyserver/rules"
)

// list names what the caller may read or write in a folder. Where it may nothing
// of what is there, policy is asked about a name that stands for all others in the
// folder: so an empty folder and one that is forbidden differ only to who might use
// it.
func (w *Worker) list(ctx context.Context, caller *authn.Caller, a *Ask) (*Result, error) {
	v := w.look(caller, a)
	rows := w.rows(a.name())
	set, err := w.o.Policy(v.facts.Policy)
	if err != nil {
		return nil, err
	}
	done, err := w.o.Turn(ctx)
	if err != nil {
		return nil, err
	}
	names, r := w.visible(a, &v, set, rows[:min(len(rows), w.looked)])
	done()
	_, ticket, err := w.enter(a, &v, set, r)
	if err == nil {
		err = w.o.Wait(ctx, ticket)
	}
	switch {
	case err != nil:
		return nil, err
	case !r.Allowed:
		return nil, &Denied{Caller: caller.ID, Operation: a.Operation, Name: a.name(), Cause: r.Cause, Reason: r.Reason}
	case len(rows) > w.looked:
		return nil, ErrTooMany
	}
	return &Result{Names: names}, nil
}

// rows are the secrets below a folder, one more than a list looks at if there are
// more.
func (w *Worker) rows(folder string) (rows []*authority.Secret) {
	w.o.Ledger.View(func(s *authority.State) {
		for row := range s.Secrets().Below(folder) {
			if rows = append(rows, row); len(rows) > w.looked {
				return
			}
		}
	})
	return rows
}

// visible names what is visible of a folder, and gives the ruling that stands for
// the whole list.
func (w *Worker) visible(a *Ask, v *view, set *policyset.Set, rows []*authority.Secret) (names []string, all rules.Ruling) {
	all = w.either(a, v, set, a.probe())
	for _, row := range rows {
		part, _, deeper := strings.Cut(strings.TrimPrefix(row.Name, a.name()+"/"), "/")
		if deeper {
			part += "/"
		}
		known := len(names) > 0 && names[len(names)-1] == part
		if known || v.key == nil || row.Key != v.key.ID {
			continue
		}
		one := w.either(a, v, set, row.Name)
		if one.Allowed {
			names = append(names, part)
		}
		all.Errors = append(all.Errors, one.Errors...)
		if !all.Allowed && (one.Allowed || one.Known && !all.Known) {
			one.Errors = all.Errors
			all = one
		}
	}
	slices.Sort(names)
	return names, all
}

// either asks whether a secret may be read, or else written.
func (w *Worker) either(a *Ask, v *view, set *policyset.Set, name string) rules.Ruling {
	r := v.facts.Secret(set, w.ask(a, name), "secret:read", v.key, 0, false)
	if !r.Known {
		if also := v.facts.Secret(set, w.ask(a, name), "secret:write", v.key, 0, false); also.Known {
			also.Errors = append(also.Errors, r.Errors...)
			return also
		}
	}
	return r
}
