// SPDX-License-Identifier: Apache-2.0

//go:build linux || darwin

package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTime reads the clock that counts suspended time. A failing read (a
// seccomp profile may forbid it) is reported, never taken for zero.
func bootTime() (time.Duration, bool) {
	var ts unix.Timespec
	if err := unix.ClockGettime(bootClockID, &ts); err != nil {
		return 0, false
	}
	return time.Duration(ts.Nano()), true
}
