// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"claviger/client"
	"claviger/internal/testkit/hostile"
)

// TestEnrolmentDamaged: an enrolment whose messages are damaged on the way gives a
// profile that works, or an error and no profile.
func TestEnrolmentDamaged(t *testing.T) {
	t.Parallel()
	w := newWorldBy(t, relayed)
	enrol := func(name, line string) (*client.Profile, string, error) {
		dir := filepath.Join(t.TempDir(), name)
		p, err := client.Enroll(t.Context(), dir, line, client.EnrollOptions{Clock: w.Clock()})
		return p, dir, err
	}
	if _, _, err := enrol("app3", w.Invite("app3")); err != nil {
		t.Fatal(err)
	}
	passed := w.relay.Seen(hostile.Exchange)
	whole := passed[len(passed)-1]
	var told atomic.Int64
	for _, l := range []leg{{hostile.Exchange, true}, {hostile.Exchange, false}} {
		size := len(whole.Answer)
		if l.question {
			size = len(whole.Question)
		}
		for _, d := range damages {
			for at := 0; at < size; at += 331 {
				what := fmt.Sprintf("%+v %s at %d", l, d.name, at)
				line := w.Invite("app4")
				spoil(w.relay, l, d, at, &told)
				p, dir, err := enrol("app4", line)
				w.relay.Honest()
				_, there := os.Stat(dir)
				if (err == nil) != (there == nil) {
					t.Errorf("%s: %v, and the profile: %v", what, err, there)
				}
				if err == nil {
					w.denied(w.Dial(p), cards, "no policy allows it") // it is who it says
					continue
				}
				if isDenied(err) || !errors.Is(err, client.ErrIntegrity) && !errors.Is(err, client.ErrUnavailable) {
					t.Errorf("%s: %v", what, err)
				}
				// The line still works, or its use was recorded and the answer is lost.
				if _, _, err := enrol("app4", line); err != nil && !isDenied(err) {
					t.Errorf("%s: the same line, afterwards: %v", what, err)
				}
			}
		}
	}
	if told.Load() < 20 {
		t.Errorf("only %d messages were damaged", told.Load())
	}
}
