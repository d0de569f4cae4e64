// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"errors"
	"maps"
	"strings"
	"testing"

	"claviger/internal/wire"
)

// change is an edit of a sample, for refusals. Samples are made anew each time,
// so an edit may change what they point to.
func change[T any](edit func(*T)) func(sample) []byte {
	return func(s sample) []byte { return edited(sampleNamed(s.name), edit) }
}

// releaseRefusals lists, for messages of the log and of releases, what Parse
// refuses although it decodes.
func releaseRefusals() map[string]map[string]func(sample) []byte {
	body, record, opened := change[wire.Body], change[wire.Record], change[wire.Opened]
	release := change[wire.Release]
	request, grant := change[wire.Request], change[wire.Grant]
	long := strings.Repeat("x", wire.MaxReason+1)
	return map[string]map[string]func(sample) []byte{
		"body": {
			"type":                  body(func(b *wire.Body) { b.Type = "claviger/v2/body" }),
			"no kind":               body(func(b *wire.Body) { b.Kind = "" }),
			"long kind":             body(func(b *wire.Body) { b.Kind = strings.Repeat("k", 65) }),
			"no id":                 body(func(b *wire.Body) { b.ID = wire.BodyID{} }),
			"no expiry":             body(func(b *wire.Body) { b.Expires = 0 }),
			"expiry after the last": body(func(b *wire.Body) { b.Expires = wire.MaxTime + 1 }),
			"old expiry":            body(func(b *wire.Body) { b.Expires = -5 }),
		},
		"record": {
			"type":                record(func(r *wire.Record) { r.Link.Type = wire.TypeBody }),
			"no time":             record(func(r *wire.Record) { r.Link.Time = 0 }),
			"time after the last": record(func(r *wire.Record) { r.Link.Time = wire.MaxTime + 1 }),
			"no position":         record(func(r *wire.Record) { r.Link.Epoch.Position = 0 }),
			"no generation":       record(func(r *wire.Record) { r.Link.Epoch.Generation = 0 }),
		},
		"opened record": {
			"type":        opened(func(o *wire.Opened) { o.Link.Type = wire.TypeBody }),
			"no time":     opened(func(o *wire.Opened) { o.Link.Time = -1 }),
			"other entry": opened(func(o *wire.Opened) { o.Entry = []byte("entrY") }),
		},
		"request": {
			"type":                         request(func(r *wire.Request) { r.Type = wire.TypeRenew }),
			"client":                       request(func(r *wire.Request) { r.Client = "https://test" }),
			"HPKE key":                     request(func(r *wire.Request) { r.HPKE = r.HPKE[1:] }),
			"no items":                     request(func(r *wire.Request) { r.Items = nil }),
			"65 items":                     request(func(r *wire.Request) { r.Items = manyItems(65) }),
			"long statement":               request(func(r *wire.Request) { r.Statement = make([]byte, wire.MaxStatement+1) }),
			"long reason":                  request(func(r *wire.Request) { r.Reason = long }),
			"long evidence":                request(func(r *wire.Request) { r.Evidence = make([]byte, wire.MaxEvidence+1) }),
			"no end":                       request(func(r *wire.Request) { r.NotAfter = 0 }),
			"end after the last":           request(func(r *wire.Request) { r.NotAfter = wire.MaxTime + 1 }),
			"name and id":                  request(func(r *wire.Request) { r.Items[0].ID = make([]byte, 16) }),
			"standing, no end":             request(func(r *wire.Request) { r.Until = 0 }),
			"standing, end after the last": request(func(r *wire.Request) { r.Until = wire.MaxTime + 1 }),
			"end, not standing":            request(func(r *wire.Request) { r.Standing = nil }),
			"standing, no box":             request(func(r *wire.Request) { r.Mailbox = wire.Hash{} }),
			"17 standing":                  request(func(r *wire.Request) { r.Standing = manyKeys(wire.MaxStanding + 1) }),
			"short standing key":           request(func(r *wire.Request) { r.Standing[1] = r.Standing[1][1:] }),
			"standing key twice":           request(func(r *wire.Request) { r.Standing[1] = r.Standing[0] }),
			"standing is its key":          request(func(r *wire.Request) { r.Standing[1] = r.HPKE }),
			"neither":                      request(func(r *wire.Request) { r.Items[0].Name = "" }),
			"short id":                     request(func(r *wire.Request) { r.Items[0].Name, r.Items[0].ID = "", make([]byte, 15) }),
			"name":                         request(func(r *wire.Request) { r.Items[0].Name = "a//b" }),
			"purpose":                      request(func(r *wire.Request) { r.Items[0].Purpose = "seal" }),
			"long partition":               request(func(r *wire.Request) { r.Items[0].Partition = make([]byte, 257) }),
			"no operation":                 request(func(r *wire.Request) { r.Items[0].Operations = nil }),
			"nine operations":              request(func(r *wire.Request) { r.Items[0].Operations = strings.Split("abcdefghi", "") }),
			"operation twice":              request(func(r *wire.Request) { r.Items[0].Operations = []string{"encrypt", "encrypt"} }),
			"operation's name":             request(func(r *wire.Request) { r.Items[0].Operations = []string{"Encrypt"} }),
			"operation's size":             request(func(r *wire.Request) { r.Items[0].Operations = []string{strings.Repeat("e", 33)} }),
			"second item's bad":            request(func(r *wire.Request) { r.Items = append(r.Items, wire.Item{}) }),
		},
		"grant": {
			"type":                grant(func(g *wire.Grant) { g.Type = wire.TypeStatement }),
			"no time":             grant(func(g *wire.Grant) { g.Issued = 0 }),
			"time after the last": grant(func(g *wire.Grant) { g.Issued = wire.MaxTime + 1 }),
			"no items":            grant(func(g *wire.Grant) { g.Items = nil }),
			"65 items":            grant(func(g *wire.Grant) { g.Items = make([]wire.GrantItem, 65) }),
			"other decision":      grant(func(g *wire.Grant) { g.Items[0].Decision = "maybe" }),
			"allowed without":     grant(func(g *wire.Grant) { g.Items[0].KC = nil }),
			"allowed, short kc":   grant(func(g *wire.Grant) { g.Items[0].KC = g.Items[0].KC[1:] }),
			"allowed, a reason":   grant(func(g *wire.Grant) { g.Items[0].Reason = "because" }),
			"denied with kc":      grant(func(g *wire.Grant) { g.Items[1].KC = make([]byte, 32) }),
			"long reason":         grant(func(g *wire.Grant) { g.Items[1].Reason = long }),
			"nine revocations":    grant(func(g *wire.Grant) { g.Items[0].Revocation = make([]wire.RevocationID, 9) }),
		},
		"release": {
			"65 keys":    release(func(r *wire.Release) { r.Keys = make([][]byte, 65) }),
			"long token": release(func(r *wire.Release) { r.SendToken = make([]byte, 65) }),
		},
	}
}

