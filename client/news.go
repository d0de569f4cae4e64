// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"

	"claviger/client/internal/trust"
	"claviger/internal/pki/tlscert"
)

// news gets statements by one way after the other, until one is believed that is
// as new as servers make them. Older ones count for what they are; who shows
// nothing else must not keep the others from being asked.
func (n *network) news(ctx context.Context) error {
	heard := false
	err := n.each(ctx, func(w *way) error {
		err := n.newsBy(ctx, w)
		if err != nil {
			return err
		}
		heard = true
		if age, ok := n.view.Told(); !ok || age >= 2*newsEvery {
			return errOldNews
		}
		return nil
	})
	if heard && (errors.Is(err, errOldNews) || rank(err) <= rank(ErrUnavailable)) {
		return nil
	}
	return err
}

// errOldNews means that the newest statement to be had is older than the next one
// should be.
var errOldNews = unavailable(errors.New("no new statement"))

// newsBy gets statements by one way. One that is believed is enough.
func (n *network) newsBy(ctx context.Context, w *way) error {
	if _, err := n.introducedOne(ctx, w); err != nil {
		return err
	}
	all, err := w.carrier.Statements(ctx)
	if errors.Is(err, tlscert.ErrPin) {
		if err := n.introducedAgain(ctx, w); err != nil {
			return err
		}
		all, err = w.carrier.Statements(ctx)
	}
	if err != nil {
		return unavailable(err)
	}
	failed, heard := unavailable(errors.New("no statement is there")), false
	for i, data := range all {
		err := n.statement(ctx, w, data)
		if errors.Is(err, ErrRollback) && !w.direct() {
			// A board lags a moment behind the log, also an honest one. That a server went
			// back shows in its answers.
			err = errOldNews
		}
		heard = heard || err == nil
		if i == 0 || rank(err) > rank(failed) {
			failed = err
		}
	}
	if heard {
		return nil
	}
	return failed
}

// statement judges a statement, after a new introduction if it is of another
// membership.
func (n *network) statement(ctx context.Context, w *way, data []byte) error {
	err := n.view.Statement(data)
	if !errors.Is(err, trust.ErrMembers) {
		return err
	}
	if err := n.introducedAgain(ctx, w); err != nil {
		return err
	}
	return n.view.Statement(data)
}
