// SPDX-License-Identifier: Apache-2.0

package keyserver_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"testing"

	"claviger/internal/authority"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/keyservertest"
	"claviger/internal/keyserver/rules"
	"claviger/internal/wire"
)

// is fails unless err is want, and of this cause if it is a denial.
func is(t *testing.T, what string, err, want error, cause rules.Cause) {
	t.Helper()
	var d *keyserver.Denial
	if !errors.Is(err, want) || errors.As(err, &d) && d.Cause != cause {
		t.Errorf("%s: %v, want %v (%q)", what, err, want, cause)
	}
}

// TestDescribe: who may use a key learns what it is, also while it is disabled;
// nobody else learns whether there is one.
func TestDescribe(t *testing.T) {
	r := keyservertest.New(t)
	r.CreateKey("k", authority.AES256)
	app := r.Enroll("app1")
	ask := func(name string) (*keyserver.Described, error) {
		a, err := r.Ask(app, &keyserver.Describe{Name: name, Route: "test"})
		d, _ := a.(*keyserver.Described)
		return d, err
	}
	_, absent := ask("none")
	_, denied := ask("k")
	is(t, "no policy", denied, keyserver.ErrDenied, keyserver.CausePolicy)
	is(t, "no key", absent, keyserver.ErrDenied, keyserver.CausePolicy)
	r.Allow(`permit(principal, action == Action::"encrypt", resource);`)
	_, absent = ask("none")
	is(t, "no key, permitted", absent, keyserver.ErrDenied, keyserver.CauseAbsent)
	r.Propose(authority.KindKeyRotate, authority.KeyRef{ID: r.KeyOf("k").ID})
	r.Propose(authority.KindKeyDisable, authority.KeyRef{ID: r.KeyOf("k").ID})
	d, err := ask("k")
	if err != nil || !d.Disabled || d.Version != 2 || len(d.Versions) != 2 || len(d.Operations) != 1 || d.Operations[0] != "encrypt" || d.Created.IsZero() {
		t.Errorf("%+v, %v", d, err)
	}
	if n := r.Leaves("describe"); n != 4 {
		t.Errorf("%d leaves", n)
	}
}

// TestProvide: keys are made, rotated and retired by whom policy permits, in the
// log and in the audit log, with default settings.
func TestProvide(t *testing.T) {
	r := keyservertest.New(t)
	app := r.Enroll("app1")
	create := &keyserver.CreateKey{Name: "made/here", Algorithm: authority.AES256, Route: "test"}
	_, err := r.Ask(app, create)
	is(t, "create without policy", err, keyserver.ErrDenied, keyserver.CausePolicy)
	if r.Replay().KeyNamed("made/here") != nil {
		t.Fatal("it was made all the same")
	}
	r.Allow(`permit(principal, action in [Action::"key:create", Action::"key:rotate", Action::"key:retire"], resource in Folder::"made");`)
	for _, op := range []keyserver.Op{create, &keyserver.RotateKey{Name: "made/here", Route: "test"}} {
		if _, err := r.Ask(app, op); err != nil {
			t.Fatal(err)
		}
	}
	k := r.KeyOf("made/here")
	if k.Current().Number != 2 || !k.Settings.Default() {
		t.Errorf("%+v", k)
	}
	_, err = r.Ask(app, create)
	is(t, "twice", err, keyserver.ErrRefused, "")
	_, err = r.Ask(app, &keyserver.CreateKey{Name: "elsewhere", Algorithm: authority.AES256})
	is(t, "elsewhere", err, keyserver.ErrDenied, keyserver.CausePolicy)
	_, err = r.Ask(app, &keyserver.CreateKey{Name: "made/../k", Algorithm: authority.AES256})
	is(t, "no name", err, keyserver.ErrMalformed, "")
	_, err = r.Ask(app, &keyserver.CreateKey{Name: "made/k", Algorithm: "rot13"})
	is(t, "no algorithm", err, keyserver.ErrRefused, "")
	_, err = r.Ask(app, &keyserver.RotateKey{Name: "made/none"})
	is(t, "rotate nothing", err, keyserver.ErrRefused, "")
	if _, err := r.Ask(app, &keyserver.RetireKey{Name: "made/here"}); err != nil || !r.KeyOf("made/here").Disabled {
		t.Errorf("retire: %v", err)
	}
	if made, rotated, retired := r.Leaves("key:create"), r.Leaves("key:rotate"), r.Leaves("key:retire"); made != 8 || rotated != 4 || retired != 2 {
		t.Errorf("%d, %d and %d leaves", made, rotated, retired)
	}
}

