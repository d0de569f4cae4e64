// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/client"
	"claviger/internal/audit"
	"claviger/internal/authority"
	"claviger/internal/kdf"
	"claviger/internal/members"
	"claviger/internal/secret"
	"claviger/internal/testkit"
	"claviger/internal/wire"
)

// Scenario 1: the carrier puts its own HPKE key into a request.
func TestScenario01_SwappedRecipientKey(t *testing.T) { overEachWay(t, swappedRecipientKey) }

func swappedRecipientKey(t *testing.T, by way) {
	w := newWorldBy(t, by)
	raw := w.Raw(w.app1.Dir)
	req, _ := raw.Request(testkit.DataItem(cards, "encrypt"))
	signed := raw.Sign(req)
	// The signature covers the key: the same signature with another payload.
	thief := wire.NewKey()
	forged := bytes.Replace(signed, req.HPKE, thief.Public(), 1)
	if bytes.Equal(forged, signed) {
		t.Fatal("the key was not swapped")
	}
	w.unchanged(func() {
		if a := raw.Exchange(w.Seal(wire.TypeRequest, forged)); a.Status != http.StatusUnauthorized {
			t.Errorf("a request with a swapped key: %d %s", a.Status, a.Body)
		}
	})
	if n := w.Decisions(wire.DecisionAllowed, appOne, cards); n != 0 {
		t.Errorf("%d releases were recorded", n)
	}
	if a := raw.Exchange(w.Seal(wire.TypeRequest, signed)); a.Status != http.StatusOK {
		t.Errorf("the request as it was signed: %d %s", a.Status, a.Body)
	}
}

// Scenario 2: somebody signs the victim's request again, with a certificate of
// their own. Whoever is permitted, the grant names who signed.
func TestScenario02_ResignedByAnother(t *testing.T) { overEachWay(t, resignedByAnother) }

func resignedByAnother(t *testing.T, by way) {
	w := newWorldBy(t, by)
	other := w.Raw(w.app2.Dir)
	req, _ := w.Raw(w.app1.Dir).Request(testkit.DataItem(cards, "encrypt"))
	if a := other.Exchange(w.Seal(wire.TypeRequest, other.Sign(req))); a.Status != http.StatusUnauthorized {
		t.Errorf("a request that names another client than its certificate: %d %s", a.Status, a.Body)
	}
	// A server that takes it all the same names the other, and the victim refuses.
	mole := w.Mole(true)
	mole.Lie(func(f *testkit.Forgery) { f.Grant.Client = appTwo })
	w.refuses(w.Dial(w.app1, mole.Address), cards, client.ErrIntegrity)
}

// Scenario 3: a valid release, for another key.
func TestScenario03_AnotherKey(t *testing.T) { overEachWay(t, anotherKey) }

func anotherKey(t *testing.T, by way) {
	crossed(t, by, encryptWith(orders, client.EncryptOptions{}), encryptWith(cards, client.EncryptOptions{}))
	lied(t, by, map[string]func(*testkit.Forgery){
		"another name": func(f *testkit.Forgery) { f.Grant.Items[0].Name = orders },
		"no name":      func(f *testkit.Forgery) { f.Grant.Items[0].Name = "" },
		"two items": func(f *testkit.Forgery) {
			f.Grant.Items = append(f.Grant.Items, f.Grant.Items[0])
			f.Release.Keys = append(f.Release.Keys, bytes.Clone(f.Release.Keys[0]))
		},
	})
}

// Scenario 4: another version than the one asked for, or one that may only open.
func TestScenario04_AnotherVersion(t *testing.T) { overEachWay(t, anotherVersion) }

func anotherVersion(t *testing.T, by way) {
	w := newWorldBy(t, by)
	c := w.Dial(w.app1)
	first := w.seal(c, cards)
	w.Rotate(cards)
	mole := w.Mole(true)
	at := w.Dial(w.app1, mole.Address)
	mole.Lie(func(f *testkit.Forgery) { f.Grant.Items[0].State = wire.StateDeactivated })
	w.refuses(at, cards, client.ErrIntegrity)
	mole.Lie(func(f *testkit.Forgery) { f.Grant.Items[0].Version, f.Grant.Items[0].Name = 2, cards })
	w.closedTo(at, first, client.DecryptOptions{Keys: []string{cards}}, client.ErrIntegrity)
	// The honest server gives the old version for opening, and for nothing else.
	w.opens(w.Dial(w.app1), first, cards)
	raw := w.Raw(w.app1.Dir)
	item := testkit.DataItem(cards, "encrypt")
	item.Version = 1
	if g := w.ask(raw, item); w.Key(cards).Version(1).State != wire.StateActive && g.Items[0].Decision != wire.DecisionDenied {
		t.Errorf("version 1, which is %s, was released for sealing", w.Key(cards).Version(1).State)
	}
}

