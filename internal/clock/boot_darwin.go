// SPDX-License-Identifier: Apache-2.0

package clock

import "golang.org/x/sys/unix"

// clock_gettime(3) of macOS: CLOCK_MONOTONIC_RAW goes on while the machine
// sleeps; CLOCK_UPTIME_RAW doesn't.
const bootClockID = unix.CLOCK_MONOTONIC_RAW
