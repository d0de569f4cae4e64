// SPDX-License-Identifier: Apache-2.0

package client

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"claviger/client/internal/identity"
	"claviger/client/internal/keep"
	"claviger/internal/clock"
	"claviger/internal/members"
	"claviger/internal/testkit/fakeserver"
	"claviger/internal/wire"
)

// newDomain is a world before anybody enrolled.
func newDomain(t *testing.T, demo bool) *world {
	t.Helper()
	w := &world{t: t, clock: clock.NewManual(start), remote: clock.NewManual(start)}
	w.domain = fakeserver.New(t, fakeserver.Options{Clock: w.remote, Demo: demo})
	w.server = w.domain.Server("one")
	w.key = w.domain.AddKey("payments/cards")
	return w
}

func (w *world) redeem(in *wire.Invite, o EnrollOptions) (*Profile, error) {
	w.t.Helper()
	o.Clock = w.clock
	return Enroll(w.t.Context(), filepath.Join(w.t.TempDir(), "a", "profile"), in.Text(), o)
}

func TestEnrollWritesProfile(t *testing.T) {
	w := newDomain(t, false)
	in := w.domain.Invite("payments/api", w.server.Listen())
	p, err := w.redeem(in, EnrollOptions{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenProfile(p.Dir)
	if err != nil || again.Client != in.Client || again.Domain != w.domain.ID().String() || again.Demo || again.Addresses[0] != in.Addresses[0] {
		t.Fatalf("OpenProfile = %+v, %v", again, err)
	}
	err = filepath.WalkDir(p.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is %v", path, info.Mode())
		}
		if e.IsDir() {
			return nil
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), string(in.Seed)) || strings.Contains(string(data), in.Text()) {
			t.Errorf("%s holds the invite", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(p.Dir), ".*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestEnrollRefusals(t *testing.T) {
	other := newDomain(t, false)
	tests := []struct {
		name    string
		demo    bool
		options EnrollOptions
		spoil   func(*world, *wire.Invite)
		want    error
	}{
		{"expired", false, EnrollOptions{}, func(_ *world, in *wire.Invite) { in.Expires = start.UnixMilli() }, ErrInvite},
		{"another domain's id", false, EnrollOptions{}, func(_ *world, in *wire.Invite) { in.Domain = other.domain.ID() }, ErrIntegrity},
		{"membership that never was", false, EnrollOptions{}, func(_ *world, in *wire.Invite) { in.Members[0]++ }, ErrRollback},
		{"chain older than the invite", false, EnrollOptions{}, func(w *world, in *wire.Invite) {
			old := w.domain.Members().Chain
			w.domain.Change(members.KindFence, members.Fence{Server: w.domain.Server("two").ID()})
			in.Members = w.domain.Members().Newest
			w.server.Lie.Introduction = func(i *wire.Introduction) { i.Members = old }
		}, ErrRollback},
		{"fenced server", false, EnrollOptions{}, func(w *world, _ *wire.Invite) {
			w.domain.Change(members.KindFence, members.Fence{Server: w.server.ID()})
		}, ErrIntegrity},
		{"a demo", true, EnrollOptions{}, func(*world, *wire.Invite) {}, ErrDemo},
		{"no demo", false, EnrollOptions{AllowDemo: true}, func(*world, *wire.Invite) {}, ErrDemo},
		{"no seed and no certificate", false, EnrollOptions{}, func(_ *world, in *wire.Invite) { in.Seed = nil }, ErrInvite},
		{"a seed and a certificate", false, EnrollOptions{CertFile: "c", KeyFile: "k"}, func(*world, *wire.Invite) {}, ErrInvite},
		{"another seed", false, EnrollOptions{}, func(_ *world, in *wire.Invite) { in.Seed[0]++ }, ErrUnavailable},
		{"nobody there", false, EnrollOptions{Addresses: []string{"127.0.0.1:1"}}, func(*world, *wire.Invite) {}, ErrUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newDomain(t, tt.demo)
			in := w.domain.Invite("app", w.server.Listen())
			tt.spoil(w, in)
			p, err := w.redeem(in, tt.options)
			if !errors.Is(err, tt.want) || p != nil {
				t.Fatalf("Enroll = %v, %v; want %v", p, err, tt.want)
			}
			if strings.Contains(err.Error(), in.Text()) {
				t.Error("the error repeats the invite")
			}
		})
	}
}

// TestEnrollLies: what comes back has to answer the request in every field.
func TestEnrollLies(t *testing.T) {
	foreign, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		lie  func(*world, *wire.Enrolled)
	}{
		{"another domain", func(_ *world, e *wire.Enrolled) { e.Domain[0]++ }},
		{"another server", func(_ *world, e *wire.Enrolled) { e.Server[0]++ }},
		{"another client", func(_ *world, e *wire.Enrolled) { e.Client = "spiffe://acme/workload/other" }},
		{"another request", func(_ *world, e *wire.Enrolled) { e.Request[0]++ }},
		{"unknown membership", func(_ *world, e *wire.Enrolled) { e.Members[0]++ }},
		{"another generation", func(_ *world, e *wire.Enrolled) { e.Epoch.Generation++ }},
		{"certificate for another key", func(w *world, e *wire.Enrolled) { e.Chain = w.domain.Issue(app, foreign.Public()) }},
		{"certificate that is none", func(_ *world, e *wire.Enrolled) { e.Chain = [][]byte{{1}} }},
		{"no certificate", func(_ *world, e *wire.Enrolled) { e.Chain = nil }},
		{"certificate and refusal", func(_ *world, e *wire.Enrolled) { e.Reason = "no" }},
		{"another type", func(_ *world, e *wire.Enrolled) { e.Type = wire.TypeGrant }},
		{"certificate for another name", func(w *world, e *wire.Enrolled) {
			leaf, err := x509.ParseCertificate(e.Chain[0])
			if err != nil {
				w.t.Error(err)
				return
			}
			e.Chain = w.domain.Issue("spiffe://acme/workload/other", leaf.PublicKey)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newDomain(t, false)
			w.server.Lie.Enrolled = func(e *wire.Enrolled) { tt.lie(w, e) }
			if _, err := w.redeem(w.domain.Invite("app", w.server.Listen()), EnrollOptions{}); !errors.Is(err, ErrIntegrity) {
				t.Fatalf("Enroll = %v", err)
			}
			// Renewal goes through the same checks.
			w = newWorld(t)
			w.server.Lie.Enrolled = func(e *wire.Enrolled) { tt.lie(w, e) }
			if err := w.client.Renew(t.Context()); !errors.Is(err, ErrIntegrity) {
				t.Fatalf("Renew = %v", err)
			}
		})
	}
}

func TestInviteWorksOnce(t *testing.T) {
	w := newDomain(t, false)
	in := w.domain.Invite("app", w.server.Listen())
	if _, err := w.redeem(in, EnrollOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := w.redeem(in, EnrollOptions{})
	denied, ok := errors.AsType[*DeniedError](err)
	if !ok || denied.Operation != "enroll" || denied.Reason != "the invite was used" {
		t.Errorf("Enroll = %v", err)
	}
}

func TestEnrollKeepsWhatIsThere(t *testing.T) {
	w := newWorld(t)
	in := w.domain.Invite("app", w.server.Listen())
	if _, err := Enroll(t.Context(), w.profile.Dir, in.Text(), EnrollOptions{Clock: w.clock}); !errors.Is(err, ErrExists) {
		t.Errorf("Enroll = %v", err)
	}
	if err := w.open(w.seal("4111")); err != nil {
		t.Error(err)
	}
}

// TestEnrollSecondAddress: the first is dead, the second answers.
func TestEnrollSecondAddress(t *testing.T) {
	w := newDomain(t, false)
	if _, err := w.redeem(w.domain.Invite("app", "127.0.0.1:1", w.server.Listen()), EnrollOptions{}); err != nil {
		t.Error(err)
	}
}

func TestDemo(t *testing.T) {
	w := newDomain(t, true)
	p, err := w.redeem(w.domain.Invite("app", w.server.Listen()), EnrollOptions{AllowDemo: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(t.Context(), p, Options{Clock: w.clock}); !errors.Is(err, ErrDemo) {
		t.Errorf("Dial without leave = %v", err)
	}
	c, err := Dial(t.Context(), p, Options{Clock: w.clock, AllowDemo: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	p.Demo = false
	if _, err := Dial(t.Context(), p, Options{Clock: w.clock, AllowDemo: true}); !errors.Is(err, ErrDemo) {
		t.Errorf("Dial of a demo under a real profile = %v", err)
	}
}

// TestOutsideCertificate: the files stay where they are and are read again when
// they change.
func TestOutsideCertificate(t *testing.T) {
	w := newDomain(t, false)
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	write := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
		if err := errors.Join(os.WriteFile(keyFile, text, 0o600), os.WriteFile(certFile, identity.FormatChain(w.domain.Issue(app, key.Public())), 0o600)); err != nil {
			t.Fatal(err)
		}
		return key
	}
	write()
	in := w.domain.Invite("app", w.server.Listen())
	in.Seed = nil
	p, err := w.redeem(in, EnrollOptions{CertFile: certFile, KeyFile: keyFile})
	if err != nil {
		t.Fatal(err)
	}
	w.profile = p
	w.client = w.dial()
	w.seal("4111")
	if err := w.client.Renew(t.Context()); err == nil {
		t.Error("Renew renews somebody else's certificate")
	}
	next := write()
	later := start.Add(time.Hour) // whatever the file system's resolution
	if err := errors.Join(os.Chtimes(certFile, later, later), os.Chtimes(keyFile, later, later)); err != nil {
		t.Fatal(err)
	}
	id, err := w.client.id.Get()
	if err != nil || !next.PublicKey.Equal(id.Trust.Key.Public()) {
		t.Errorf("the changed files were not read: %v", err)
	}
}

// TestRenewal: by itself between half and five sixths of the lifetime, with a new
// key.
func TestRenewal(t *testing.T) {
	w := newWorld(t)
	before, err := os.ReadFile(filepath.Join(w.profile.Dir, identity.FileKey))
	if err != nil {
		t.Fatal(err)
	}
	same := func() bool {
		now, err := os.ReadFile(filepath.Join(w.profile.Dir, identity.FileKey))
		if err != nil {
			t.Fatal(err)
		}
		return string(now) == string(before)
	}
	w.advance(4*time.Hour + 50*time.Minute)
	w.seal("4111")
	if !same() {
		t.Error("renewed before half was over")
	}
	w.advance(3*time.Hour + 40*time.Minute) // the server's clock counts, not this process's file times
	w.server.Lie.Enrolled = func(e *wire.Enrolled) { e.Chain, e.Reason = nil, "not now" }
	w.client.cache.DropIf(all)
	w.seal("4111") // that renewal fails stops nobody
	if !same() {
		t.Error("renewed by a refusal")
	}
	w.server.Lie = fakeserver.Lies{}
	w.advance(renewPause)
	w.client.cache.DropIf(all)
	w.seal("4111")
	if same() {
		t.Error("not renewed")
	}
	w.advance(9 * time.Hour) // beyond the end of the first
	w.client = w.dial()
	w.seal("4111")
}

// TestRenewalCrash: wherever it is cut short, the profile opens.
func TestRenewalCrash(t *testing.T) {
	rename := func(w *world, from, to string) {
		if err := os.Rename(filepath.Join(w.profile.Dir, from), filepath.Join(w.profile.Dir, to)); err != nil {
			w.t.Fatal(err)
		}
	}
	write := func(w *world, name string, data []byte) {
		if err := keep.WriteFile(filepath.Join(w.profile.Dir, name), data); err != nil {
			w.t.Fatal(err)
		}
	}
	tests := []struct {
		name string
		cut  func(w *world, key, cert []byte)
		next bool // the new pair is in use afterwards
	}{
		{"certificate written", func(w *world, _, cert []byte) { write(w, identity.FileNextCert, cert) }, false},
		{"both written", func(w *world, key, cert []byte) {
			write(w, identity.FileNextCert, cert)
			write(w, identity.FileNextKey, key)
		}, true},
		{"key moved", func(w *world, key, cert []byte) {
			write(w, identity.FileNextCert, cert)
			write(w, identity.FileNextKey, key)
			rename(w, identity.FileNextKey, identity.FileKey)
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			text, err := identity.FormatKey(key)
			if err != nil {
				t.Fatal(err)
			}
			tt.cut(w, text, identity.FormatChain(w.domain.Issue(app, key.Public())))
			w.client = w.dial()
			id, err := w.client.id.Get()
			if err != nil || key.PublicKey.Equal(id.Trust.Key.Public()) != tt.next {
				t.Errorf("the wrong pair is in use, %v", err)
			}
			w.seal("4111")
			left, err := filepath.Glob(filepath.Join(w.profile.Dir, "next-*"))
			if err != nil || len(left) != 0 {
				t.Errorf("left over: %v, %v", left, err)
			}
		})
	}
}
