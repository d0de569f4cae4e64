// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// quietly runs f, which expands a key, with signals blocked on its thread and
// clears the vector registers before they come through. A signal makes the
// kernel write all registers to the thread's signal stack, ordinary memory
// where they stay for long; the Go runtime sends one to preempt a goroutine.
//
// It costs two system calls, so it is for key set-up. Seal, Open and Sum run
// without it: a signal in the middle of one can leave single round keys behind.
func quietly(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var old unix.Sigset_t
	all := blockable()
	setMask(&all, &old)
	// On a panic too, else the thread would stay deaf.
	defer setMask(&old, nil)
	defer clearVectors()
	f()
}

// blockable is every signal but those a fault raises, which must get through
// to become a panic.
func blockable() unix.Sigset_t {
	var set unix.Sigset_t
	for i := range set.Val {
		set.Val[i] = ^set.Val[i]
	}
	for _, s := range []unix.Signal{unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGTRAP} {
		set.Val[0] &^= 1 << (s - 1)
	}
	return set
}

func setMask(set, old *unix.Sigset_t) {
	// It fails only for an argument that isn't one.
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, set, old); err != nil {
		panic(fmt.Sprintf("secret: set signal mask: %v", err))
	}
}
