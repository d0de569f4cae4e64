// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/datadir"
	"claviger/internal/keyserver/keyservertest"
	"claviger/internal/members"
	"claviger/internal/wire"
)

// quorum is a rig whose recovery quorum are two people, and the key of somebody
// new.
type quorum struct {
	*keyservertest.Rig
	clock         *clock.Manual
	rex, rio, dan ed25519.PrivateKey
}

// recoveryWait is short enough for requests signed by the system's clock.
const recoveryWait = 30 * time.Second

func newQuorum(t *testing.T) *quorum {
	t.Helper()
	q := &quorum{clock: clock.NewManual(time.Now())}
	for _, key := range []*ed25519.PrivateKey{&q.rex, &q.rio, &q.dan} {
		_, *key, _ = ed25519.GenerateKey(rand.Reader)
	}
	q.Rig = keyservertest.NewWith(t, keyservertest.Setup{
		Init: func(o *datadir.InitOptions) {
			o.Recovery = members.Recovery{Keys: []members.Key{member("rex", q.rex), member("rio", q.rio)}, Threshold: 2, Wait: uint64(recoveryWait / time.Second)}
		},
		Serve: func(o *keyserver.Options) { o.Clock = q.clock },
	})
	return q
}

func member(name string, key ed25519.PrivateKey) members.Key {
	der, _ := x509.MarshalPKIXPublicKey(key.Public())
	return members.Key{Name: name, Public: der}
}

// as makes a request signed by a key.
func (q *quorum) as(key ed25519.PrivateKey, session []byte, method, path string, body []byte) (int, string) {
	q.T.Helper()
	auth, err := authn.AdminSigner{Domain: q.Founded.Domain, TLS: q.Desc.TLS, Key: key, Session: session, Clock: clock.System()}.Sign(method, path, body)
	if err != nil {
		q.T.Fatal(err)
	}
	status, out := q.Do(q.Client(nil), method, path, body, auth)
	return status, string(out)
}

// post brings a body, signed by some, with the credential of one.
func (q *quorum) post(by ed25519.PrivateKey, kind string, payload any, signers ...crypto.Signer) (int, string) {
	q.T.Helper()
	entry, err := q.Replay().Entry(kind, payload, time.Now().Add(time.Hour), signers...)
	if err != nil {
		q.T.Fatal(err)
	}
	return q.as(by, nil, "POST", "/v1/admin/entries", entry)
}

// pending are the bodies that a key is shown.
func (q *quorum) pending(by ed25519.PrivateKey) [][]byte {
	q.T.Helper()
	status, body := q.as(by, nil, "GET", "/v1/admin/pending", nil)
	var entries [][]byte
	if err := wire.Unmarshal([]byte(body), &entries, 8<<20); err != nil || status != 200 {
		q.T.Fatalf("pending: %d %s %v", status, body, err)
	}
	return entries
}

// TestRecovery replaces lost authority keys with nothing but the keys of the
// recovery quorum and of the new admin.
func TestRecovery(t *testing.T) {
	q := newQuorum(t)
	lost := q.Admin
	q.Admin = q.rex // who reads the log from here on
	keys := members.Keys{Keys: []members.Key{member("dan", q.dan)}, Threshold: 1}
	if status, body := q.post(q.rex, authority.KindRecoverBegin, keys, q.rex); status != 200 || !strings.Contains(body, `"applied":false`) {
		t.Fatalf("one of two announces: %d %s", status, body)
	}
	// The other one signs what waits.
	waiting := q.pending(q.rio)
	if len(waiting) != 1 {
		t.Fatalf("%d bodies wait", len(waiting))
	}
	both, err := wire.AddSignature(waiting[0], wire.TypeBody, wire.MaxBody, q.rio)
	if err != nil {
		t.Fatal(err)
	}
	if status, body := q.as(q.rio, nil, "POST", "/v1/admin/entries", both); status != 200 || !strings.Contains(body, `"applied":true`) {
		t.Fatalf("both announce: %d %s", status, body)
	}
	if _, body := q.as(lost, nil, "GET", "/v1/admin/status", nil); !strings.Contains(body, "the recovery quorum announced other authority keys") {
		t.Errorf("the status says nothing of the recovery: %s", body)
	}
	if status, body := q.post(q.rex, members.KindRecover, keys, q.rex, q.rio, q.dan); status != 200 || !strings.Contains(body, `"applied":false`) {
		t.Fatalf("before the waiting time is over: %d %s", status, body)
	}
	q.clock.Advance(recoveryWait + time.Second)
	if status, body := q.as(q.rio, nil, "POST", "/v1/admin/entries", q.pending(q.rio)[0]); status != 200 || !strings.Contains(body, `"applied":true`) {
		t.Fatalf("the recovery: %d %s", status, body)
	}
	if status, body := q.as(q.dan, nil, "GET", "/v1/admin/status", nil); status != 200 || !strings.Contains(body, `"dan"`) {
		t.Errorf("the new admin: %d %s", status, body)
	}
	if status, _ := q.as(lost, nil, "GET", "/v1/admin/records", nil); status != 401 {
		t.Errorf("the replaced key: %d", status)
	}
	// Both steps are alarms, and every look is in the audit log.
	q.Admin = q.dan
	if n := q.Leaves("recovery"); n != 2 {
		t.Errorf("%d alarms", n)
	}
	if status, body := q.AsAdmin("GET", "/v1/admin/audit?n=1000", nil); status != 200 || !bytes.Contains(body, []byte(`"caller":"recovery/rex"`)) {
		t.Errorf("what rex read is not in the audit log: %d", status)
	}
}

