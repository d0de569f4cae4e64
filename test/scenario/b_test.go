// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"claviger/client"
	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/members"
	"claviger/internal/testkit"
	"claviger/internal/wire"
)

// permitAll lets every workload, of whatever CA, use every key.
const permitAll = `permit(principal, action, resource);`

// get asks for a key as somebody and returns the HTTP status: 200 for every
// answer that a proved caller gets.
func (w *world) get(raw *testkit.Raw) int {
	w.t.Helper()
	req, _ := raw.Request(testkit.DataItem(cards, "encrypt"))
	msg, err := wire.SignChain(wire.TypeRequest, wire.Marshal(*req), raw.Chain, raw.Key)
	if err != nil {
		return http.StatusBadRequest // no message carries that chain
	}
	// An honest carrier's connection: the message has to prove its sender itself.
	return w.Raw(w.app2.Dir).Exchange(w.Seal(wire.TypeRequest, msg)).Status
}

// Scenario 24: certificate chains that must not count.
func TestScenario24_BadChains(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	root := newCA(t, w.clock.Now(), nil, nil)
	w.Propose(members.KindAnchors, root.anchors(false))
	w.Propose(authority.KindPolicy, authority.Policy{Source: []byte(permitAll)})
	app := outsidePrefix + "app"
	inter := newCA(t, w.clock.Now(), root, nil)
	for name, good := range map[string]*testkit.Raw{
		"below the root":        root.leaf(w.Domain, app, nil),
		"below an intermediate": inter.leaf(w.Domain, app, nil, inter),
	} {
		if status := w.get(good); status != http.StatusOK {
			t.Fatalf("a good chain %s: %d", name, status)
		}
	}
	stranger := newCA(t, w.clock.Now(), nil, nil)
	twin := newCA(t, w.clock.Now(), nil, func(c *x509.Certificate) { c.Subject = root.cert.Subject; c.SubjectKeyId = root.cert.SubjectKeyId })
	noDepth := newCA(t, w.clock.Now(), root, func(c *x509.Certificate) { c.MaxPathLenZero = true })
	tooDeep := newCA(t, w.clock.Now(), noDepth, nil)
	narrow := newCA(t, w.clock.Now(), root, func(c *x509.Certificate) {
		c.PermittedDNSDomainsCritical, c.PermittedURIDomains = true, []string{"elsewhere"}
	})
	noCA := newCA(t, w.clock.Now(), root, func(c *x509.Certificate) { c.IsCA = false; c.KeyUsage = x509.KeyUsageDigitalSignature })
	loopA := newCA(t, w.clock.Now(), nil, func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "loop A"} })
	loopB := newCA(t, w.clock.Now(), loopA, func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "loop B"} })
	crossed := *loopA
	crossed.cert = loopB.sign(loopA.cert, loopA.key.Public())
	many := []*ca{inter}
	for range wire.MaxChain {
		many = append(many, newCA(t, w.clock.Now(), root, nil))
	}
	bad := map[string]*testkit.Raw{
		"of another root":                    stranger.leaf(w.Domain, app, nil, stranger),
		"of a root of the same name":         twin.leaf(w.Domain, app, nil, twin),
		"of an outside CA for our own names": root.leaf(w.Domain, appOne, nil),
		"expired":                            root.leaf(w.Domain, app, func(c *x509.Certificate) { c.NotAfter = w.clock.Now().Add(-time.Second) }),
		"not yet valid":                      root.leaf(w.Domain, app, func(c *x509.Certificate) { c.NotBefore = w.clock.Now().Add(time.Minute) }),
		"valid for too long":                 root.leaf(w.Domain, app, func(c *x509.Certificate) { c.NotAfter = w.clock.Now().Add(900 * time.Hour) }),
		"for servers":                        root.leaf(w.Domain, app, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }),
		"for nothing":                        root.leaf(w.Domain, app, func(c *x509.Certificate) { c.ExtKeyUsage = nil }),
		"without signing":                    root.leaf(w.Domain, app, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }),
		"a CA as a leaf":                     root.leaf(w.Domain, app, func(c *x509.Certificate) { c.IsCA = true; c.KeyUsage |= x509.KeyUsageCertSign }),
		"beyond a path length":               tooDeep.leaf(w.Domain, app, nil, tooDeep, noDepth),
		"outside a name constraint":          narrow.leaf(w.Domain, app, nil, narrow),
		"below what is no CA":                noCA.leaf(w.Domain, app, nil, noCA),
		"of CAs that sign each other":        crossed.leaf(w.Domain, app, nil, &crossed, loopB, loopA),
		"too long":                           inter.leaf(w.Domain, app, nil, many...),
		"with a key of somebody else":        w.As(&tls.Certificate{Certificate: root.leaf(w.Domain, app, nil).Chain, PrivateKey: stranger.key}, app),
	}
	within(t, 20*time.Second, func() {
		for name, raw := range bad {
			if status := w.get(raw); status == http.StatusOK {
				t.Errorf("a chain %s was taken", name)
			}
		}
	})
	for _, l := range w.Leaves() {
		if l.Decision == wire.DecisionAllowed && l.Caller == appOne && l.Action == "release" {
			t.Errorf("a release to %s was recorded: leaf %d", l.Caller, l.Index)
		}
	}
}

