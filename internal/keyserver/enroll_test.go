// SPDX-License-Identifier: Apache-2.0

package keyserver_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"claviger/internal/audit"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/keyservertest"
	"claviger/internal/members"
	"claviger/internal/pki/pkitest"
	"claviger/internal/testkit/faultfs"
	"claviger/internal/wire"
)

// TestInviteWorksOnce: whoever comes first, and nobody else, whatever they send.
func TestInviteWorksOnce(t *testing.T) {
	m := clock.NewManual(time.Now())
	r := keyservertest.NewWith(t, keyservertest.Setup{Serve: func(o *keyserver.Options) { o.Clock = m }})
	inv := r.Invite("app1", time.Hour)
	stranger, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	for name, sealed := range map[string][]byte{
		"signed by another than the invite's key":  first(r.Enrolment(inv, stranger, other, stranger)),
		"a request for a key that did not sign it": first(r.Enrolment(inv, stranger, inv.Seed, other)),
		"no signature of the invite":               first(r.Enrolment(inv, stranger, stranger)),
		"an invite that nobody signed":             first(r.Enrolment(keyservertest.Ticket{Invite: authority.Invite{ID: wire.BodyID{1}}, Seed: inv.Seed}, stranger, inv.Seed, stranger)),
	} {
		if status, body := r.Do(r.Client(nil), "POST", "/v1/enroll", sealed, ""); status != 401 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	var issued, refused atomic.Int32
	var both sync.WaitGroup
	for range 4 {
		both.Go(func() {
			_, answer := r.EnrolWith(inv)
			switch {
			case answer != nil && answer.Reason == "" && len(answer.Chain) > 0:
				issued.Add(1)
			case answer != nil && strings.Contains(answer.Reason, "used") && len(answer.Chain) == 0:
				refused.Add(1)
			}
		})
	}
	both.Wait()
	if issued.Load() != 1 || refused.Load() != 3 {
		t.Errorf("%d certificates, %d refusals", issued.Load(), refused.Load())
	}
	// A retry of the same bytes gets the same answer, not another certificate.
	inv = r.Invite("app2", time.Hour)
	sealed, _ := r.Enrolment(inv, stranger, inv.Seed, stranger)
	_, one := r.Do(r.Client(nil), "POST", "/v1/enroll", sealed, "")
	if _, two := r.Do(r.Client(nil), "POST", "/v1/enroll", sealed, ""); !bytes.Equal(one, two) {
		t.Error("a retry got another answer")
	}
	late := r.Invite("app3", 10*time.Second)
	m.Advance(20 * time.Second)
	if _, answer := r.EnrolWith(late); answer != nil && answer.Reason == "" {
		t.Error("an invite that has expired still works")
	}
}

func first(sealed []byte, _ *wire.Key) []byte { return sealed }

// renew asks for a new certificate for a client, signed with a workload's key.
func renew(r *keyservertest.Rig, by *keyservertest.Workload, client string) (int, *wire.Enrolled) {
	r.T.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	csr, _ := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	hpke := wire.NewKey()
	req := wire.Renew{
		Type: wire.TypeRenew, Domain: r.Founded.Domain, Client: client, CSR: csr, HPKE: hpke.Public(),
		Descriptor: wire.DescriptorHash(r.Signed), NotAfter: time.Now().Add(30 * time.Second).UnixMilli(),
	}
	rand.Read(req.Nonce[:])
	msg, err := wire.SignChain(wire.TypeRenew, wire.Marshal(req), by.Chain, by.Key)
	if err == nil {
		msg, err = wire.AddSignature(msg, wire.TypeRenew, wire.MaxRequest, key)
	}
	if err != nil {
		r.T.Fatal(err)
	}
	sealed := r.Seal(wire.TypeRenew, msg)
	status, body := r.Do(r.Client(by.Identity()), "POST", "/v1/exchange", sealed, "")
	if status != 200 {
		return status, nil
	}
	answer, err := wire.ParseEnrolled(r.Unseal(hpke, wire.TypeEnrolled, sealed, body), r.ServerKey())
	if err != nil {
		r.T.Fatal(err)
	}
	return status, answer
}

// TestRenewal: one's own name, with one's own key, while not revoked.
func TestRenewal(t *testing.T) {
	r := keyservertest.New(t)
	r.CreateKey("k", authority.AES256)
	r.Allow(`permit(principal, action, resource);`)
	app1, app2 := r.Enroll("app1"), r.Enroll("app2")
	if _, answer := renew(r, app1, app1.ID); answer == nil || answer.Reason != "" || len(answer.Chain) == 0 || answer.Client != app1.ID {
		t.Errorf("a renewal: %+v", answer)
	}
	if status, answer := renew(r, app2, app1.ID); status != 401 {
		t.Errorf("a renewal by another client: %d %+v", status, answer)
	}
	r.Propose(authority.KindClientRevoke, authority.Subject{Client: app1.ID, Reason: "lost"})
	if _, answer := renew(r, app1, app1.ID); answer == nil || answer.Reason != "the client is revoked" || len(answer.Chain) != 0 {
		t.Errorf("a revoked client's renewal: %+v", answer)
	}
	before := r.Leaves("release")
	r.Want(app1, "k", 0, "encrypt", "the client is revoked")
	if after := r.Leaves("release"); after != before+1 {
		t.Errorf("the refusal left %d leaves", after-before)
	}
	if status, body := r.Do(r.Client(app1.Identity()), "GET", "/v1/keys", nil, ""); status != 403 {
		t.Errorf("a revoked client lists keys: %d %s", status, body)
	}
	r.Want(app2, "k", 0, "encrypt", "")
	r.Propose(authority.KindClientEnable, authority.Subject{Client: app1.ID})
	r.Want(app1, "k", 0, "encrypt", "")
}

// TestOutsideCA lets openssl's root, intermediate and leaf in, and keeps out what
// their revocation lists name, as soon as the list's file is replaced.
func TestOutsideCA(t *testing.T) {
	now := time.Now()
	caRoot := pkitest.NewRoot(t, pkitest.Spec{Name: "root", NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour)})
	inter := caRoot.CA(pkitest.Spec{Name: "inter", NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour)})
	leafOf := func(id string) *keyservertest.Workload {
		l := inter.Leaf(pkitest.Spec{ID: id, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}, inter)
		return &keyservertest.Workload{ID: id, Key: l.Key.(*ecdsa.PrivateKey), Chain: l.Chain}
	}
	good, bad := leafOf("spiffe://corp.example/workload/good"), (*keyservertest.Workload)(nil)
	badLeaf := inter.Leaf(pkitest.Spec{ID: "spiffe://corp.example/workload/bad", NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}, inter)
	bad = &keyservertest.Workload{ID: "spiffe://corp.example/workload/bad", Key: badLeaf.Key.(*ecdsa.PrivateKey), Chain: badLeaf.Chain}
	lists := func(from time.Time) []byte {
		var out []byte
		for _, ca := range []*pkitest.CA{caRoot, inter} {
			out = append(out, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: ca.CRLFrom(from, now.Add(time.Hour))})...)
		}
		return out
	}
	r := keyservertest.New(t)
	r.CreateKey("k", authority.AES256)
	embedded := r.Enroll("app1")
	r.Allow(`permit(principal, action, resource);`)
	anchors := members.Anchors{Anchors: slices.Concat(r.Replay().Members.Anchors, []members.Anchor{{
		Name: "corp", Prefix: "spiffe://corp.example/workload/", Roots: [][]byte{caRoot.Cert.Raw}, NeedCRL: true,
	}})}
	entry, err := r.Replay().Entry(members.KindAnchors, anchors, time.Now().Add(time.Hour), r.Admin)
	if err != nil {
		t.Fatal(err)
	}
	if status, body := r.AsAdmin("POST", "/v1/admin/entries", entry); status != 409 || !strings.Contains(string(body), "corp.crl") {
		t.Errorf("an anchor without its list: %d %s", status, body)
	}
	file := filepath.Join(r.Dir, "pki", "corp.crl")
	put := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(file+".new", data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	put(lists(now.Add(-30 * time.Minute)))
	r.Propose(members.KindAnchors, anchors)
	r.Introduce()
	r.Want(good, "k", 0, "encrypt", "")
	r.Want(bad, "k", 0, "encrypt", "")
	if _, answer := renew(r, good, good.ID); answer == nil || answer.Reason == "" || len(answer.Chain) != 0 {
		t.Errorf("the embedded CA renews an outside certificate: %+v", answer)
	}
	old, _ := os.ReadFile(file)
	inter.Revoke(badLeaf)
	put(lists(now.Add(-10 * time.Minute)))
	refused := func(w *keyservertest.Workload) int {
		sealed, _ := r.Request(w, keyservertest.DataKey("k", "encrypt"), 30*time.Second)
		status, _ := r.Do(r.Client(w.Identity()), "POST", "/v1/exchange", sealed, "")
		return status
	}
	if status := refused(bad); status != 401 {
		t.Errorf("a revoked certificate: %d", status)
	}
	r.Want(good, "k", 0, "encrypt", "")
	put(old)
	if status := refused(bad); status != 401 {
		t.Errorf("an older list brings a revoked certificate back: %d", status)
	}
	put([]byte("rubbish, longer than before"))
	r.Want(good, "k", 0, "encrypt", "") // the list before stands
	os.Remove(file)
	r.Restart()
	if status := refused(good); status != 401 {
		t.Errorf("without any list: %d", status)
	}
	r.Want(embedded, "k", 0, "encrypt", "") // others are not concerned
}