// Scenario 5: a release for another purpose or operation, or another partition.
func TestScenario05_AnotherPurpose(t *testing.T) { overEachWay(t, anotherPurpose) }

func anotherPurpose(t *testing.T, by way) {
	crossed(t, by, encryptWith(cards, client.EncryptOptions{Partition: []byte("tenant-1")}),
		encryptWith(cards, client.EncryptOptions{Partition: []byte("tenant-2")}))
	lied(t, by, map[string]func(*testkit.Forgery){
		"wrap for data":       func(f *testkit.Forgery) { f.Grant.Items[0].Purpose = wire.PurposeWrap },
		"decrypt for encrypt": func(f *testkit.Forgery) { f.Grant.Items[0].Operations = []string{"decrypt"} },
		"one more operation":  func(f *testkit.Forgery) { f.Grant.Items[0].Operations = []string{"encrypt", "decrypt"} },
		"another partition":   func(f *testkit.Forgery) { f.Grant.Items[0].Partition = []byte("tenant-2") },
	})
	// The server derives another key for each purpose, so a mix-up opens nothing.
	w := newWorldBy(t, by)
	raw := w.Raw(w.app1.Dir)
	_, data := w.release(raw, testkit.DataItem(cards, "encrypt"))
	_, wrap := w.release(raw, wire.Item{Name: cards, Purpose: wire.PurposeWrap, Operations: []string{"wrap"}})
	if len(data.Keys[0]) != kdf.KeySize || bytes.Equal(data.Keys[0], wrap.Keys[0]) {
		t.Error("data and wrap have the same key, or none")
	}
}

// Scenario 6: the same name in another domain.
func TestScenario06_AnotherDomain(t *testing.T) { overEachWay(t, anotherDomain) }

func anotherDomain(t *testing.T, by way) {
	ours, theirs := newWorldBy(t, by), newWorldBy(t, by)
	// Everything of the other domain is well signed, for another domain.
	ours.refuses(ours.Dial(ours.app1, theirs.Address), cards, client.ErrIntegrity)
	if n := len(theirs.Leaves()); theirs.Decisions(wire.DecisionAllowed, appOne, cards) != 0 || n == 0 {
		t.Error("the other domain's server was asked for a key")
	}
	lied(t, by, map[string]func(*testkit.Forgery){
		"another domain": func(f *testkit.Forgery) { f.Grant.Domain[0] ^= 1 },
	})
	_, a := ours.release(ours.Raw(ours.app1.Dir), testkit.DataItem(cards, "encrypt"))
	_, b := theirs.release(theirs.Raw(theirs.app1.Dir), testkit.DataItem(cards, "encrypt"))
	if bytes.Equal(a.Keys[0], b.Keys[0]) {
		t.Error("two domains have one key")
	}
	foreign := theirs.seal(theirs.Dial(theirs.app1), cards)
	ours.closedTo(ours.Dial(ours.app1), foreign, client.DecryptOptions{Keys: []string{cards}}, client.ErrUnexpectedKey)
}

// Scenario 7: a release for one client is given to another.
func TestScenario07_AnotherClient(t *testing.T) { overEachWay(t, anotherClient) }

