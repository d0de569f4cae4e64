// SPDX-License-Identifier: Apache-2.0

package ways

import (
	"context"
	"errors"
	"time"

	"claviger/client/internal/trust"
	"claviger/internal/pki/tlscert"
	"claviger/internal/wire"
)

// StatementEvery is how often servers sign statements.
const StatementEvery = 30 * time.Second

// News gets statements by one way after the other, until one is believed that is
// as new as servers make them. Older ones count for what they are; who shows
// nothing else must not keep the others from being asked.
func (n *Network) News(ctx context.Context) error {
	heard := false
	err := n.each(ctx, func(w *Way) error {
		err := n.newsBy(ctx, w)
		if err != nil {
			return err
		}
		heard = true
		if age, ok := n.view.Told(); !ok || age >= 2*StatementEvery {
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
var errOldNews = Unavailable(errors.New("no new statement"))

// newsBy gets statements by one way. One that is believed is enough.
func (n *Network) newsBy(ctx context.Context, w *Way) error {
	if _, err := n.introducedOne(ctx, w); err != nil {
		return err
	}
	all, err := w.Carrier.Statements(ctx)
	if errors.Is(err, tlscert.ErrPin) {
		if err := n.introducedAgain(ctx, w); err != nil {
			return err
		}
		all, err = w.Carrier.Statements(ctx)
	}
	if err != nil {
		return Unavailable(err)
	}
	failed, heard := Unavailable(errors.New("no statement is there")), false
	for i, data := range all {
		err := n.statement(ctx, w, data)
		if errors.Is(err, trust.ErrRollback) && !w.Direct() {
			// A board lags a moment behind the log, also an honest one. That a server went
			// back shows in its answers.
			err = errOldNews
		}
		n.doubts.hear(w, wire.ServerID{}, err)
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
func (n *Network) statement(ctx context.Context, w *Way, data []byte) error {
	err := n.view.Statement(data)
	if !errors.Is(err, trust.ErrMembers) {
		return err
	}
	if err := n.introducedAgain(ctx, w); err != nil {
		return err
	}
	return n.view.Statement(data)
}
