// SPDX-License-Identifier: Apache-2.0

package leased

import (
	"time"

	"claviger/internal/clock"
)

// Check is how one step went of what the foreign program would do.
type Check struct {
	Name    string
	Err     error  // nil: as it should
	Note    string // what came of it
	Latency time.Duration
}

// Try times one step. Its note is shown if it went as it should.
func Try(c clock.Clock, name string, step func() (note string, err error)) Check {
	begin := c.Boot()
	note, err := step()
	return Check{Name: name, Err: err, Note: note, Latency: c.Boot() - begin}
}