// otherRefusals are refusals of what is signed or sealed by servers and admins.
func otherRefusals() map[string]map[string]func(sample) []byte {
	descriptor, statement := change[wire.Descriptor], change[wire.Statement]
	enroll, renew, enrolled := change[wire.Enroll], change[wire.Renew], change[wire.Enrolled]
	admin, session, invite := change[wire.AdminRequest], change[wire.AdminSession], change[wire.Invite]
	long := strings.Repeat("x", wire.MaxReason+1)
	return map[string]map[string]func(sample) []byte{
		"descriptor": {
			"type":                descriptor(func(d *wire.Descriptor) { d.Type = wire.TypeStatement }),
			"HPKE key":            descriptor(func(d *wire.Descriptor) { d.HPKE = d.HPKE[1:] }),
			"no time":             descriptor(func(d *wire.Descriptor) { d.Issued = 0 }),
			"time after the last": descriptor(func(d *wire.Descriptor) { d.Issued, d.NotAfter = wire.MaxTime+1, wire.MaxTime+1000 }),
			"no life":             descriptor(func(d *wire.Descriptor) { d.NotAfter = d.Issued }),
			"long life":           descriptor(func(d *wire.Descriptor) { d.NotAfter++ }),
			"overflow":            descriptor(func(d *wire.Descriptor) { d.NotAfter = -1 << 63 }),
		},
		"statement": {
			"type":                statement(func(s *wire.Statement) { s.Type = wire.TypeGrant }),
			"no time":             statement(func(s *wire.Statement) { s.Issued = 0 }),
			"time after the last": statement(func(s *wire.Statement) { s.Issued = wire.MaxTime + 1 }),
			"revoked":             statement(func(s *wire.Statement) { s.Revoked = make([]wire.RevocationID, wire.MaxRevocations+1) }),
		},
		"enrolment": {
			"type":               enroll(func(e *wire.Enroll) { e.Type = wire.TypeRenew }),
			"long CSR":           enroll(func(e *wire.Enroll) { e.CSR = make([]byte, wire.MaxCSR+1) }),
			"HPKE key":           enroll(func(e *wire.Enroll) { e.HPKE = nil }),
			"no end":             enroll(func(e *wire.Enroll) { e.NotAfter = 0 }),
			"end after the last": enroll(func(e *wire.Enroll) { e.NotAfter = wire.MaxTime + 1 }),
		},
		"renewal": {
			"type":               renew(func(r *wire.Renew) { r.Type = wire.TypeEnroll }),
			"client":             renew(func(r *wire.Renew) { r.Client = "web" }),
			"long CSR":           renew(func(r *wire.Renew) { r.CSR = make([]byte, wire.MaxCSR+1) }),
			"HPKE key":           renew(func(r *wire.Renew) { r.HPKE = nil }),
			"no end":             renew(func(r *wire.Renew) { r.NotAfter = 0 }),
			"end after the last": renew(func(r *wire.Renew) { r.NotAfter = wire.MaxTime + 1 }),
		},
		"enrolled": {
			"type":                enrolled(func(e *wire.Enrolled) { e.Type = wire.TypeEnroll }),
			"no time":             enrolled(func(e *wire.Enrolled) { e.Issued = 0 }),
			"time after the last": enrolled(func(e *wire.Enrolled) { e.Issued = wire.MaxTime + 1 }),
			"chain, reason":       enrolled(func(e *wire.Enrolled) { e.Reason = "no" }),
			"neither":             enrolled(func(e *wire.Enrolled) { e.Chain = nil }),
			"eleven in chain":     enrolled(func(e *wire.Enrolled) { e.Chain = make([][]byte, wire.MaxChain+1) }),
			"long reason":         enrolled(func(e *wire.Enrolled) { e.Chain, e.Reason = nil, long }),
		},
		"admin request": {
			"type":                admin(func(a *wire.AdminRequest) { a.Type = wire.TypeAdminSession }),
			"long method":         admin(func(a *wire.AdminRequest) { a.Method = "PROPFINDS" }),
			"long target":         admin(func(a *wire.AdminRequest) { a.Target = strings.Repeat("/", 2049) }),
			"no time":             admin(func(a *wire.AdminRequest) { a.Issued = 0 }),
			"time after the last": admin(func(a *wire.AdminRequest) { a.Issued = wire.MaxTime + 1 }),
		},
		"admin session": {
			"type":                session(func(a *wire.AdminSession) { a.Type = wire.TypeAdminRequest }),
			"key":                 session(func(a *wire.AdminSession) { a.Key = a.Key[1:] }),
			"no time":             session(func(a *wire.AdminSession) { a.Issued = 0 }),
			"time after the last": session(func(a *wire.AdminSession) { a.Issued, a.NotAfter = wire.MaxTime+1, wire.MaxTime+1000 }),
			"no life":             session(func(a *wire.AdminSession) { a.NotAfter = a.Issued }),
			"long life":           session(func(a *wire.AdminSession) { a.NotAfter++ }),
		},
		"invite": {
			"type":               invite(func(i *wire.Invite) { i.Type = wire.TypeEnroll }),
			"short seed":         invite(func(i *wire.Invite) { i.Seed = i.Seed[1:] }),
			"client":             invite(func(i *wire.Invite) { i.Client = "web" }),
			"17 addresses":       invite(func(i *wire.Invite) { i.Addresses = make([]string, 17) }),
			"no end":             invite(func(i *wire.Invite) { i.Expires = 0 }),
			"end after the last": invite(func(i *wire.Invite) { i.Expires = wire.MaxTime + 1 }),
		},
	}
}