// Scenario 25: a revoked certificate with an old list, a list of somebody else, or
// none.
func TestScenario25_RevokedCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	root, other := newCA(t, w.clock.Now(), nil, nil), newCA(t, w.clock.Now(), nil, nil)
	w.unchanged(func() {
		if out := w.Offer(members.KindAnchors, root.anchors(true), w.Admins[0]); out.Applied {
			t.Error("an anchor that needs a revocation list was taken without one")
		}
	})
	w.writeCRL(root.crl(w.clock.Now()))
	w.Propose(members.KindAnchors, root.anchors(true))
	w.Propose(authority.KindPolicy, authority.Policy{Source: []byte(permitAll)})
	number := big.NewInt(4711)
	raw := root.leaf(w.Domain, outsidePrefix+"app", func(c *x509.Certificate) {
		c.SerialNumber, c.NotAfter = number, w.clock.Now().Add(100*time.Hour)
	})
	if status := w.get(raw); status != http.StatusOK {
		t.Fatalf("a certificate that nobody revoked: %d", status)
	}
	// The list ages: nothing counts until there is a new one.
	w.clock.Advance(25 * time.Hour)
	w.app2 = w.Enroll("app2")
	if status := w.get(raw); status == http.StatusOK {
		t.Error("a list of yesterday still counted")
	}
	old := root.crl(w.clock.Now(), big.NewInt(1))
	w.clock.Advance(time.Minute)
	for _, c := range []struct {
		name string
		list []byte
		want bool
	}{
		{"of another issuer", other.crl(w.clock.Now()), false},
		{"that names others", root.crl(w.clock.Now(), big.NewInt(1)), true},
		{"that names it", root.crl(w.clock.Now().Add(time.Second), number), false},
		{"from before that", old, false},
	} {
		w.writeCRL(c.list)
		w.clock.Advance(time.Minute) // no restart is needed
		if status := w.get(raw); (status == http.StatusOK) != c.want {
			t.Errorf("with a list %s: %d", c.name, status)
		}
	}
}

