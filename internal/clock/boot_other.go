// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !darwin && !windows

package clock

import "time"

// bootTime has no source here; System falls back to the process clock.
func bootTime() (time.Duration, bool) { return 0, false }
