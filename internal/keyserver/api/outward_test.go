// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"claviger/internal/authority"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/keyservertest"
	"claviger/internal/keyserver/outward"
	"claviger/internal/transport"
	"claviger/internal/wire"
)

// atDirectory is a rig whose server stands at a directory, and a client's way to
// it.
func atDirectory(t *testing.T) (*keyservertest.Rig, *transport.Directory) {
	t.Helper()
	a, err := transport.ParseAddress(transport.Address{Kind: transport.KindDirectory, Path: filepath.ToSlash(t.TempDir())}.String())
	if err != nil {
		t.Fatal(err)
	}
	var way *transport.Directory
	mailbox := transport.NewMailbox()
	r := keyservertest.NewWith(t, keyservertest.Setup{
		Serve: func(o *keyserver.Options) { o.Mailbox, o.Reach = mailbox.ID(), []string{a.String()} },
		Carriers: func(domain wire.DomainID) []outward.Carrier {
			if way, err = transport.NewDirectory(a, domain, transport.Options{}); err != nil {
				t.Fatal(err)
			}
			return []outward.Carrier{way.As(mailbox)}
		},
	})
	return r, way
}

// token asks how clients reach the server.
func token(t *testing.T, r *keyservertest.Rig) []byte {
	t.Helper()
	var reach struct {
		Schema    int
		Addresses []string
		SendToken []byte `json:"send_token"`
	}
	status, body := r.AsAdmin("GET", "/v1/admin/reach", nil)
	if err := json.Unmarshal(body, &reach); err != nil || status != 200 || reach.Schema != 1 {
		t.Fatalf("reach: %d %s", status, body)
	}
	if len(reach.Addresses) != 1 || !strings.HasPrefix(reach.Addresses[0], "file:///") {
		t.Errorf("reach: %s", body)
	}
	return reach.SendToken
}

// send sends until the server listens.
func send(t *testing.T, way *transport.Directory, to transport.Peer, sealed []byte) ([]byte, error) {
	t.Helper()
	for {
		answer, err := way.Exchange(t.Context(), to, sealed)
		if e, ok := errors.AsType[*transport.Error](err); !ok || e.Code != "offline" {
			return answer, err
		}
	}
}

// TestWithoutAPort: a workload enrols and gets a key through files alone.
func TestWithoutAPort(t *testing.T) {
	r, way := atDirectory(t)
	r.CreateKey("payments/cards", authority.AES256)
	r.Allow(keyservertest.AllowApp1)
	to := transport.Peer{Mailbox: r.Desc.Mailbox, Token: token(t, r)}
	w := &keyservertest.Workload{ID: "spiffe://test/workload/app1"}
	w.Key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	invite := r.Invite("app1", time.Hour)
	sealed, hpke := r.Enrolment(invite, w.Key, invite.Seed, w.Key)
	answer, err := send(t, way, to, sealed)
	if err != nil {
		t.Fatal(err)
	}
	enrolled, err := wire.ParseEnrolled(r.Unseal(hpke, wire.TypeEnrolled, sealed, answer), r.ServerKey())
	if err != nil || enrolled.Reason != "" {
		t.Fatalf("%+v, %v", enrolled, err)
	}
	w.Chain = enrolled.Chain
	sealed, hpke = r.Request(w, keyservertest.DataKey("payments/cards", "encrypt"), 30*time.Second)
	answer, err = send(t, way, to, sealed)
	if err != nil {
		t.Fatal(err)
	}
	release, err := wire.ParseRelease(r.Unseal(hpke, wire.TypeRelease, sealed, answer))
	if err != nil || len(release.Keys) != 1 || len(release.Keys[0]) != 32 || !bytes.Equal(release.SendToken, to.Token) {
		t.Errorf("%+v, %v", release, err)
	}
	if again, err := send(t, way, to, sealed); err != nil || !bytes.Equal(again, answer) {
		t.Errorf("a repetition got another answer: %v", err)
	}
	introductions, err := way.Introductions(t.Context())
	if err != nil || len(introductions) != 1 {
		t.Fatalf("%d introductions, %v", len(introductions), err)
	}
	in, err := wire.ParseIntroduction(introductions[0])
	if err != nil || !bytes.Equal(in.Descriptor, r.Signed) {
		t.Errorf("another introduction than the API's: %v", err)
	}
	resp, err := http.Get("http://" + r.Metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	for _, line := range []string{`claviger_relay_connected{relay="1"} 1`, `claviger_relay_exchanges_total{code="200",relay="1"} 3`} {
		if !bytes.Contains(text, []byte(line)) {
			t.Errorf("no %s", line)
		}
	}
}

// TestTroubleThroughDirectory: the same words as at the API, for the same faults.
func TestTroubleThroughDirectory(t *testing.T) {
	r, way := atDirectory(t)
	to := transport.Peer{Mailbox: r.Desc.Mailbox, Token: token(t, r)}
	stranger, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	forged, _ := r.Enrolment(keyservertest.Ticket{Invite: authority.Invite{ID: wire.BodyID{1}}}, stranger, other, stranger)
	for name, c := range map[string]struct {
		sealed []byte
		path   string
		status int
	}{
		"no message":     {[]byte("no message"), "/v1/enroll", 400},
		"another's type": {r.Seal(wire.TypeStatement, []byte("x")), "/v1/enroll", 400},
		"forged":         {forged, "/v1/enroll", 401},
	} {
		_, err := send(t, way, to, c.sealed)
		status, body := r.Do(r.Client(nil), "POST", c.path, c.sealed, "")
		e, ok := errors.AsType[*transport.Error](err)
		if !ok || e.Status != c.status || status != c.status || !bytes.Contains(body, []byte(`"`+e.Code+`"`)) {
			t.Errorf("%s: %v through the directory, %d %s at the API", name, err, status, body)
		}
	}
	if _, err := send(t, way, transport.Peer{Mailbox: to.Mailbox, Token: []byte("wrong")}, forged); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("a wrong token: %v", err)
	}
}

// TestOutwardEnds: a sealed server is at no relay, and one that is opened again is.
func TestOutwardEnds(t *testing.T) {
	r, way := atDirectory(t)
	to := transport.Peer{Mailbox: r.Desc.Mailbox, Token: token(t, r)}
	listens := func() bool {
		_, err := way.Exchange(t.Context(), to, []byte("x"))
		e, ok := errors.AsType[*transport.Error](err)
		return ok && e.Code == "malformed"
	}
	for !listens() {
	}
	if err := r.Server.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if listens() {
		t.Error("a sealed server answers")
	}
	if err := r.Server.Unseal(t.Context(), r.Open()); err != nil {
		t.Fatal(err)
	}
	for !listens() {
	}
}

// TestStatementsReachDirectory: a revocation is told there at once.
func TestStatementsReachDirectory(t *testing.T) {
	r, way := atDirectory(t)
	r.CreateKey("payments/cards", authority.AES256)
	k := r.KeyOf("payments/cards")
	disabled := false
	for data, err := range way.Follow(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		s, err := wire.ParseStatement(data, r.ServerKey())
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Revoked) == 1 && s.Revoked[0] == k.Revocation {
			break
		}
		if !disabled {
			disabled = true
			r.Propose(authority.KindKeyDisable, authority.KeyRef{ID: k.ID})
		}
	}
}