// TestRecoveryKeysDoNothingElse: at every route, at the choke point, and with
// every other kind of body.
func TestRecoveryKeysDoNothingElse(t *testing.T) {
	q := newQuorum(t)
	sessionKey, session, err := authn.NewSession(q.Founded.Domain, q.rex, time.Hour, clock.System())
	if err != nil {
		t.Fatal(err)
	}
	for name := range declared {
		method, path, _ := strings.Cut(name, " ")
		if declared[name] == "anyone" {
			continue
		}
		opens := declared[name] == "admin or recovery"
		if status, body := q.as(q.rex, nil, method, path, nil); (status != 401) != opens {
			t.Errorf("%s with a recovery key: %d %.200s", name, status, body)
		}
		if status, body := q.as(sessionKey, session, method, path, nil); (status != 401) != (opens && method == "GET") {
			t.Errorf("%s with a recovery key's session: %d %.200s", name, status, body)
		}
	}
	before := q.Replay().Epoch
	for kind, payload := range map[string]any{
		authority.KindRevokeAll: authority.Subject{}, authority.KindPolicy: authority.Policy{Source: []byte("permit(principal, action, resource);")},
		members.KindRecovery: members.Recovery{}, members.KindKeys: members.Keys{Keys: []members.Key{member("rex", q.rex)}, Threshold: 1},
	} {
		// Signed by those who might, brought by one who must not.
		if status, body := q.post(q.rex, kind, payload, q.Admin, q.rex, q.rio); status != 403 {
			t.Errorf("%s: %d %s", kind, status, body)
		}
	}
	if after := q.Replay().Epoch; after != before {
		t.Errorf("the log grew from %s to %s", before, after)
	}
	// What admins are about to decide is not theirs to see.
	two := members.Keys{Keys: []members.Key{member("ann", q.Admin), member("dan", q.dan)}, Threshold: 2}
	if status, body := q.post(q.Admin, members.KindKeys, two, q.Admin); status != 200 {
		t.Fatalf("a body that waits: %d %s", status, body)
	}
	if a, r := len(q.pending(q.Admin)), len(q.pending(q.rex)); a != 1 || r != 0 {
		t.Errorf("%d bodies wait for admins, %d for the recovery quorum", a, r)
	}
	q.atChokePoint(t)
}

// atChokePoint hands a genuine recovery caller to Do, as a careless door would.
func (q *quorum) atChokePoint(t *testing.T) {
	t.Helper()
	header, err := authn.AdminSigner{Domain: q.Founded.Domain, TLS: q.Desc.TLS, Key: q.rex, Clock: q.clock}.Sign("GET", "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, _, err := authn.ParseAuthorization(header)
	if err != nil {
		t.Fatal(err)
	}
	caller, err := authn.NewAdminVerifier(q.Founded.Domain, q.Desc.TLS, q.clock).Verify(
		q.Replay().Members, authn.RevokedFunc(func(string) bool { return false }), authn.AdminRequest{Signed: signed, Method: "GET", Target: "/"})
	if err != nil {
		t.Fatal(err)
	}
	err = q.Server.With(t.Context(), func(ctx context.Context, core *keyserver.Core) error {
		for _, op := range []keyserver.Op{
			&keyserver.ReadStatus{}, &keyserver.ReadAudit{}, &keyserver.ExportAudit{To: new(bytes.Buffer)}, &keyserver.MakeBackup{To: new(bytes.Buffer)},
			&keyserver.List{}, &keyserver.Use{Operation: "sign"}, &keyserver.Release{Request: &wire.Request{}}, &keyserver.Certify{Enroll: &wire.Enroll{}},
		} {
			if a, err := core.Do(ctx, caller, op); a != nil || !errors.Is(err, keyserver.ErrDenied) {
				t.Errorf("%T: %v, %v", op, a, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
