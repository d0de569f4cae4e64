// SPDX-License-Identifier: Apache-2.0

package keyserver_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"claviger/internal/audit"
	"claviger/internal/authority"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/keyservertest"
	"claviger/internal/testkit/faultfs"
	"claviger/internal/wire"
)

// traced lists what a server did for the client at an address, as strace saw it:
// "request" when bytes of the client were read, "sync FILE" when that returned,
// "answer" when bytes for it began to leave, "closed" when the server had done
// with it, which comes last.
func traced(t *testing.T, file, client string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	call := regexp.MustCompile(`^(\d+) +(\w+)\(\d+<((?:->|[^>])*)>`)
	resumed := regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>`)
	good := regexp.MustCompile(`= \d+( \(.*\))?\s*$`)
	var events []string
	running := map[string]string{} // file by thread
	for line := range strings.Lines(string(data)) {
		m := call.FindStringSubmatch(line)
		if m != nil {
			running[m[1]] = m[3]
		} else if m = resumed.FindStringSubmatch(line); m == nil {
			continue
		}
		on, begins := running[m[1]], len(m) == 4
		socket := strings.HasPrefix(on, "TCP") && strings.HasSuffix(on, client+"]")
		done := good.MatchString(line)
		switch name := m[2]; {
		case name == "read" && socket && done && !strings.Contains(line, "= 0"):
			events = append(events, "request")
		case (name == "write" || name == "sendto") && socket && begins:
			events = append(events, "answer")
		case name == "close" && socket && begins:
			return append(events, "closed")
		case strings.HasSuffix(name, "sync") && done:
			events = append(events, "sync "+filepath.Base(on))
		}
	}
	return events
}

// between picks what happened from the end of the request to the first byte of
// its answer. The last bytes that leave are TLS's farewell; those before are the
// answer.
func between(events []string) []string {
	farewell := lastOf(events, "answer")
	request := lastOf(events[:max(lastOf(events[:max(farewell, 0)], "answer"), 0)], "request")
	if request < 0 {
		return nil
	}
	rest := events[request:]
	return rest[:slices.Index(rest, "answer")]
}

func lastOf(events []string, what string) int {
	for i := len(events) - 1; i >= 0; i-- {
		if events[i] == what {
			return i
		}
	}
	return -1
}

// TestSyncsComeBeforeAnswers watches the system calls of a server: the leaf, and
// for a change the record between its two leaves, are on the disk before the
// first byte of the answer leaves.
func TestSyncsComeBeforeAnswers(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal("strace is not installed: apt-get install strace")
	}
	r := processRig(t)
	file := filepath.Join(t.TempDir(), "trace")
	server := spawn(r, strace, "-f", "-yy", "-s", "0", "-o", file, "-e", "trace=fdatasync,fsync,read,write,sendto,close")
	defer server.stop()
	r.CreateKey("k", authority.AES256)
	app := r.Enroll("app1")
	r.Allow(`permit(principal, action, resource);`)
	watch := func(method, path string, body []byte, auth string) []string {
		t.Helper()
		c, client := r.Client(app.Identity()), "" // one connection for one request
		c.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil {
				client = conn.LocalAddr().String()
			}
			return conn, err
		}
		if status, out := r.Do(c, method, path, body, auth); status != 200 {
			t.Fatalf("%s: %d %s", path, status, out)
		}
		return between(closed(t, file, client))
	}
	for name, key := range map[string]string{"release": "k", "refusal": "absent"} {
		request, _ := r.Request(app, keyservertest.DataKey(key, "encrypt"), 50*time.Second)
		if events := watch("POST", "/v1/exchange", request, ""); !slices.Contains(events, "sync journal") {
			t.Errorf("before a %s: %q", name, events)
		}
	}
	if events := watch("POST", "/v1/use", []byte(`{"items":[{"op":"encrypt","key":"k","plaintext":"aGVsbG8="}]}`), ""); !slices.Contains(events, "sync journal") {
		t.Errorf("before the result of a use: %q", events)
	}
	if events := watch("GET", "/v1/health", nil, ""); slices.Contains(events, "sync journal") || len(events) == 0 {
		t.Errorf("before the answer to what leaves no leaf: %q", events)
	}
	entry, err := r.Replay().Entry(authority.KindKeyDisable, authority.KeyRef{ID: r.KeyOf("k").ID}, time.Now().Add(time.Hour), r.Admin)
	if err != nil {
		t.Fatal(err)
	}
	events := watch("POST", "/v1/admin/entries", entry, r.Authorization("POST", "/v1/admin/entries", entry))
	if !follow(events, "sync journal", "sync state.db", "sync journal") {
		t.Errorf("before a change is acknowledged: %q", events)
	}
}

// closed waits until the server has done with a client and strace has written
// all of it down: that comes a while after the client has its answer.
func closed(t *testing.T, file, client string) []string {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		if events := traced(t, file, client); len(events) > 0 && events[len(events)-1] == "closed" {
			return events
		}
	}
	t.Fatalf("the server does not close the connection of %s", client)
	return nil
}

// follow reports whether the steps occur in this order.
func follow(events []string, steps ...string) bool {
	for _, e := range events {
		if len(steps) > 0 && e == steps[0] {
			steps = steps[1:]
		}
	}
	return len(steps) == 0
}

// TestPowerLoss cuts the power of the disk that holds the audit log, at random
// points and with whatever was not synced lost or torn: every grant that left
// has its leaf in what is found afterwards. The store's file is bbolt's to
// protect (internal/store/bbolt); that it is synced before an answer leaves is
// TestSyncsComeBeforeAnswers.
func TestPowerLoss(t *testing.T) {
	disk := memFS{faultfs.New(3)}
	r := keyservertest.NewWith(t, keyservertest.Setup{Serve: func(o *keyserver.Options) { o.AuditFS = disk }})
	r.CreateKey("k", authority.AES256)
	app := r.Enroll("app1")
	r.Allow(`permit(principal, action, resource);`)
	p := newPromised()
	const cuts = 25
	for i := range cuts {
		left := rand.IntN(40)
		disk.SetFault(func(op faultfs.Op) error {
			if left--; left < 0 {
				return errors.New("the power is gone")
			}
			return nil
		})
		c := r.Client(app.Identity())
		for n := 1; p.try(r, app, c, n) == nil; n += 2 {
		}
		r.Stop()
		<-r.Ended
		disk = memFS{disk.Crash(uint64(i))}
		r.Start(r.Open())
		if err := auditHolds(r, p.grants); err != nil {
			t.Fatalf("cut %d: %v", i, err)
		}
	}
	if len(p.grants) < cuts {
		t.Errorf("only %d grants between %d cuts", len(p.grants), cuts)
	}
	t.Logf("%d cuts, %d grants", cuts, len(p.grants))
}

// auditHolds verifies the exported audit logs against grants that clients hold.
func auditHolds(r *keyservertest.Rig, grants []*wire.Grant) error {
	r.T.Helper()
	status, archive := r.AsAdmin("GET", "/v1/admin/audit/export", nil)
	if status != 200 {
		return fmt.Errorf("export: %d", status)
	}
	o := audit.VerifyOptions{Domain: r.Founded.Domain, Keys: map[wire.ServerID]ed25519.PublicKey{r.Founded.Server: r.ServerKey().(ed25519.PublicKey)}}
	for _, g := range grants {
		o.Receipts = append(o.Receipts, audit.Receipts(g)...)
	}
	if at, ok := r.Replay().Anchor(r.Founded.Server); ok {
		o.Anchors = append(o.Anchors, audit.Anchor{Server: r.Founded.Server, Checkpoint: at, Source: "authority log"})
	}
	report, err := audit.Verify(o, bytes.NewReader(archive))
	if err != nil {
		return err
	}
	if !report.OK() || len(report.Logs) != 1 {
		return fmt.Errorf("%d logs, faults %+v", len(report.Logs), report.Faults[:min(3, len(report.Faults))])
	}
	return nil
}
