// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"claviger/internal/admin"
	"claviger/internal/authority"
)

// canary is the tag that a key must have to be revoked for a drill.
const canary = "canary"

func isCanary(k *authority.Key) bool {
	return slices.ContainsFunc(k.Settings.Tags, func(t authority.Tag) bool { return t.Name == canary })
}

// enableWithin is how long a drill tries to enable its key again, also when it
// was interrupted.
const enableWithin = 30 * time.Second

// drillResult is a drill: the key was revoked, that was measured, and it was
// enabled again.
type drillResult struct {
	Key        string            `json:"key"`
	Passed     bool              `json:"passed"`
	Enabled    bool              `json:"enabled"`
	Revocation *admin.Revocation `json:"revocation,omitempty"`
}

func (r drillResult) human(p *printer) {
	if r.Passed {
		p.line("The drill on %s passed.", r.Key)
	} else {
		p.line("The drill on %s failed.", r.Key)
	}
	if r.Revocation != nil {
		printRevocation(p, r.Revocation)
	}
	if r.Enabled {
		p.line("The key is enabled again.")
	}
}

// runDrill revokes a canary key, measures how long that takes to reach its
// holders, and enables it again whatever came of it.
func (e *env) runDrill(ctx context.Context, f revokeFlags, name string) error {
	s, err := e.connect(ctx, f.access)
	if err != nil {
		return err
	}
	defer s.Close()
	k, err := admin.KeyNamed(s.State(), name)
	if err != nil {
		return asBuildFailure(err)
	}
	switch {
	case !isCanary(k):
		// Who drills on a key that people work with makes an outage.
		return (&Failure{Code: ExitDenied, Message: fmt.Sprintf("%s is not tagged %s: a drill stops a key for everybody", name, canary)}).
			withHint("claviger key create canary/NAME --tag %s=yes", canary)
	case k.Disabled:
		return &Failure{Code: ExitFailure, Message: fmt.Sprintf("%s is disabled; a drill would enable it", name)}
	}
	ref := authority.KeyRef{ID: k.ID, Reason: "drill"}
	if f.reason != "" {
		ref.Reason = "drill: " + f.reason
	}
	if _, err := e.change(ctx, s, false, authority.KindKeyDisable, ref); err != nil {
		return err
	}
	r := drillResult{Key: name}
	r.Revocation, err = e.measure(ctx, s, "key:"+k.ID.String(), f.timeout)
	err = verdict(r.Revocation, err)
	r.Passed = err == nil
	again, cancel := context.WithTimeout(context.WithoutCancel(ctx), enableWithin)
	defer cancel()
	_, undone := e.change(again, s, false, authority.KindKeyEnable, ref)
	if r.Enabled = undone == nil; undone != nil {
		r.Passed, undone = false, fmt.Errorf("%s is still disabled; run claviger enable %s: %w", name, name, undone)
	}
	if shown := e.show(r); shown != nil || undone != nil {
		return cmp.Or(undone, shown)
	}
	return err
}

// verdict says what is wrong with a drill's measurement, nil if nothing is.
func verdict(r *admin.Revocation, err error) error {
	switch {
	case r == nil:
		return fmt.Errorf("measure: %w", err)
	case r.Holders == 0:
		// A drill that nobody takes part in shows nothing.
		return (&Failure{Code: ExitFailure, Message: "nobody held the key, so nothing was measured"}).
			withHint("keep a client running that uses it")
	}
	return notDark(r, err)
}
