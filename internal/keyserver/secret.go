// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"context"
	"errors"

	"claviger/internal/authn"
	"claviger/internal/keyserver/secretwork"
)

// Secret is one operation on one versioned secret. What went wrong is, besides one
// of this package's errors, one of package secrets where a protocol tells more.
type Secret struct{ secretwork.Ask }

// SecretDone is what it gives.
type SecretDone struct{ *secretwork.Result }

func (*Secret) op()         {}
func (*SecretDone) answer() {}

func (c *Core) openSecrets() {
	c.secrets = secretwork.New(secretwork.Options{
		Domain: c.o.Domain, Ledger: c.ledger, Refresh: c.log.Refresh, Slots: c.store, Keys: c.worker, Using: c.switching.RLocker(),
		Now: c.Now, Policy: c.currentPolicy, PolicyErrors: c.policyErrors, Enter: c.enter, Wait: c.wait, Turn: c.work, Alarm: c.alarm,
	})
}

func (c *Core) secret(ctx context.Context, caller *authn.Caller, op *Secret) (Answer, error) {
	out, err := c.secrets.Do(ctx, caller, &op.Ask)
	if err == nil {
		return &SecretDone{out}, nil
	}
	if d, ok := errors.AsType[*secretwork.Denied](err); ok {
		return nil, &Denial{Caller: d.Caller, Operation: string(d.Operation), Key: d.Name, Reason: d.Reason, Cause: d.Cause}
	}
	return nil, keyError(secretwork.Sorted(err, ErrMalformed, ErrRefused, ErrUnavailable))
}