// relayRefusals are refusals of what mailboxes and relays use.
func relayRefusals() map[string]map[string]func(sample) []byte {
	mailbox, ack, delivery := change[wire.MailboxRequest], change[wire.Ack], change[wire.Delivery]
	trouble := change[wire.Trouble]
	return map[string]map[string]func(sample) []byte{
		"mailbox request": {
			"type":                mailbox(func(m *wire.MailboxRequest) { m.Type = wire.TypeAdminRequest }),
			"short key":           mailbox(func(m *wire.MailboxRequest) { m.Mailbox = m.Mailbox[1:] }),
			"long audience":       mailbox(func(m *wire.MailboxRequest) { m.Audience = strings.Repeat("a", 513) }),
			"long method":         mailbox(func(m *wire.MailboxRequest) { m.Method = "PROPFINDS" }),
			"long target":         mailbox(func(m *wire.MailboxRequest) { m.Target = strings.Repeat("/", 2049) }),
			"no time":             mailbox(func(m *wire.MailboxRequest) { m.Issued = 0 }),
			"time after the last": mailbox(func(m *wire.MailboxRequest) { m.Issued = wire.MaxTime + 1 }),
		},
		"acknowledgement": {
			"type":                ack(func(a *wire.Ack) { a.Type = wire.TypeRequest }),
			"no key":              ack(func(a *wire.Ack) { a.Mailbox = nil }),
			"no time":             ack(func(a *wire.Ack) { a.At = 0 }),
			"time after the last": ack(func(a *wire.Ack) { a.At = wire.MaxTime + 1 }),
			"no end":              ack(func(a *wire.Ack) { a.NotAfter = 0 }),
			"end after the last":  ack(func(a *wire.Ack) { a.NotAfter = wire.MaxTime + 1 }),
		},
		"delivery": {
			"both":              delivery(func(d *wire.Delivery) { d.Number = 1 }),
			"neither":           delivery(func(d *wire.Delivery) { d.Correlation = nil }),
			"short correlation": delivery(func(d *wire.Delivery) { d.Correlation = d.Correlation[1:] }),
			"short and number":  delivery(func(d *wire.Delivery) { d.Correlation, d.Number = d.Correlation[1:], 1 }),
		},
		"trouble": {
			"type":         trouble(func(t *wire.Trouble) { t.Type = wire.TypeRelease }),
			"a success":    trouble(func(t *wire.Trouble) { t.Status = 399 }),
			"no status":    trouble(func(t *wire.Trouble) { t.Status = 600 }),
			"no code":      trouble(func(t *wire.Trouble) { t.Code = "" }),
			"long code":    trouble(func(t *wire.Trouble) { t.Code = strings.Repeat("c", 33) }),
			"long message": trouble(func(t *wire.Trouble) { t.Message = strings.Repeat("m", 257) }),
			"long wait":    trouble(func(t *wire.Trouble) { t.RetryAfter = wire.MaxRetryAfter + 1 }),
		},
	}
}

