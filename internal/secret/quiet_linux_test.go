// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func currentMask(t *testing.T) unix.Sigset_t {
	t.Helper()
	var set unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, nil, &set); err != nil {
		t.Fatal(err)
	}
	return set
}

func blocked(set unix.Sigset_t, s unix.Signal) bool { return set.Val[0]&(1<<(s-1)) != 0 }

func TestQuietlyBlocksSignals(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := currentMask(t)
	if blocked(before, unix.SIGURG) {
		t.Fatal("SIGURG is blocked to begin with: the checks below prove nothing")
	}
	quietly(func() {
		inside := currentMask(t)
		for _, s := range []unix.Signal{unix.SIGURG, unix.SIGPROF, unix.SIGCHLD, unix.SIGTERM} {
			if !blocked(inside, s) {
				t.Errorf("signal %d comes through", s)
			}
		}
		for _, s := range []unix.Signal{unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE} {
			if blocked(inside, s) {
				t.Errorf("fault %d is blocked", s)
			}
		}
	})
	if currentMask(t) != before {
		t.Error("the signal mask isn't restored")
	}
	mustPanic(t, "quietly", "inside", func() { quietly(func() { panic("inside") }) })
	if currentMask(t) != before {
		t.Error("the signal mask isn't restored after a panic")
	}
}

// Whoever sets up a key does it quietly.
func TestKeySetupIsQuiet(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	withKey(func(*hasher) {
		if !blocked(currentMask(t), unix.SIGURG) {
			t.Error("withKey lets signals through")
		}
	})
}

// flagsOf returns the kernel's VmFlags of the mapping that holds p.
func flagsOf(t *testing.T, p unsafe.Pointer) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for line := range strings.Lines(string(data)) {
		var start, end uintptr
		if n, _ := fmt.Sscanf(line, "%x-%x ", &start, &end); n == 2 {
			inside = start <= uintptr(p) && uintptr(p) < end
		}
		if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok && inside {
			return flags
		}
	}
	t.Fatalf("no mapping holds %p", p)
	return ""
}

// Each way to get memory has the properties that its level promises, or says
// that it isn't available.
func TestMappings(t *testing.T) {
	const n = minChunk
	check := func(name string, p unsafe.Pointer, want ...string) {
		view := unsafe.Slice((*byte)(p), n)
		for i, b := range view {
			if b != 0 {
				t.Fatalf("%s: byte %d isn't zero", name, i)
			}
		}
		view[0], view[n-1] = 1, 1
		flags := flagsOf(t, p)
		for _, f := range want {
			if !strings.Contains(flags, " "+f+" ") {
				t.Errorf("%s: flags %q lack %s", name, flags, f)
			}
		}
		unmap(p, n)
	}
	p, err := mapWeak(n)
	if err != nil {
		t.Fatal(err)
	}
	check("weak", p, "dd", "dc")
	// Locked and secret memory depend on limits and kernel: a refusal is an
	// answer, and mapStrong goes on to the next level.
	if p, err := mapLocked(n); err == nil {
		check("locked", p, "dd", "dc", "lo")
	}
	if p, err := mapSecret(n); err == nil {
		check("secret", p, "dd", "dc", "lo")
	}
	p, l, err := mapStrong(n)
	switch {
	case err != nil:
		t.Logf("no strong memory here: %v", err)
	case l == levelNone:
		t.Error("mapStrong gave unlocked memory")
	default:
		check("strong", p, "dd", "dc", "lo")
	}
}

func TestMappingTooLargeIsRefused(t *testing.T) {
	const n = math.MaxInt - minChunk + 1 // more than there are addresses
	if _, err := mapWeak(n); err == nil {
		t.Error("mapWeak")
	}
	if _, _, err := mapStrong(n); err == nil {
		t.Error("mapStrong")
	}
}