// TestRawUse: the raw form, its version beside it, and nothing without policy.
func TestRawUse(t *testing.T) {
	r := keyservertest.New(t)
	r.CreateKey("k", authority.AES256)
	app := r.Enroll("app1")
	seal := &keyserver.Use{Operation: "seal", Item: wire.Item{Name: "k"}, Input: []byte("data"), Context: []byte("c")}
	_, err := r.Ask(app, seal)
	is(t, "no policy", err, keyserver.ErrDenied, keyserver.CausePolicy)
	r.Allow(`permit(principal, action in [Action::"encrypt", Action::"decrypt"], resource);`)
	a, err := r.Ask(app, seal)
	if err != nil {
		t.Fatal(err)
	}
	sealed := a.(*keyserver.Used)
	r.Propose(authority.KindKeyRotate, authority.KeyRef{ID: r.KeyOf("k").ID})
	open := func(version uint64) (keyserver.Answer, error) {
		return r.Ask(app, &keyserver.Use{Operation: "open", Item: wire.Item{Name: "k", Version: version}, Input: sealed.Output, Context: []byte("c")})
	}
	if a, err := open(sealed.Version); err != nil || string(a.(*keyserver.Used).Output) != "data" {
		t.Errorf("%v, %v", a, err)
	}
	for _, version := range []uint64{0, 2} {
		_, err := open(version)
		is(t, "another version", err, keyserver.ErrMalformed, "")
	}
	r.Propose(authority.KindKeyDisable, authority.KeyRef{ID: r.KeyOf("k").ID})
	_, err = open(1)
	is(t, "disabled", err, keyserver.ErrDenied, keyserver.CauseDisabled)
}

// TestHandOver takes what a release takes, and gives what it gives.
func TestHandOver(t *testing.T) {
	r := keyservertest.New(t)
	r.CreateKey("k", authority.AES256)
	app := r.Enroll("app1")
	give := &keyserver.Use{Operation: "hand-over", Item: wire.Item{Name: "k"}}
	for _, some := range []string{"unwrap", "release"} {
		r.Allow(`permit(principal, action == Action::"` + some + `", resource);`)
		_, err := r.Ask(app, give)
		is(t, some+" alone", err, keyserver.ErrDenied, keyserver.CausePolicy)
	}
	r.Allow(`permit(principal, action in [Action::"release", Action::"unwrap"], resource);`)
	a, err := r.Ask(app, give)
	if err != nil {
		t.Fatal(err)
	}
	_, release := r.ReleaseItem(app, wire.Item{Name: "k", Purpose: wire.PurposeWrap, Operations: []string{"unwrap"}})
	if got := a.(*keyserver.Used).Output; !bytes.Equal(got, release.Keys[0]) {
		t.Error("another key than a release carries")
	}
}

// TestUnwrapRSA takes its own permission: who may sign can't decrypt.
func TestUnwrapRSA(t *testing.T) {
	r := keyservertest.New(t)
	r.CreateKey("k", authority.RSA2048)
	app := r.Enroll("app1")
	r.Allow(`permit(principal, action in [Action::"wrap", Action::"sign"], resource);`)
	a, err := r.Ask(app, &keyserver.Use{Operation: "wrapping-key", Item: wire.Item{Name: "k"}})
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.ParsePKIXPublicKey(a.(*keyserver.Used).Output)
	if err != nil {
		t.Fatal(err)
	}
	text, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, pub.(*rsa.PublicKey), []byte("key"), nil)
	if err != nil {
		t.Fatal(err)
	}
	unwrap := &keyserver.Use{Operation: "unwrap-rsa", Item: wire.Item{Name: "k"}, Input: text}
	_, err = r.Ask(app, unwrap)
	is(t, "a signer", err, keyserver.ErrDenied, keyserver.CausePolicy)
	r.Allow(`permit(principal, action == Action::"unwrap", resource);`)
	if a, err := r.Ask(app, unwrap); err != nil || string(a.(*keyserver.Used).Output) != "key" {
		t.Errorf("%v, %v", a, err)
	}
}
