// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"bytes"
	"fmt"
	"os"
	"testing"
)

// The residue test asks what a dump of a working process holds. A child
// process gets keys through a pipe and works with them; this process, its
// parent, reads all of the child's memory that a core dump would contain and
// searches it for everything that equals a key or lets one be had at once.
// A second child that works the way ordinary programs do is the control: all
// the things searched for must be found in it, else the search proves nothing.

const (
	childVariable = "CLAVIGER_TEST_RESIDUE_CHILD"
	residueRounds = 2000
	around        = 4096   // bytes around a finding that are looked at
	residueKeys   = 3 * 32 // an AES key, an HMAC or derivation key, input for Extract
)

func TestMain(m *testing.M) {
	switch os.Getenv(childVariable) {
	case "":
		os.Exit(m.Run())
	case "protected":
		runChild(newProtectedWork())
	case "ordinary":
		runChild(newOrdinaryWork())
	}
}

func TestNoResidue(t *testing.T) {
	keys := randomBytes(residueKeys)
	list := needles(t, keys)
	ordinary := startChild(t, "ordinary", keys)
	control := ordinary.search(t, list)
	for range 2 { // the other phases
		ordinary.next(t)
		for name, h := range ordinary.search(t, list) {
			control[name] = hits{memory: max(control[name].memory, h.memory)}
		}
	}
	for _, x := range list {
		if control[x.name].memory == 0 {
			t.Errorf("control: %s not found in a process that doesn't hide it", x.name)
		}
	}
	c := startChild(t, "protected", keys)
	for _, phase := range []string{"idle", "collected", "live"} {
		if phase != "idle" {
			c.next(t)
		}
		found := c.search(t, list)
		for _, x := range list {
			h := found[x.name]
			t.Logf("%-9s %-28s %d, saved registers %d (control %d)", phase, x.name, h.memory, h.registers, control[x.name].memory)
			if h.memory != 0 {
				t.Errorf("%s: %s found %d times", phase, x.name, h.memory)
			}
		}
	}
}

// What the kernel says of the memory has to agree with Protection.
func TestProtectionIsReal(t *testing.T) {
	keys := randomBytes(residueKeys)
	c := startChild(t, "protected", keys)
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", c.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	got := make([]byte, 32)
	_, err = mem.ReadAt(got, int64(c.where))
	var held *mapping
	for _, m := range c.mappings(t) {
		if m.start <= c.where && c.where < m.end {
			held = &m
		}
	}
	if held == nil || !held.has("dd") || !held.has("dc") {
		t.Fatalf("the key's mapping is dumped or forked: %+v", held)
	}
	switch c.level {
	case "memfd_secret":
		if err == nil {
			t.Error("memfd_secret memory can be read from outside")
		}
	case "mlock":
		if err != nil || !bytes.Equal(got, keys[:32]) || !held.has("lo") {
			t.Errorf("mlock: flags %q, read %v", held.flags, err)
		}
	case "none":
		if err != nil || !bytes.Equal(got, keys[:32]) {
			t.Errorf("none: read %v", err)
		}
	default:
		t.Errorf("Protection() = %q", c.level)
	}
}