// memFS is faultfs as the audit log takes it.
type memFS struct{ *faultfs.FS }

func (m memFS) Open(name string, create bool) (audit.File, error) {
	f, err := m.FS.Open(name, create)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// TestNoAuditNoAnswer: when leaves can't be made durable nothing is answered,
// health says so, and a restart on a good disk goes on.
func TestNoAuditNoAnswer(t *testing.T) {
	for _, kind := range []faultfs.Kind{faultfs.Sync, faultfs.Write} {
		t.Run(string(kind), func(t *testing.T) {
			disk := memFS{faultfs.New(1)}
			r := keyservertest.NewWith(t, keyservertest.Setup{Serve: func(o *keyserver.Options) { o.AuditFS = disk }})
			r.CreateKey("k", authority.AES256)
			app := r.Enroll("app1")
			r.Allow(`permit(principal, action, resource);`)
			r.Want(app, "k", 0, "encrypt", "")
			request, _ := r.Request(app, keyservertest.DataKey("k", "encrypt"), 30*time.Second)
			inv := r.Invite("app2", time.Hour)
			key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			enrolment, _ := r.Enrolment(inv, key, inv.Seed, key)
			entry, _ := r.Replay().Entry(authority.KindRevokeAll, authority.Subject{}, time.Now().Add(time.Hour), r.Admin)
			before := r.Replay().Epoch
			r.Do(r.Client(nil), "GET", "/v1/statement", nil, "") // which is kept for a while
			disk.SetFault(func(op faultfs.Op) error {
				if op.Kind == kind {
					return &os.PathError{Op: string(kind), Path: op.Name, Err: syscall.ENOSPC}
				}
				return nil
			})
			c := r.Client(app.Identity())
			requests := []struct {
				method, path string
				body         []byte
			}{
				{"POST", "/v1/exchange", request}, {"POST", "/v1/enroll", enrolment}, {"GET", "/v1/keys", nil}, {"GET", "/v1/statement", nil},
				{"POST", "/v1/use", []byte(`{"items":[{"op":"encrypt","key":"k"}]}`)},
			}
			if kind == faultfs.Write {
				slices.Reverse(requests) // the first one meets the fault, the others a log that has stopped
			}
			for _, q := range requests {
				status, body := r.Do(c, q.method, q.path, q.body, "")
				if status != 503 || strings.Contains(string(body), "space") || strings.Contains(string(body), r.Dir) {
					t.Errorf("%s: %d %s", q.path, status, body)
				}
			}
			for _, path := range []string{"/v1/admin/records", "/v1/admin/status", "/v1/admin/audit"} {
				if status, body := r.AsAdmin("GET", path, nil); status != 503 {
					t.Errorf("%s: %d %s", path, status, body)
				}
			}
			if status, body := r.AsAdmin("POST", "/v1/admin/entries", entry); status != 503 {
				t.Errorf("entries: %d %s", status, body)
			}
			if status, body := r.Do(c, "GET", "/v1/health", nil, ""); status != 503 || !strings.Contains(string(body), "failing") {
				t.Errorf("health: %d %s", status, body)
			}
			disk.SetFault(nil)
			r.Stop()
			if err := <-r.Ended; err == nil {
				t.Error("the server ends as if its audit log were whole")
			}
			disk = memFS{disk.Crash(7)} // what a machine finds after that
			r.Start(r.Open())
			if after := r.Replay().Epoch; after.Position > before.Position+1 {
				t.Errorf("the log moved from %s to %s without an audit log", before, after)
			}
			r.Want(app, "k", 0, "encrypt", "")
		})
	}
}
