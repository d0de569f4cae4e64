// SPDX-License-Identifier: Apache-2.0

package testkit

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"claviger/internal/audit"
	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/keyserver/api"
	"claviger/internal/policy"
	"claviger/internal/wire"
)

// Ask sends a request that an admin's key signed.
func (d *Domain) Ask(as crypto.Signer, m Message) Answer {
	d.tb.Helper()
	signer := authn.AdminSigner{Domain: d.Founded.Domain, TLS: d.Pin(), Key: as, Clock: d.o.Clock}
	auth, err := signer.Sign(m.Method, m.Path, m.Body)
	d.must(err)
	m.Authorization = auth
	return d.Send(nil, m)
}

// State replays and verifies the authority log as an admin does.
func (d *Domain) State() *authority.State {
	d.tb.Helper()
	var state *authority.State
	for from := uint64(1); ; from = state.Epoch.Position + 1 {
		answer := d.Ask(d.Admins[0], Message{Method: "GET", Path: "/v1/admin/records?from=" + strconv.FormatUint(from, 10)})
		if answer.Status != 200 {
			d.tb.Fatalf("records: %d %s", answer.Status, answer.Body)
		}
		var page []wire.Opened
		d.must(wire.Unmarshal(answer.Body, &page, 8<<20))
		if len(page) == 0 {
			return state
		}
		for _, o := range page {
			if state != nil {
				d.must(state.Fold(o.Link, o.Entry, nil))
				continue
			}
			var err error
			state, err = authority.Found(o.Link, o.Entry)
			d.must(err)
		}
	}
}

// Outcome is what a server says of a proposal.
type Outcome struct {
	Answer
	Applied bool
	Pending string // id of the body that waits, hexadecimal
}

// Offer signs a change with the given keys and sends it, as the first of them.
func (d *Domain) Offer(kind string, payload any, keys ...crypto.Signer) Outcome {
	d.tb.Helper()
	entry, err := d.State().Entry(kind, payload, d.o.Clock.Now().Add(time.Hour), keys...)
	d.must(err)
	return d.Post(entry, keys[0])
}

// Post sends a signed entry as an admin.
func (d *Domain) Post(entry []byte, as crypto.Signer) Outcome {
	d.tb.Helper()
	out := Outcome{Answer: d.Ask(as, Message{Method: "POST", Path: "/v1/admin/entries", Body: entry})}
	var said struct {
		Applied bool
		Pending struct{ ID string }
	}
	if out.Status == 200 {
		d.must(json.Unmarshal(out.Body, &said))
	}
	out.Applied, out.Pending = said.Applied, said.Pending.ID
	return out
}

// Propose makes a change that all admins sign, and others if given, and that has
// to be applied.
func (d *Domain) Propose(kind string, payload any, also ...crypto.Signer) {
	d.tb.Helper()
	var keys []crypto.Signer
	for _, k := range d.Admins {
		keys = append(keys, k)
	}
	keys = append(keys, also...)
	if out := d.Offer(kind, payload, keys...); !out.Applied {
		d.tb.Fatalf("%s: %d %s", kind, out.Status, out.Body)
	}
	if strings.HasPrefix(kind, "members.") {
		d.shown()
	}
}

// CreateKey makes a key with its first version.
func (d *Domain) CreateKey(name, algorithm string) *authority.Key {
	d.tb.Helper()
	p := authority.KeyCreate{
		Name: name, Algorithm: algorithm,
		Settings: authority.Settings{Lease: authority.DefaultLease, Staleness: authority.DefaultStaleness},
	}
	rand.Read(p.ID[:])
	rand.Read(p.Revocation[:])
	d.Propose(authority.KindKeyCreate, p)
	return d.Key(name)
}

// Allow permits a workload the use of a key.
func (d *Domain) Allow(who, key string, only ...string) {
	d.tb.Helper()
	var source []byte
	if have := d.State().Policy; have != nil {
		source = have.Source
	}
	next, _, err := policy.Allow(source, who, key, only)
	d.must(err)
	d.Propose(authority.KindPolicy, authority.Policy{Source: next})
}

// Destroy orders the destruction of a version (0: of all) at once.
func (d *Domain) Destroy(name string, version uint64) {
	d.tb.Helper()
	d.Propose(authority.KindKeyDestroy, authority.Destroy{ID: d.Key(name).ID, Number: version, Reason: "test"})
}

// Rotate makes a key's next version.
func (d *Domain) Rotate(name string) {
	d.tb.Helper()
	d.Propose(authority.KindKeyRotate, authority.KeyRef{ID: d.Key(name).ID, Reason: "test"})
}

// Leaves lists the audit log in order.
func (d *Domain) Leaves() []api.LeafInfo {
	d.tb.Helper()
	var all []api.LeafInfo
	for {
		path := "/v1/admin/audit?log=1&n=1000&from=" + strconv.Itoa(len(all))
		answer := d.Ask(d.Admins[0], Message{Method: "GET", Path: path})
		if answer.Status != 200 {
			d.tb.Fatalf("audit: %d %s", answer.Status, answer.Body)
		}
		var page struct{ Leaves []api.LeafInfo }
		d.must(json.Unmarshal(answer.Body, &page))
		all = append(all, page.Leaves...)
		if len(page.Leaves) < 1000 {
			return all
		}
	}
}

// Decisions counts the decisions of an action on a resource, by a workload's
// whole name.
func (d *Domain) Decisions(decision, caller, resource string) int {
	d.tb.Helper()
	n := 0
	for _, l := range d.Leaves() {
		if l.Kind == string(audit.Decision) && l.Decision == decision && l.Caller == caller && l.Resource == resource {
			n++
		}
	}
	return n
}

// Export is the audit archive.
func (d *Domain) Export() []byte {
	d.tb.Helper()
	answer := d.Ask(d.Admins[0], Message{Method: "GET", Path: "/v1/admin/audit/export"})
	if answer.Status != 200 {
		d.tb.Fatalf("export: %d %s", answer.Status, answer.Body)
	}
	return answer.Body
}

// Backup makes a backup.
func (d *Domain) Backup() []byte {
	d.tb.Helper()
	answer := d.Ask(d.Admins[0], Message{Method: "POST", Path: "/v1/admin/backup"})
	if answer.Status != 200 {
		d.tb.Fatalf("backup: %d %s", answer.Status, answer.Body)
	}
	return answer.Body
}

// Verify judges the audit archive offline, with the receipts of some profiles.
func (d *Domain) Verify(profiles ...string) audit.Report {
	d.tb.Helper()
	o := audit.VerifyOptions{Domain: d.Founded.Domain, Keys: map[wire.ServerID]ed25519.PublicKey{}}
	o.Keys[d.Founded.Server] = d.ServerKey().(ed25519.PublicKey)
	for _, dir := range profiles {
		for _, g := range d.Grants(dir) {
			if g.Server == d.Founded.Server {
				o.Receipts = append(o.Receipts, audit.Receipts(g)...)
			}
		}
	}
	report, err := audit.Verify(o, bytes.NewReader(d.Export()))
	d.must(err)
	return report
}

// Grants reads the receipts that a profile keeps.
func (d *Domain) Grants(dir string) []*wire.Grant {
	d.tb.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "receipts", "*.cbor"))
	d.must(err)
	var out []*wire.Grant
	for _, name := range names {
		data, err := os.ReadFile(name)
		d.must(err)
		g, err := wire.PeekGrant(data)
		d.must(err)
		out = append(out, g)
	}
	return out
}