func anotherClient(t *testing.T, by way) {
	w := newWorldBy(t, by)
	w.Allow("app2", cards)
	man := w.carrier()
	var old testkit.Answer
	man.exchanges(func(m testkit.Message, forward func(testkit.Message) testkit.Answer) testkit.Answer {
		old = forward(m)
		return old
	})
	w.seal(w.Dial(w.app1, man.at()), cards)
	man.exchanges(func(testkit.Message, func(testkit.Message) testkit.Answer) testkit.Answer { return old })
	foreign := w.failure(w.Dial(w.app2, man.at()))
	old.Body = bytes.Clone(old.Body)
	old.Body[len(old.Body)-1] ^= 1
	damaged := w.failure(w.Dial(w.app2, man.at()))
	if !errors.Is(foreign, client.ErrIntegrity) || foreign.Error() != damaged.Error() {
		t.Errorf("the error tells somebody else's release from a damaged one:\n%v\n%v", foreign, damaged)
	}
}

// Scenario 8: a release signed by somebody who is no key server: with a key of
// their own, or with a workload's certificate of the same CA.
func TestScenario08_SignedByNoServer(t *testing.T) { overEachWay(t, signedByNoServer) }

func signedByNoServer(t *testing.T, by way) {
	w := newWorldBy(t, by)
	unjoined := w.Mole(false)
	w.refuses(w.Dial(w.app1, unjoined.Address), cards, client.ErrIntegrity)
	if unjoined.Asked() != 0 {
		t.Error("a server without a join entry was asked for keys")
	}
	workload := w.Raw(w.app2.Dir).Key
	lied(t, by, map[string]func(*testkit.Forgery){
		"a stranger's key":             func(f *testkit.Forgery) { f.Signers = []crypto.Signer{unjoined.Key} },
		"a workload's certificate key": func(f *testkit.Forgery) { f.Signers = []crypto.Signer{workload} },
		"named as somebody else":       func(f *testkit.Forgery) { f.Grant.Server, f.Signers = unjoined.ID, []crypto.Signer{unjoined.Key} },
	})
}

// Scenario 9: a release of a server that was taken out of service.
func TestScenario09_SignedByFormerServer(t *testing.T) { overEachWay(t, signedByFormerServer) }

func signedByFormerServer(t *testing.T, by way) {
	w := newWorldBy(t, by)
	mole := w.Mole(true)
	c := w.Dial(w.app1, mole.Address)
	w.seal(c, cards)
	w.Propose(members.KindFence, members.Fence{Server: mole.ID, Reason: "retired"})
	w.seal(w.Dial(w.app1), cards) // learns of it
	w.refuses(w.Dial(w.app1, mole.Address), cards, client.ErrRollback)
	mole.Learn() // it shows the chain that fences it
	w.refuses(w.Dial(w.app1, mole.Address), cards, client.ErrIntegrity)
}

// Scenario 10: two keys under one name, seen by comparing what was signed.
func TestScenario10_TwoKeysOneName(t *testing.T) { overEachWay(t, twoKeysOneName) }

