// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"claviger/client"
	"claviger/internal/authority"
	"claviger/internal/kdf"
	"claviger/internal/secret"
	"claviger/internal/testkit"
	"claviger/internal/wire"
)

// Scenario 73: a server is killed at any moment of a rotation or a destruction. What
// it finds afterwards is the old state or the new one. Torn writes and lost syncs of
// each file are tested where the files are written: packages audit, hierarchy, store.
func TestScenario73_KilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	p := newProcessWorld(t)
	p.up()
	c := p.Dial(p.app1, p.Address)
	survivor := p.seal(c, orders)
	objects := []string{cards}
	kept := map[string][]byte{cards: p.seal(c, cards)}
	for round := range 8 {
		name := objects[len(objects)-1]
		kind, payload := authority.KindKeyRotate, any(authority.KeyRef{ID: p.Key(name).ID, Reason: "test"})
		if round%2 == 1 {
			kind, payload = authority.KindKeyDestroy, authority.Destroy{ID: p.Key(name).ID, Number: 1, Reason: "test"}
			next := fmt.Sprintf("payments/k%d", round)
			objects = append(objects, next)
			p.CreateKey(next, authority.AES256)
			p.Allow("app1", next)
			kept[next] = p.seal(p.Dial(p.app1, p.Address), next)
		}
		before := p.State().KeyNamed(name)
		entry, err := p.State().Entry(kind, payload, time.Now().Add(time.Hour), p.Admins[0])
		if err != nil {
			t.Fatal(err)
		}
		answered := make(chan testkit.Outcome, 1)
		go func() { answered <- p.Post(entry, p.Admins[0]) }()
		<-time.After(time.Duration(rand.IntN(30_000)) * time.Microsecond)
		p.server.end()
		said := <-answered
		p.up()
		after := p.Key(name)
		if said.Applied {
			// What was acknowledged is there, and what was ordered is done by now.
			if kind == authority.KindKeyRotate && len(after.Versions) != len(before.Versions)+1 {
				t.Errorf("round %d: an acknowledged rotation is lost", round)
			}
			if kind == authority.KindKeyDestroy && after.Version(1).State != wire.StateDestroyed {
				t.Errorf("round %d: an acknowledged destruction left version 1 %s", round, after.Version(1).State)
			}
		}
		if uint64(len(after.Versions)) != after.Ordered {
			t.Errorf("round %d: %d versions of %d that were ordered", round, len(after.Versions), after.Ordered)
		}
		if v := after.Version(1); v.DestroyAt != 0 && v.State != wire.StateDestroyed {
			t.Errorf("round %d: an order to destroy was left half done: %s", round, v.State)
		}
		fresh := p.Dial(p.app1, p.Address)
		p.opens(fresh, survivor, orders)
		for key, object := range kept {
			got, _, err := fresh.Decrypt(t.Context(), object, client.DecryptOptions{Keys: []string{key}})
			_, denied := errors.AsType[*client.DeniedError](err)
			if gone := p.Key(key).Version(1).State == wire.StateDestroyed; gone != denied || !gone && !bytes.Equal(got, plaintext) {
				t.Errorf("round %d: %s is %s, and its object gives %v", round, key, p.Key(key).Version(1).State, err)
			}
		}
	}
	if r := p.Verify(p.app1.Dir); !r.OK() {
		t.Errorf("the audit log after the kills: %+v", r.Faults)
	}
}

// Scenario 76: the memory of a client whose lease has ended, and of the server that
// gave it, in all that a snapshot of ordinary pages or a core file would hold.
func TestScenario76_MemoryAfterLease(t *testing.T) {
	t.Parallel()
	p := newProcessWorld(t)
	p.up()
	key := p.Key(cards)
	short := key.Settings
	short.Lease = 2
	p.Propose(authority.KindKeySettings, authority.KeySettings{ID: key.ID, Settings: short, Reason: "test"})
	app := *p.app1
	app.Addresses = []string{p.Address}
	if err := app.Save(); err != nil {
		t.Fatal(err)
	}
	_, release := p.release(p.Raw(p.app1.Dir), testkit.DataItem(cards, "encrypt"))
	leaf := secret.Take(release.Keys[0])
	defer leaf.Wipe()
	domain := [32]byte(p.Founded.Domain)
	slot, field := kdf.SlotKey(leaf, domain), kdf.FieldKey(leaf, domain)
	defer slot.Wipe()
	defer field.Wipe()
	canaries := map[string][]byte{"leaf key": leaf.Expose(), "slot key": slot.Expose(), "field key": field.Expose()}
	idle := spawn(t, "child-client", p.app1.Dir)
	for _, want := range []string{"leased", "ended"} {
		if got := idle.line(t); got != want {
			t.Fatalf("the client said %q", got)
		}
	}
	control := bytes.ToUpper([]byte("a control that lies in ordinary memory"))
	holds := memory(t, idle.Process.Pid, map[string][]byte{"control": control})
	if len(holds) != 1 {
		t.Fatal("the scan finds nothing, even where something is")
	}
	for _, what := range memory(t, idle.Process.Pid, canaries) {
		t.Errorf("an idle client's memory holds the %s after its lease", what)
	}
	for _, what := range memory(t, p.server.Process.Pid, canaries) {
		t.Errorf("the server's memory holds the %s", what)
	}
	// Scenario 75, for a process: neither its arguments nor its environment hold any.
	for _, file := range []string{"cmdline", "environ"} {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.server.Process.Pid, file))
		if err != nil {
			t.Fatal(err)
		}
		seed, err := os.ReadFile(p.keyFile)
		if err != nil {
			t.Fatal(err)
		}
		canaries["root's key"] = seed
		scan(t, map[string][]byte{file: data}, canaries)
	}
}

// memory searches a process for needles, in all that can be read of it from outside.
func memory(t *testing.T, pid int, needles map[string][]byte) []string {
	t.Helper()
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	hits := map[string]bool{}
	total := 0
	buf := make([]byte, 1<<20)
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") {
			continue
		}
		for at := from; at < to; at += int64(len(buf)) - 64 {
			// Pages that the process keeps from everybody (memfd_secret) can't be read.
			n, _ := mem.ReadAt(buf[:min(int64(len(buf)), to-at)], at)
			total += n
			for what, needle := range needles {
				if bytes.Contains(buf[:n], needle) {
					hits[what] = true
				}
			}
		}
	}
	if total < 1<<20 {
		t.Fatalf("only %d bytes of the process could be read", total)
	}
	var out []string
	for what := range hits {
		out = append(out, what)
	}
	return out
}
