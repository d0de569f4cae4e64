// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"errors"
	"sync"
)

// outcome is what the start-up tests found.
type outcome struct {
	layout *sha512Layout // nil: SHA-512 isn't placed
	sha512 error         // why not
	aead   error         // why AES-GCM isn't placed, nil if it is
}

// tested runs the tests once, on the first use of a primitive.
var tested = sync.OnceValue(func() outcome { return runTests(probeSHA512) })

func runTests(probe func() (*sha512Layout, error)) outcome {
	var o outcome
	o.aead = testAEAD()
	layout, err := probe()
	if err == nil {
		err = testSHA512(layout)
	}
	if err == nil {
		o.layout = layout
	}
	o.sha512 = err
	return o
}

// SelfTest reports why a primitive doesn't run on protected memory, or nil.
// With an error everything still works and is correct, but key schedules and
// HMAC states lie on the Go heap; a server that promises more refuses to start.
// It doesn't report missing memory protection: see Protection.
func SelfTest() error {
	o := tested()
	return errors.Join(o.aead, o.sha512)
}

// Protection says how well the least protected secret can be protected at
// present: "memfd_secret" (out of reach even for root's reads of the process's
// memory), "mlock" (not swapped, not in core dumps), or "none": another system
// than Linux, locked memory exhausted at some time, or SelfTest failed.
func Protection() string {
	memory().release(memory().alloc(1)) // so that there is something to judge
	if SelfTest() != nil {
		return levelNone.String()
	}
	return memory().snapshot().weakest.String()
}

// Usage counts the bytes of memory for secrets. Locked and Unlocked are
// mapped, InUse is the part that is handed out or kept, wiped, for the next
// short-lived secret. Unlocked above zero on Linux
// means that RLIMIT_MEMLOCK is too small for the number of keys.
type Usage struct{ Locked, Unlocked, InUse int }

// CurrentUsage returns the counts of this process.
func CurrentUsage() Usage {
	s := memory().snapshot()
	return Usage{Locked: s.locked, Unlocked: s.unlocked, InUse: s.inUse}
}
