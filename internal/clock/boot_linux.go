// SPDX-License-Identifier: Apache-2.0

package clock

import "golang.org/x/sys/unix"

// clock_gettime(2): like CLOCK_MONOTONIC, but also counts suspended time.
const bootClockID = unix.CLOCK_BOOTTIME