func twoKeysOneName(t *testing.T, by way) {
	// The key must be the one that was signed for.
	lied(t, by, map[string]func(*testkit.Forgery){
		"another key than committed": func(f *testkit.Forgery) { f.Release.Keys[0][0] ^= 1 },
		"another commitment":         func(f *testkit.Forgery) { f.Grant.Items[0].KC[0] ^= 1 },
		"no key":                     func(f *testkit.Forgery) { f.Release.Keys[0] = nil },
	})
	// What a server signed for a client is held against what it recorded.
	w := newWorldBy(t, by)
	w.seal(w.Dial(w.app1), cards)
	if r := w.Verify(w.app1.Dir); !r.OK() {
		t.Fatalf("an honest log: %+v", r.Faults)
	}
	honest := w.Grants(w.app1.Dir)[0]
	lie := *honest
	lie.Items = slices.Clone(honest.Items)
	lie.Items[0].KC = bytes.Repeat([]byte{9}, 32)
	keys := map[wire.ServerID]ed25519.PublicKey{w.Founded.Server: w.ServerKey().(ed25519.PublicKey)}
	faults := verify(t, audit.VerifyOptions{Domain: w.Founded.Domain, Keys: keys, Receipts: audit.Receipts(&lie)}, w.Export())
	if !slices.Contains(faults, audit.Contradicted) {
		t.Errorf("a receipt with another key than the leaf's: %v", faults)
	}
	// A server that records both of the keys it gave out under one name.
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := wire.ServerIDOf(key.Public())
	log, err := audit.Open(audit.Options{Dir: t.TempDir(), Domain: w.Founded.Domain, Server: id, Signer: key, Clock: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	for _, kc := range []wire.Hash{{1}, {2}} {
		leaf := audit.Leaf{
			Kind: audit.Decision, Caller: appOne, Action: "release", Operations: []string{"encrypt"}, Resource: cards, Epoch: honest.Epoch,
			KeyID: honest.Items[0].KeyID, Version: 1, Purpose: wire.PurposeData, Route: "native", Decision: wire.DecisionAllowed, KC: kc,
		}
		_, ticket, err := log.Enter(leaf)
		if err != nil {
			t.Fatal(err)
		}
		if err := ticket.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var archive bytes.Buffer
	if err := errors.Join(log.Export(&archive), log.Close()); err != nil {
		t.Fatal(err)
	}
	keys = map[wire.ServerID]ed25519.PublicKey{id: key.Public().(ed25519.PublicKey)}
	if f := verify(t, audit.VerifyOptions{Domain: w.Founded.Domain, Keys: keys}, archive.Bytes()); !slices.Contains(f, audit.TwoKeys) {
		t.Errorf("two commitments under one name: %v", f)
	}
}

// Scenario 11: a certified client that no policy permits anything.
func TestScenario11_NoGrant(t *testing.T) { overEachWay(t, noGrant) }

func noGrant(t *testing.T, by way) {
	w := newWorldBy(t, by)
	w.denied(w.Dial(w.app2), cards, "no policy allows it")
	if n := w.Decisions(wire.DecisionDenied, appTwo, cards); n != 1 {
		t.Errorf("%d denials were recorded, want 1", n)
	}
	if g, r := w.release(w.Raw(w.app2.Dir), testkit.DataItem(cards, "encrypt")); g.Items[0].Decision != wire.DecisionDenied || len(r.Keys[0]) != 0 {
		t.Errorf("the release: %+v, a key of %d bytes", g.Items[0], len(r.Keys[0]))
	}
}

// Scenario 12: the victim's request with another certificate stapled.
func TestScenario12_StapledCertificate(t *testing.T) { overEachWay(t, stapledCertificate) }

func stapledCertificate(t *testing.T, by way) {
	w := newWorldBy(t, by)
	victim, thief := w.Raw(w.app1.Dir), w.Raw(w.app2.Dir)
	again := w.Raw(w.Enroll("app1").Dir) // the same name, a newer key
	for name, c := range map[string]struct {
		chain [][]byte
		key   crypto.Signer
	}{
		"signed by a thief under the victim's certificate":  {victim.Chain, thief.Key},
		"signed by the victim under a thief's certificate":  {thief.Chain, victim.Key},
		"signed by the victim under a newer certificate":    {again.Chain, victim.Key},
		"signed by a newer key under the old certificate":   {victim.Chain, again.Key},
		"signed by a thief with the victim as intermediate": {[][]byte{thief.Chain[0], victim.Chain[0]}, thief.Key},
	} {
		req, _ := victim.Request(testkit.DataItem(cards, "encrypt"))
		signed, err := wire.SignChain(wire.TypeRequest, wire.Marshal(*req), c.chain, c.key)
		if err != nil {
			t.Fatal(err)
		}
		if a := thief.Exchange(w.Seal(wire.TypeRequest, signed)); a.Status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	if n := w.Decisions(wire.DecisionAllowed, appOne, cards); n != 0 {
		t.Errorf("%d releases were recorded", n)
	}
}

// Scenario 13: an old release is shown again after revocation.
func TestScenario13_OldReleaseAfterRevocation(t *testing.T) {
	overEachWay(t, oldReleaseAfterRevocation)
}

func oldReleaseAfterRevocation(t *testing.T, by way) {
	w := newWorldBy(t, by)
	man := w.carrier()
	var old testkit.Answer
	man.exchanges(func(m testkit.Message, forward func(testkit.Message) testkit.Answer) testkit.Answer {
		old = forward(m)
		return old
	})
	c := w.Dial(w.app1, man.at())
	w.seal(c, cards)
	w.Propose(authority.KindClientRevoke, authority.Subject{Client: appOne, Reason: "stolen"})
	w.clock.Advance(2 * time.Hour)
	man.exchanges(func(testkit.Message, func(testkit.Message) testkit.Answer) testkit.Answer { return old })
	w.refuses(c, cards, client.ErrIntegrity)
	w.refuses(w.Dial(w.app1, man.at()), cards, client.ErrIntegrity)
	man.honest()
	w.refuses(c, cards, client.ErrRevoked)
}

// Scenario 14: one request, sent many times: one decision, the same bytes.
func TestScenario14_Replayed(t *testing.T) { overEachWay(t, replayed) }

func replayed(t *testing.T, by way) {
	w := newWorldBy(t, by)
	raw := w.Raw(w.app1.Dir)
	req, _ := raw.Request(testkit.DataItem(cards, "encrypt"))
	sealed := w.Seal(wire.TypeRequest, raw.Sign(req))
	first := raw.Exchange(sealed)
	if first.Status != http.StatusOK {
		t.Fatalf("exchange: %d %s", first.Status, first.Body)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 25 {
				if a := raw.Exchange(sealed); a.Status != http.StatusOK || !bytes.Equal(a.Body, first.Body) {
					t.Errorf("a replay: %d, %d bytes", a.Status, len(a.Body))
					return
				}
			}
		})
	}
	all.Wait()
	if n := w.Decisions(wire.DecisionAllowed, appOne, cards); n != 1 {
		t.Errorf("%d releases were recorded for one request", n)
	}
	w.Rotate(cards)
	if a := raw.Exchange(sealed); a.Status != http.StatusConflict {
		t.Errorf("a replay after the log moved: %d %s", a.Status, a.Body)
	}
	w.clock.Advance(2 * time.Minute)
	if a := raw.Exchange(sealed); a.Status == http.StatusOK {
		t.Error("a request was answered after its not-after")
	}
}

// Scenario 15: the answers to two questions of one client, crossed.
func TestScenario15_CrossedAnswers(t *testing.T) { overEachWay(t, crossedAnswers) }

func crossedAnswers(t *testing.T, by way) {
	w := newWorldBy(t, by)
	man := w.carrier()
	var mu sync.Mutex
	var held []chan testkit.Answer
	man.exchanges(func(m testkit.Message, forward func(testkit.Message) testkit.Answer) testkit.Answer {
		own, mine := forward(m), make(chan testkit.Answer, 1)
		mu.Lock()
		held = append(held, mine)
		if len(held) == 1 {
			mu.Unlock()
			theirs := <-mine
			return theirs
		}
		first := held[0]
		mu.Unlock()
		first <- own
		return testkit.Answer{Status: http.StatusBadGateway}
	})
	c := w.Dial(w.app1, man.at())
	var all sync.WaitGroup
	errs := make([]error, 2)
	for i, key := range []string{cards, orders} {
		all.Go(func() { _, errs[i] = c.Encrypt(t.Context(), key, plaintext, client.EncryptOptions{}) })
	}
	all.Wait()
	integrity := 0
	for _, err := range errs {
		if err == nil {
			t.Error("a crossed answer was taken")
		}
		if errors.Is(err, client.ErrIntegrity) {
			integrity++
		}
	}
	if integrity != 1 {
		t.Errorf("%v; want one ErrIntegrity", errs)
	}
	man.honest() // nothing has stuck
	w.opens(c, w.seal(c, cards), cards)
	w.opens(c, w.seal(c, orders), orders)
}

// Scenario 16: a release is held back until it is of no use.
func TestScenario16_DelayedRelease(t *testing.T) { overEachWay(t, delayedRelease) }

func delayedRelease(t *testing.T, by way) {
	w := newWorldBy(t, by)
	man := w.carrier()
	man.exchanges(func(m testkit.Message, forward func(testkit.Message) testkit.Answer) testkit.Answer {
		a := forward(m)
		w.clock.Advance(2 * time.Hour)
		return a
	})
	c := w.Dial(w.app1, man.at())
	w.refuses(c, cards, client.ErrStale)
	man.honest()
	w.seal(c, cards)
	// The request, held back: the server refuses it.
	raw := w.Raw(w.app1.Dir)
	req, _ := raw.Request(testkit.DataItem(cards, "encrypt"))
	sealed := w.Seal(wire.TypeRequest, raw.Sign(req))
	w.clock.Advance(time.Minute)
	if a := raw.Exchange(sealed); a.Status != http.StatusUnauthorized {
		t.Errorf("a request that has ended: %d %s", a.Status, a.Body)
	}
}

// Scenario 17: a release of the time before a rotation.
func TestScenario17_FrozenEpoch(t *testing.T) { overEachWay(t, frozenEpoch) }

func frozenEpoch(t *testing.T, by way) {
	w := newWorldBy(t, by)
	mole := w.Mole(true) // stays at this epoch
	w.seal(w.Dial(w.app1, mole.Address), cards)
	w.Rotate(cards)
	c := w.Dial(w.app1)
	w.seal(c, cards) // has seen the rotation
	w.refuses(w.Dial(w.app1, mole.Address), cards, client.ErrRollback)
	mole.Learn()
	w.seal(w.Dial(w.app1, mole.Address), cards)
}

// Scenario 18: a denial is made an approval, or the reverse, or invented unsigned.
func TestScenario18_FlippedDecision(t *testing.T) { overEachWay(t, flippedDecision) }

func flippedDecision(t *testing.T, by way) {
	w := newWorldBy(t, by)
	man := w.carrier()
	c := w.Dial(w.app1, man.at())
	kept := w.seal(c, cards)
	w.opens(c, kept, cards)
	for _, status := range []int{400, 401, 403, 404, 409, 429, 500, 503} {
		man.everything(func(testkit.Message, func(testkit.Message) testkit.Answer) testkit.Answer {
			return testkit.Answer{Status: status, Body: []byte(`{"error":{"code":"denied","message":"the client is revoked"}}`)}
		})
		_, err := c.Encrypt(t.Context(), orders, plaintext, client.EncryptOptions{})
		if _, told := errors.AsType[*client.DeniedError](err); told || !errors.Is(err, client.ErrUnavailable) || errors.Is(err, client.ErrRevoked) {
			t.Errorf("an unsigned %d: %v, want ErrUnavailable and no denial", status, err)
		}
		w.opens(c, kept, cards) // a lease at hand survives what nobody signed
	}
	lied(t, by, map[string]func(*testkit.Forgery){
		"denied with a key": func(f *testkit.Forgery) {
			f.Grant.Items[0].Decision, f.Grant.Items[0].Reason, f.Grant.Items[0].KC = wire.DecisionDenied, "no", nil
		},
		"allowed without a key": func(f *testkit.Forgery) { f.Release.Keys[0] = nil },
		"neither":               func(f *testkit.Forgery) { f.Grant.Items[0].Decision = "perhaps" },
		"edited after signing": func(f *testkit.Forgery) {
			signed, err := wire.Sign(f.Type, wire.Marshal(*f.Grant), f.Signers...)
			if err != nil {
				panic(err)
			}
			f.Release.Grant = bytes.Replace(signed, []byte(wire.DecisionAllowed), []byte("ALLOWED"), 1)
		},
	})
}

// Scenario 19: another version of the protocol. There is nothing to negotiate.
func TestScenario19_UnknownVersion(t *testing.T) { overEachWay(t, unknownVersion) }

func unknownVersion(t *testing.T, by way) {
	lied(t, by, map[string]func(*testkit.Forgery){
		"an older grant":   func(f *testkit.Forgery) { f.Grant.Type = "claviger/v0/grant" },
		"a newer grant":    func(f *testkit.Forgery) { f.Grant.Type = "claviger/v2/grant" },
		"signed as older":  func(f *testkit.Forgery) { f.Type = "claviger/v0/grant" },
		"an older release": func(f *testkit.Forgery) { f.Outer = "claviger/v0/release" },
	})
	w := newWorldBy(t, by)
	raw := w.Raw(w.app1.Dir)
	req, _ := raw.Request(testkit.DataItem(cards, "encrypt"))
	for _, typ := range []string{"claviger/v0/request", "claviger/v2/request", ""} {
		if a := raw.Exchange(w.Seal(typ, raw.Sign(req))); a.Status != http.StatusBadRequest {
			t.Errorf("outer type %q: %d %s", typ, a.Status, a.Body)
		}
		inner := *req
		inner.Type = typ
		if a := raw.Exchange(w.Seal(wire.TypeRequest, raw.Sign(&inner))); a.Status == http.StatusOK {
			t.Errorf("inner type %q was answered", typ)
		}
	}
	for _, path := range []string{"/v0/exchange", "/v2/exchange", "/exchange", "/v1/exchange/"} {
		a := w.Send(raw.Identity, testkit.Message{Method: "POST", Path: path, Body: w.Seal(wire.TypeRequest, raw.Sign(req))})
		if a.Status != http.StatusNotFound {
			t.Errorf("%s: %d", path, a.Status)
		}
	}
}

// Scenario 20: the suite is fixed by the message's type: a KEM ciphertext or key of
// any other suite doesn't fit.
func TestScenario20_AnotherSuite(t *testing.T) { overEachWay(t, anotherSuite) }

func anotherSuite(t *testing.T, by way) {
	w := newWorldBy(t, by)
	man := w.carrier()
	raw := w.Raw(w.app1.Dir)
	c := w.Dial(w.app1, man.at())
	man.exchanges(func(m testkit.Message, forward func(testkit.Message) testkit.Answer) testkit.Answer {
		a := forward(m)
		var outer wire.Sealed
		if err := wire.Unmarshal(a.Body, &outer, 1<<20); err == nil {
			outer.Enc = outer.Enc[len(outer.Enc)-32:] // the classical half alone
			a.Body = wire.Marshal(outer)
		}
		return a
	})
	w.refuses(c, cards, client.ErrIntegrity)
	req, _ := raw.Request(testkit.DataItem(cards, "encrypt"))
	for _, size := range []int{32, 65, 1184, wire.PublicKeySize - 1, wire.PublicKeySize + 1} {
		req.HPKE = make([]byte, size)
		if a := raw.Exchange(w.Seal(wire.TypeRequest, raw.Sign(req))); a.Status == http.StatusOK {
			t.Errorf("a one-time key of %d bytes was answered", size)
		}
	}
}

// Scenario 21: every signature and every half of the KEM counts.
func TestScenario21_StrippedSignature(t *testing.T) { overEachWay(t, strippedSignature) }

func strippedSignature(t *testing.T, by way) {
	w := worldBy(t, by, testkit.Options{Admins: 3, Threshold: 2})
	one, other := w.Admins[0], w.Admins[1]
	policy := authority.Policy{Source: []byte(`permit(principal, action, resource);`)}
	entry, err := w.State().Entry(authority.KindPolicy, policy, w.Clock().Now().Add(time.Hour), one, other)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := wire.ParseSigned(wire.TypeBody, entry, wire.MaxBody)
	if err != nil {
		t.Fatal(err)
	}
	w.unchanged(func() {
		stripped, err := wire.Sign(wire.TypeBody, signed.Payload, one)
		if err != nil {
			t.Fatal(err)
		}
		if out := w.Post(stripped, one); out.Applied {
			t.Error("a policy with one of two signatures was applied")
		}
		if out := w.Post(stripped, one); out.Applied {
			t.Error("one signature, brought twice, was counted twice")
		}
	})
	if out := w.Post(entry, one); !out.Applied {
		t.Errorf("with both: %d %s", out.Status, out.Body)
	}
	raw, cut := w.Raw(w.app2.Dir), w.carrier()
	renew, _ := raw.Request(testkit.DataItem(cards, "encrypt"))
	unsigned, err := wire.Sign(wire.TypeRequest, wire.Marshal(*renew), one)
	if err != nil {
		t.Fatal(err)
	}
	if a := raw.Exchange(w.Seal(wire.TypeRequest, unsigned)); a.Status != http.StatusUnauthorized {
		t.Errorf("a request without its workload's signature: %d", a.Status)
	}
	for _, half := range []struct {
		name     string
		from, to int
	}{{"the ML-KEM half", 0, 1088}, {"the X25519 half", 1088, 1120}} {
		cut.exchanges(func(m testkit.Message, forward func(testkit.Message) testkit.Answer) testkit.Answer {
			a := forward(m)
			var outer wire.Sealed
			if err := wire.Unmarshal(a.Body, &outer, 1<<20); err == nil {
				rand.Read(outer.Enc[half.from:half.to])
				a.Body = wire.Marshal(outer)
			}
			return a
		})
		if err := w.failure(w.Dial(w.app1, cut.at())); !errors.Is(err, client.ErrIntegrity) {
			t.Errorf("without %s: %v", half.name, err)
		}
	}
	lied(t, by, map[string]func(*testkit.Forgery){
		"no signature": func(f *testkit.Forgery) { f.Release.Grant = wire.Marshal(*f.Grant) },
	})
}

// Scenario 22: another message of the same signer stands where a grant belongs.
func TestScenario22_TypeConfusion(t *testing.T) { overEachWay(t, typeConfusion) }

func typeConfusion(t *testing.T, by way) {
	lied(t, by, map[string]func(*testkit.Forgery){
		"a grant signed as a statement": func(f *testkit.Forgery) { f.Type = wire.TypeStatement },
		"a grant signed as a body":      func(f *testkit.Forgery) { f.Type = wire.TypeBody },
		"a statement": func(f *testkit.Forgery) {
			s := wire.Statement{
				Type: wire.TypeStatement, Domain: f.Grant.Domain, Server: f.Grant.Server, Epoch: f.Grant.Epoch, Head: f.Grant.Head,
				Members: f.Grant.Members, Issued: f.Grant.Issued,
			}
			signed, err := wire.Sign(wire.TypeStatement, wire.Marshal(s), f.Signers...)
			if err != nil {
				panic(err)
			}
			f.Release.Grant = signed
		},
		"sealed as an enrolment": func(f *testkit.Forgery) { f.Outer = wire.TypeEnrolled },
	})
	w := newWorldBy(t, by)
	raw := w.Raw(w.app1.Dir)
	req, _ := raw.Request(testkit.DataItem(cards, "encrypt"))
	for _, typ := range []string{wire.TypeRenew, wire.TypeEnroll, wire.TypeBody, wire.TypeGrant} {
		signed, err := wire.SignChain(typ, wire.Marshal(*req), raw.Chain, raw.Key)
		if err != nil {
			t.Fatal(err)
		}
		for _, outer := range []string{wire.TypeRequest, wire.TypeRenew, wire.TypeEnroll} {
			if a := raw.Exchange(w.Seal(outer, signed)); a.Status == http.StatusOK {
				t.Errorf("a request signed as %s and sealed as %s was answered", typ, outer)
			}
		}
	}
}

// Scenario 23: names that look alike, or that could be read in two ways.
func TestScenario23_NameConfusion(t *testing.T) { overEachWay(t, nameConfusion) }

func nameConfusion(t *testing.T, by way) {
	w := newWorldBy(t, by)
	names := []string{
		"payments/Cards", "payments//cards", "/payments/cards", "payments/cards/", "payments/./cards", "payments/../payments/cards",
		"payments\\cards", "payments/cards ", "payments/c\u0430rds", "payments/cards\x00", "payments%2fcards", "", strings.Repeat("a", 129),
	}
	c := w.Dial(w.app1)
	w.unchanged(func() {
		for _, name := range names {
			p := authority.KeyCreate{Name: name, Algorithm: authority.AES256, Settings: authority.Settings{Lease: 3600, Staleness: 900}}
			rand.Read(p.ID[:])
			rand.Read(p.Revocation[:])
			if out := w.Offer(authority.KindKeyCreate, p, w.Admins[0]); out.Applied || out.Status == http.StatusOK {
				t.Errorf("a key named %q was taken: %s", name, out.Body)
			}
			if out, err := c.Encrypt(t.Context(), name, plaintext, client.EncryptOptions{}); err == nil {
				t.Errorf("%q encrypts %d bytes", name, len(out))
			}
		}
	})
	// Fields are length-prefixed: where one ends can't be moved.
	k, d := secret.Random(64), [32]byte(w.Founded.Domain)
	seen := map[[32]byte]string{}
	for _, f := range [][2]string{{"a/b", ""}, {"a", "/b"}, {"a/", "b"}, {"", "a/b"}, {"\u00e9", ""}, {"e\u0301", ""}} {
		leaf := kdf.Leaf(k, d, f[0], []byte(f[1]))
		sum := kdf.Commit(leaf, d)
		leaf.Wipe()
		if with, twice := seen[sum]; twice {
			t.Errorf("%q and %q have one key", with, f)
		}
		seen[sum] = f[0] + "|" + f[1]
	}
	k.Wipe()
}
