// SPDX-License-Identifier: Apache-2.0

package clock

import (
	"time"

	"golang.org/x/sys/windows"
)

// bootTime is GetTickCount64: milliseconds since start, sleep included.
func bootTime() (time.Duration, bool) { return windows.DurationSinceBoot(), true }