// Scenario 26: somebody between puts a key of their own into an enrolment.
func TestScenario26_SwappedCSR(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	line := w.Invite("app3")
	invite, err := wire.ParseInvite(line)
	if err != nil {
		t.Fatal(err)
	}
	// What the carrier knows: the invite's id at best, never its seed.
	_, guess, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	thief, victim := newKey(t), newKey(t)
	own, _, _ := w.Introduction()
	enrol := wire.Enroll{
		Type: wire.TypeEnroll, Domain: w.Founded.Domain, Invite: invite.ID, CSR: csr(t, victim), HPKE: wire.NewKey().Public(),
		Descriptor: wire.DescriptorHash(own), NotAfter: w.clock.Now().Add(30 * time.Second).UnixMilli(),
	}
	seed := ed25519.NewKeyFromSeed(invite.Seed)
	swapped := enrol
	swapped.CSR = csr(t, thief)
	honest, err := wire.Sign(wire.TypeEnroll, wire.Marshal(enrol), seed, victim)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(e wire.Enroll, a ed25519.PrivateKey, b *ecdsa.PrivateKey) []byte {
		out, err := wire.Sign(wire.TypeEnroll, wire.Marshal(e), a, b)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	w.unchanged(func() {
		for name, msg := range map[string][]byte{
			"signed by a stranger":               sign(swapped, guess, thief),
			"signed by the victim's key":         sign(swapped, seed, victim),
			"not signed by the certified key":    sign(enrol, seed, thief),
			"swapped under both signatures":      bytes.Replace(honest, enrol.CSR[len(enrol.CSR)-64:], swapped.CSR[len(swapped.CSR)-64:], 1),
			"with a one-time key of the thief's": bytes.Replace(honest, enrol.HPKE, wire.NewKey().Public(), 1),
		} {
			a := w.Send(nil, testkit.Message{Method: "POST", Path: "/v1/enroll", Body: w.Seal(wire.TypeEnroll, msg)})
			if a.Status == http.StatusOK {
				t.Errorf("an enrolment %s was answered", name)
			}
		}
	})
	// An answer that is meant for somebody else certifies nothing here.
	man := w.Man()
	var old testkit.Answer
	man.On("/v1/enroll", func(m testkit.Message, forward func(testkit.Message) testkit.Answer) testkit.Answer {
		old = forward(m)
		return testkit.Answer{}
	})
	opts := client.EnrollOptions{Clock: w.clock, Addresses: []string{man.Address}}
	if _, err := client.Enroll(t.Context(), filepath.Join(t.TempDir(), "x"), w.Invite("app4"), opts); !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("an answer that is held back: %v", err)
	}
	man.On("/v1/enroll", func(testkit.Message, func(testkit.Message) testkit.Answer) testkit.Answer { return old })
	dir := filepath.Join(t.TempDir(), "y")
	if _, err := client.Enroll(t.Context(), dir, line, opts); !errors.Is(err, client.ErrIntegrity) {
		t.Errorf("somebody else's answer: %v, want ErrIntegrity", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a profile was left behind: %v", err)
	}
	man.Do(testkit.Honest)
	if _, err := client.Enroll(t.Context(), dir, line, opts); err != nil {
		t.Errorf("the invite, not used yet: %v", err)
	}
	_, err = client.Enroll(t.Context(), filepath.Join(t.TempDir(), "z"), line, opts)
	if _, denied := errors.AsType[*client.DeniedError](err); !denied {
		t.Errorf("the invite, a second time: %v, want a denial", err)
	}
}

func csr(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// Scenario 27: a renewal signed with another certificate of the same CA.
func TestScenario27_RenewalByAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	victim, thief := w.Raw(w.app1.Dir), w.Raw(w.app2.Dir)
	fresh := newKey(t)
	own, _, _ := w.Introduction()
	renew := func(client string, chain [][]byte, signer *testkit.Raw) int {
		r := wire.Renew{
			Type: wire.TypeRenew, Domain: w.Founded.Domain, Client: client, CSR: csr(t, fresh), HPKE: wire.NewKey().Public(),
			Descriptor: wire.DescriptorHash(own), NotAfter: w.clock.Now().Add(30 * time.Second).UnixMilli(),
		}
		rand.Read(r.Nonce[:])
		msg, err := wire.SignChain(wire.TypeRenew, wire.Marshal(r), chain, signer.Key)
		if err == nil {
			msg, err = wire.AddSignature(msg, wire.TypeRenew, wire.MaxEnroll, fresh)
		}
		if err != nil {
			t.Fatal(err)
		}
		return thief.Exchange(w.Seal(wire.TypeRenew, msg)).Status
	}
	w.unchanged(func() {
		for name, status := range map[string]int{
			"the thief's certificate":                      renew(appOne, thief.Chain, thief),
			"the victim's certificate and the thief's key": renew(appOne, victim.Chain, thief),
			"the thief's certificate and the victim's key": renew(appOne, thief.Chain, victim),
		} {
			if status != http.StatusUnauthorized {
				t.Errorf("a renewal for the victim with %s: %d", name, status)
			}
		}
	})
	if status := renew(appTwo, thief.Chain, thief); status != http.StatusOK {
		t.Errorf("a renewal of one's own: %d", status)
	}
}

// Scenario 33: somebody puts a key server into the domain by themselves.
func TestScenario33_ServerBySelf(t *testing.T) {
	t.Parallel()
	w := worldWith(t, testkit.Options{Admins: 3, Threshold: 2})
	mole := w.Mole(false)
	join := joinOf(t, mole)
	w.unchanged(func() {
		if out := w.Offer(members.KindJoin, join, w.Admins[0], mole.Key); out.Applied {
			t.Error("one admin of two took a server in")
		}
		if out := w.Offer(members.KindJoin, join, mole.Key); out.Applied || out.Status == http.StatusOK {
			t.Errorf("a server took itself in: %d %s", out.Status, out.Body)
		}
	})
	// It shows the join to clients all the same, as a link of the chain.
	entry, err := w.State().Entry(members.KindJoin, join, w.clock.Now().Add(time.Hour), w.Admins[0], mole.Key)
	if err != nil {
		t.Fatal(err)
	}
	mole.Show(entry)
	w.refuses(w.Dial(w.app1, mole.Address), cards, client.ErrIntegrity)
	if mole.Asked() != 0 {
		t.Error("a server that nobody took in was asked for keys")
	}
	_, err = client.Enroll(t.Context(), filepath.Join(t.TempDir(), "x"), w.Invite("app5", mole.Address), client.EnrollOptions{Clock: w.clock})
	if !errors.Is(err, client.ErrIntegrity) {
		t.Errorf("a newcomer: %v, want ErrIntegrity", err)
	}
}

func joinOf(t *testing.T, m *testkit.Mole) members.Server {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(m.Key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return members.Server{Name: "mole", Key: der, EpochKey: wire.NewKey().Public()}
}

// Scenario 34: ceremonies and administration without being an admin.
func TestScenario34_UnauthenticatedCeremony(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	workload := w.Raw(w.app1.Dir)
	entry, err := w.State().Entry(authority.KindRevokeAll, authority.Subject{Reason: "attack"}, w.clock.Now().Add(time.Hour), w.Admins[0])
	if err != nil {
		t.Fatal(err)
	}
	routes := []testkit.Message{
		{Method: "GET", Path: "/v1/admin/records?from=1"}, {Method: "GET", Path: "/v1/admin/pending"}, {Method: "GET", Path: "/v1/admin/status"},
		{Method: "GET", Path: "/v1/admin/audit"}, {Method: "GET", Path: "/v1/admin/audit/export"}, {Method: "POST", Path: "/v1/admin/backup"},
		{Method: "POST", Path: "/v1/admin/entries", Body: entry}, // well signed, brought by nobody
	}
	stranger, err := authn.AdminSigner{Domain: w.Founded.Domain, TLS: w.Pin(), Key: w.Mole(false).Key, Clock: w.clock}.Sign("GET", "/v1/admin/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	w.unchanged(func() {
		for _, m := range routes {
			for name, a := range map[string]testkit.Answer{
				"nobody":             w.Send(nil, m),
				"a workload":         w.Send(workload.Identity, m),
				"a stranger's key":   w.Ask(workload.Key, m),
				"a copied signature": w.Send(nil, testkit.Message{Method: m.Method, Path: m.Path, Body: m.Body, Authorization: stranger}),
			} {
				if a.Status != http.StatusUnauthorized {
					t.Errorf("%s %s by %s: %d %.80s", m.Method, m.Path, name, a.Status, a.Body)
				}
			}
		}
		for _, path := range []string{"/seal", "/unseal", "/v1/seal", "/v1/unseal", "/v1/admin/unseal", "/v1/init", "/v1/rekey", "/status"} {
			if a := w.Send(workload.Identity, testkit.Message{Method: "POST", Path: path, Body: []byte(`{"passphrase":"YQ=="}`)}); a.Status != http.StatusNotFound {
				t.Errorf("%s on the network: %d", path, a.Status)
			}
		}
	})
	// A session key reads; it signs no change.
	session, permit, err := authn.NewSession(w.Founded.Domain, w.Admins[0], time.Hour, w.clock)
	if err != nil {
		t.Fatal(err)
	}
	signer := authn.AdminSigner{Domain: w.Founded.Domain, TLS: w.Pin(), Key: session, Session: permit, Clock: w.clock}
	for _, m := range routes[len(routes)-2:] {
		auth, err := signer.Sign(m.Method, m.Path, m.Body)
		if err != nil {
			t.Fatal(err)
		}
		m.Authorization = auth
		if a := w.Send(nil, m); a.Status != http.StatusUnauthorized && a.Status != http.StatusForbidden {
			t.Errorf("a session key on %s: %d %.80s", m.Path, a.Status, a.Body)
		}
	}
	// A crowd of strangers holds nobody up.
	var crowd sync.WaitGroup
	for range 4 {
		crowd.Go(func() {
			for range 50 {
				w.Send(nil, testkit.Message{Method: "POST", Path: "/v1/admin/entries", Body: bytes.Repeat([]byte{1}, 1000)})
			}
		})
	}
	within(t, 20*time.Second, func() {
		c := w.Dial(w.app1)
		w.opens(c, w.seal(c, cards), cards)
	})
	crowd.Wait()
}