func manyKeys(n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = pattern(byte(i), wire.PublicKeySize)
	}
	return out
}

func refusals() map[string]map[string]func(sample) []byte {
	out := releaseRefusals()
	maps.Copy(out, otherRefusals())
	maps.Copy(out, relayRefusals())
	return out
}

func manyItems(n int) []wire.Item {
	out := make([]wire.Item, n)
	for i := range out {
		out[i] = wire.Item{Name: "a", Purpose: wire.PurposeData, Operations: []string{"encrypt"}}
	}
	return out
}

func TestParsersRefuse(t *testing.T) {
	all := refusals()
	for name, edits := range all {
		s := sampleNamed(name)
		for what, edit := range edits {
			if err := s.parse(edit(s)); !errors.Is(err, wire.ErrMalformed) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
	for _, s := range samples() {
		if s.parse != nil && all[s.name] == nil && s.name != "introduction" {
			t.Errorf("nothing that %s refuses is tested", s.name)
		}
	}
}

// TestOptionalParts reads what may be empty as empty.
func TestOptionalParts(t *testing.T) {
	ok := map[string][]byte{
		"request": edited(sampleNamed("request"), func(r *wire.Request) {
			r.Items, r.Statement, r.Evidence, r.Reason = []wire.Item{{ID: make([]byte, 16), Purpose: wire.PurposeSign, Operations: []string{"sign"}}}, nil, nil, ""
		}),
		"enrolled": edited(sampleNamed("enrolled"), func(e *wire.Enrolled) { e.Chain, e.Reason = nil, "the client is revoked" }),
		"invite":   edited(sampleNamed("invite"), func(i *wire.Invite) { i.Seed, i.SendToken, i.Addresses = nil, nil, nil }),
	}
	for name, data := range ok {
		if err := sampleNamed(name).parse(data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestInviteText(t *testing.T) {
	i := sampleNamed("invite").value.(*wire.Invite)
	text := i.Text()
	got, err := wire.ParseInvite("  " + text + "\n")
	if err != nil || !equal(got, i) {
		t.Fatalf("read back: %v", err)
	}
	for name, bad := range map[string]string{
		"cut":           text[:len(text)-2],
		"another start": "clv2_" + text[5:],
		"padded":        text + "=",
		"endless":       text + strings.Repeat("A", 8<<10),
		"empty":         "",
		"only a start":  "clv1_",
		"inner space":   text[:40] + " " + text[40:],
	} {
		_, err := wire.ParseInvite(bad)
		if !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		} else if len(bad) > 20 && strings.Contains(err.Error(), bad[10:20]) {
			t.Errorf("%s: the error repeats the secret", name)
		}
	}
}

// TestPeekChecksShape reads without a key, and refuses the same shapes.
func TestPeekChecksShape(t *testing.T) {
	key := fixedKey("somebody else")
	peeks := map[string]func([]byte) error{
		"grant": ignore(wire.PeekGrant), "descriptor": ignore(wire.PeekDescriptor),
		"statement": ignore(wire.PeekStatement), "enrolled": ignore(wire.PeekEnrolled),
	}
	for name, peek := range peeks {
		s := sampleNamed(name)
		msg, err := wire.Sign(s.typ, wire.Marshal(s.value), key)
		if err != nil {
			t.Fatal(err)
		}
		if err := peek(msg); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for what, edit := range refusals()[name] {
			msg, err := wire.Sign(s.typ, edit(s), key)
			if err != nil {
				t.Fatal(err)
			}
			if err := peek(msg); !errors.Is(err, wire.ErrMalformed) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		if err := peek([]byte("x")); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s, garbage: %v", name, err)
		}
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "payments/cards": true, "a.b_c-9": true, "...": true, strings.Repeat("a", 128): true,
		"": false, "/": false, "a/": false, "/a": false, "a//b": false, ".": false, "a/../b": false, "A": false, "ä": false,
		"a b": false, "a\x00": false, strings.Repeat("a", 129): false,
	} {
		if wire.ValidKeyName(name) != ok {
			t.Errorf("key name %q: want %t", name, ok)
		}
	}
	for id, ok := range map[string]bool{
		"spiffe://test/workload/web": true, "spiffe://a.b/workload/x/y": true,
		"spiffe://test/workload/": false, "spiffe://test/workload": false, "spiffe:///workload/x": false, "spiffe://t/x/workload/y": false,
		"spiffe://test/admin/web": false, "SPIFFE://test/workload/web": false, "spiffe://test/workload/web/": false, "web": false,
		"spiffe://test/workload/" + strings.Repeat("a", 256): false,
	} {
		if wire.ValidID(id) != ok {
			t.Errorf("id %q: want %t", id, ok)
		}
	}
	if wire.ValidPurpose("seal") || !wire.ValidPurpose(wire.PurposeWrap) {
		t.Error("purposes")
	}
}

func TestParseEpoch(t *testing.T) {
	at := wire.Epoch{Generation: 2, Position: 700}
	if got, err := wire.ParseEpoch(at.String()); err != nil || got != at {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"", "2", "2.", ".7", "2.7.1", "02.7", "2.+7", "2. 7", "2.-7", "2.18446744073709551616"} {
		if _, err := wire.ParseEpoch(text); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestEpochOrder(t *testing.T) {
	at := func(g, p uint64) wire.Epoch { return wire.Epoch{Generation: g, Position: p} }
	for _, test := range []struct {
		a, b wire.Epoch
		want int
	}{
		{at(1, 5), at(1, 5), 0}, {at(1, 5), at(1, 6), -1}, {at(1, 6), at(1, 5), 1}, {at(2, 1), at(1, 99), 1}, {at(1, 99), at(2, 1), -1},
	} {
		if got := test.a.Compare(test.b); got != test.want {
			t.Errorf("%s and %s: %d", test.a, test.b, got)
		}
	}
	if at(2, 700).String() != "2.700" {
		t.Error("text of an epoch")
	}
}

func TestSumIsInjective(t *testing.T) {
	seen := map[wire.Hash][]string{}
	zeros := strings.Repeat("\x00", 8)
	for _, parts := range [][]string{{}, {""}, {"", ""}, {"ab"}, {"a", "b"}, {"a", "", "b"}, {"b", "a"}, {"a" + zeros + "b"}, {zeros}} {
		var raw [][]byte
		for _, p := range parts {
			raw = append(raw, []byte(p))
		}
		h := wire.Sum("x", raw...)
		if other, twice := seen[h]; twice {
			t.Errorf("%q and %q have one hash", parts, other)
		}
		seen[h] = parts
	}
	if wire.Sum("a", []byte("b")) == wire.Sum("ab") || (wire.Hash{}).IsZero() != true || wire.Sum("a").IsZero() {
		t.Error("label and parts run together")
	}
}

// TestParseAsksForTheKey reads what a server signed with another server's key.
func TestParseAsksForTheKey(t *testing.T) {
	other := fixedKey("somebody else").Public()
	for name, parse := range map[string]func([]byte) error{
		"grant":         func(m []byte) error { _, err := wire.ParseGrant(m, other); return err },
		"descriptor":    func(m []byte) error { _, err := wire.ParseDescriptor(m, other); return err },
		"statement":     func(m []byte) error { _, err := wire.ParseStatement(m, other); return err },
		"enrolled":      func(m []byte) error { _, err := wire.ParseEnrolled(m, other); return err },
		"admin session": func(m []byte) error { _, err := wire.ParseAdminSession(m, other); return err },
	} {
		s := sampleNamed(name)
		msg, err := wire.Sign(s.typ, wire.Marshal(s.value), fixedKey("server"))
		if err != nil {
			t.Fatal(err)
		}
		if err := parse(msg); !errors.Is(err, wire.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
		if err := parse(msg[2:]); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s without its tag: %v", name, err)
		}
	}
}

func TestIDsAsText(t *testing.T) {
	for want, id := range map[string]interface{ String() string }{
		"0102" + strings.Repeat("00", 30): wire.DomainID{1, 2}, "0103" + strings.Repeat("00", 14): wire.KeyID{1, 3},
		"0104" + strings.Repeat("00", 14): wire.ServerID{1, 4}, "0105" + strings.Repeat("00", 14): wire.BodyID{1, 5},
		"0106" + strings.Repeat("00", 14): wire.RevocationID{1, 6}, "0107" + strings.Repeat("00", 30): wire.Hash{1, 7},
	} {
		if id.String() != want {
			t.Errorf("%T: %s, want %s", id, id, want)
		}
	}
}

// TestReleaseEncode holds the encoding of its own to the common one, without
// growth: what a buffer outgrows would keep keys.
func TestReleaseEncode(t *testing.T) {
	full := wire.Release{Grant: make([]byte, 100_000), SendToken: make([]byte, 64)}
	for range wire.MaxItems {
		full.Keys = append(full.Keys, bytes.Repeat([]byte{7}, 32))
	}
	for _, r := range []wire.Release{{}, full, *sampleNamed("release").value.(*wire.Release)} {
		out := r.Encode()
		if !bytes.Equal(out, wire.Marshal(r)) {
			t.Errorf("a release of %d keys encodes in another way", len(r.Keys))
		}
		if limit := len(r.Grant) + len(r.SendToken) + 64 + len(r.Keys)*(32+16); cap(out) > limit {
			t.Errorf("a release of %d keys: the buffer grew to %d bytes", len(r.Keys), cap(out))
		}
	}
}
