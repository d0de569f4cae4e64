// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"claviger/client/internal/keep"
	"claviger/envelope"
	"claviger/internal/testkit/fakeserver"
	"claviger/internal/wire"
)

// sealWith seals under any key of the domain.
func (w *world) sealWith(key string, o EncryptOptions) []byte {
	w.t.Helper()
	out, err := w.client.Encrypt(w.t.Context(), key, []byte("4111"), o)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// TestExpectedKeys: storage that puts another key's object in the place of the
// right one is refused; after the first time without a request.
func TestExpectedKeys(t *testing.T) {
	w := newWorld(t)
	w.domain.AddKey("hr/salaries")
	good, planted := w.sealWith("payments/cards", EncryptOptions{}), w.sealWith("hr/salaries", EncryptOptions{})

	tests := []struct {
		name     string
		forget   bool // what is pinned
		options  DecryptOptions
		object   []byte
		want     error
		requests int
	}{
		{"expected, pinned", false, DecryptOptions{Keys: []string{"payments/cards"}}, good, nil, 1},
		{"expected, not pinned", true, DecryptOptions{Keys: []string{"payments/cards"}}, good, nil, 1},
		{"one of two, not pinned", true, DecryptOptions{Keys: []string{"hr/salaries", "payments/cards"}}, good, nil, 1},
		{"planted, pinned", false, DecryptOptions{Keys: []string{"payments/cards"}}, planted, ErrUnexpectedKey, 0},
		{"planted, not pinned", true, DecryptOptions{Keys: []string{"payments/cards"}}, planted, ErrUnexpectedKey, 1},
		{"planted, two names, not pinned", true, DecryptOptions{Keys: []string{"payments/cards", "payments/other"}}, planted, ErrUnexpectedKey, 1},
		{"any key", true, DecryptOptions{AnyKey: true}, planted, nil, 1},
		{"nothing expected", false, DecryptOptions{}, good, ErrNoExpectation, 0},
		{"another partition", false, DecryptOptions{AnyKey: true, Partition: []byte("p")}, good, ErrUnexpectedKey, 0},
		{"a name that is none", false, DecryptOptions{Keys: []string{"Payments"}}, good, errKeyName, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.forget {
				if err := os.Remove(filepath.Join(w.profile.Dir, keep.FilePins)); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
			}
			w.client = w.dial()
			before := len(w.server.Requests())
			got, _, err := w.client.Decrypt(t.Context(), tt.object, tt.options)
			if !errors.Is(err, tt.want) || (err == nil) != (string(got) == "4111") {
				t.Fatalf("Decrypt = %q, %v; want %v", got, err, tt.want)
			}
			if n := len(w.server.Requests()) - before; n != tt.requests {
				t.Errorf("%d requests, want %d", n, tt.requests)
			}
			if tt.requests == 0 || len(tt.options.Keys) == 2 && tt.want != nil {
				return
			}
			if _, _, err := w.client.Decrypt(t.Context(), tt.object, tt.options); !errors.Is(err, tt.want) {
				t.Errorf("the second time: %v", err)
			}
			if n := len(w.server.Requests()) - before; n != tt.requests {
				t.Errorf("%d requests for two times, want %d: what was learned is not kept", n, tt.requests)
			}
		})
	}
}

// TestPinOutlastsServer: a server that gives a name to another key is refused, for
// sealing too.
func TestPinOutlastsServer(t *testing.T) {
	w := newWorld(t)
	sealed := w.seal("4111")
	w.domain.Set(w.key, func(k *fakeserver.Key) { k.ID[0]++ })
	w.client = w.dial()
	if _, err := w.client.Encrypt(t.Context(), "payments/cards", nil, EncryptOptions{}); !errors.Is(err, ErrUnexpectedKey) {
		t.Errorf("Encrypt = %v", err)
	}
	if err := w.open(sealed); err == nil {
		t.Error("an object of a key that is gone opens")
	}
}

// TestProfileKeysArePins: an id in the profile's own list counts as pinned.
func TestProfileKeysArePins(t *testing.T) {
	w := newWorld(t)
	w.profile.Keys = []ExpectedKey{{Name: "payments/cards", ID: "00112233445566778899aabbccddeeff"}}
	if err := w.profile.Save(); err != nil {
		t.Fatal(err)
	}
	w.client = w.dial()
	if _, err := w.client.Encrypt(t.Context(), "payments/cards", nil, EncryptOptions{}); !errors.Is(err, ErrUnexpectedKey) {
		t.Errorf("Encrypt = %v", err)
	}
}

// TestCompromised: refused unless asked for, and never used for sealing.
func TestCompromised(t *testing.T) {
	w := newWorld(t)
	sealed := w.seal("4111")
	w.domain.Rotate(w.key)
	w.domain.Set(w.key, func(k *fakeserver.Key) { k.Versions[0].State = wire.StateCompromised })
	w.client = w.dial()
	if err := w.open(sealed); !errors.Is(err, ErrCompromised) {
		t.Fatalf("Decrypt = %v", err)
	}
	options := DecryptOptions{AnyKey: true, AllowCompromised: true}
	_, opened, err := w.client.Decrypt(t.Context(), sealed, options)
	if err != nil || opened.State != wire.StateCompromised {
		t.Errorf("with leave: %+v, %v", opened, err)
	}
	if err := w.open(sealed); !errors.Is(err, ErrCompromised) {
		t.Errorf("a lease at hand is used without leave: %v", err)
	}
}

// TestHiddenPartition: the reader has to name it.
func TestHiddenPartition(t *testing.T) {
	w := newWorld(t)
	sealed := w.sealWith("payments/cards", EncryptOptions{Partition: []byte("tenant-7"), HidePartition: true})
	if bytes.Contains(sealed, []byte("tenant-7")) {
		t.Error("the partition stands in the ciphertext")
	}
	for partition, want := range map[string]error{"tenant-7": nil, "tenant-8": envelope.ErrIntegrity, "": envelope.ErrIntegrity} {
		_, _, err := w.client.Decrypt(t.Context(), sealed, DecryptOptions{AnyKey: true, Partition: []byte(partition)})
		if !errors.Is(err, want) {
			t.Errorf("partition %q: %v, want %v", partition, err, want)
		}
	}
}

// TestSeveralSlots opens an object of two keys with the one that is expected.
func TestSeveralSlots(t *testing.T) {
	w := newWorld(t)
	w.domain.AddKey("hr/salaries")
	rotated := w.domain.AddKey("hr/archive")
	w.domain.Rotate(rotated)
	ctx := t.Context()
	sealed, err := envelope.Encrypt(ctx, w.client.Sealing("payments/cards", EncryptOptions{}), []byte("4111"), envelope.Options{
		Also: []envelope.Wrapper{w.client.Sealing("hr/salaries", EncryptOptions{}), w.client.Sealing("hr/archive", EncryptOptions{})},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"payments/cards", "hr/salaries", "hr/archive"} {
		for _, forget := range []bool{false, true} {
			if forget {
				if err := os.Remove(filepath.Join(w.profile.Dir, keep.FilePins)); err != nil {
					t.Fatal(err)
				}
			}
			w.client = w.dial()
			_, opened, err := w.client.Decrypt(ctx, sealed, DecryptOptions{Keys: []string{name}})
			if err != nil || opened.Key != name {
				t.Errorf("%s, forget %v: %+v, %v", name, forget, opened, err)
			}
		}
	}
	w.domain.Set(w.key, func(k *fakeserver.Key) { k.Denied = "no policy allows it" })
	if err := os.Remove(filepath.Join(w.profile.Dir, keep.FilePins)); err != nil {
		t.Fatal(err)
	}
	w.client = w.dial()
	if _, opened, err := w.client.Decrypt(ctx, sealed, DecryptOptions{AnyKey: true}); err != nil || opened.Key == "payments/cards" {
		t.Errorf("any key, the first denied: %+v, %v", opened, err)
	}
}

// foreign is a Wrapper of a key that nobody has.
type foreign struct {
	domain wire.DomainID
	n      byte
}

func (f foreign) Wrap(ctx context.Context, dek []byte) (envelope.Slot, error) {
	k, err := envelope.NewLeafKey(envelope.Ref{Domain: f.domain, KeyID: wire.KeyID{f.n}, Version: uint64(f.n)}, make([]byte, 32))
	if err != nil {
		return envelope.Slot{}, err
	}
	defer k.Wipe()
	return k.Wrap(ctx, dek)
}

// TestHeaderOfManyKeys: however many slots storage puts into a header, the expected
// names are asked for once, and what that tells is kept.
func TestHeaderOfManyKeys(t *testing.T) {
	w := newWorld(t)
	w.domain.AddKey("hr/salaries")
	var also []envelope.Wrapper
	for i := range envelope.MaxSlots - 2 {
		also = append(also, foreign{w.domain.ID(), byte(i + 1)})
	}
	planted, err := envelope.Encrypt(t.Context(), foreign{w.domain.ID(), 200}, []byte("4111"), envelope.Options{Also: also})
	if err != nil {
		t.Fatal(err)
	}
	options := DecryptOptions{Keys: []string{"payments/cards", "hr/salaries", "hr/salaries"}}
	for range 3 {
		if _, _, err := w.client.Decrypt(t.Context(), planted, options); !errors.Is(err, ErrUnexpectedKey) {
			t.Fatalf("Decrypt = %v", err)
		}
	}
	if all := w.server.Requests(); len(all) != 1 || len(all[0].Items) != 2 {
		t.Errorf("%d requests", len(all))
	}
	good, err := envelope.Encrypt(t.Context(), foreign{w.domain.ID(), 200}, []byte("4111"), envelope.Options{
		Also: append(also, w.client.Sealing("hr/salaries", EncryptOptions{})),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.forget()
	if _, opened, err := w.client.Decrypt(t.Context(), good, options); err != nil || opened.Key != "hr/salaries" {
		t.Errorf("the last slot is right: %+v, %v", opened, err)
	}
}

// forget removes the pins and opens the profile anew.
func (w *world) forget() {
	w.t.Helper()
	if err := os.Remove(filepath.Join(w.profile.Dir, keep.FilePins)); err != nil {
		w.t.Fatal(err)
	}
	w.client = w.dial()
}

// TestPinnedAndDenied: a slot whose key policy refuses keeps nobody from another
// one, also when both are known.
func TestPinnedAndDenied(t *testing.T) {
	w := newWorld(t)
	w.domain.AddKey("hr/salaries")
	sealed, err := envelope.Encrypt(t.Context(), w.client.Sealing("payments/cards", EncryptOptions{}), []byte("4111"), envelope.Options{
		Also: []envelope.Wrapper{w.client.Sealing("hr/salaries", EncryptOptions{})},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.domain.Set(w.key, func(k *fakeserver.Key) { k.Denied = "no policy allows it" })
	options := DecryptOptions{Keys: []string{"payments/cards", "hr/salaries"}}
	if _, opened, err := w.client.Decrypt(t.Context(), sealed, options); err != nil || opened.Key != "hr/salaries" {
		t.Errorf("Decrypt: %+v, %v", opened, err)
	}
	_, opened, err := w.client.Decrypt(t.Context(), sealed, DecryptOptions{Keys: []string{"payments/cards"}})
	if _, denied := errors.AsType[*DeniedError](err); !denied || opened != (Opened{}) {
		t.Errorf("Decrypt: %+v, %v", opened, err)
	}
}

// TestDenied names who, what and why.
func TestDenied(t *testing.T) {
	w := newWorld(t)
	sealed := w.seal("4111")
	w.domain.Set(w.key, func(k *fakeserver.Key) { k.Denied = "the client is revoked" })
	_, err := w.client.Encrypt(t.Context(), "payments/unknown", nil, EncryptOptions{})
	denied, ok := errors.AsType[*DeniedError](err)
	want := DeniedError{Client: app, Operation: "encrypt", Key: "payments/unknown", Reason: "no policy allows it"}
	if !ok || *denied != want || errors.Is(err, ErrRevoked) || errors.Is(err, ErrUnavailable) {
		t.Errorf("Encrypt = %v", err)
	}
	if err := w.open(sealed); !errors.Is(err, ErrRevoked) {
		t.Errorf("Decrypt = %v", err)
	}
}

// TestDenialEndsLease: a lease whose renewal was denied is not fallen back on.
func TestDenialEndsLease(t *testing.T) {
	w := newWorld(t)
	w.seal("4111")
	w.domain.Set(w.key, func(k *fakeserver.Key) { k.Denied = "no policy allows it" })
	w.domain.Tick()
	if err := w.client.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := w.client.Encrypt(t.Context(), "payments/cards", nil, EncryptOptions{})
		if _, ok := errors.AsType[*DeniedError](err); !ok {
			t.Fatalf("Encrypt = %v", err)
		}
		w.cut()
		if _, err := w.client.Encrypt(t.Context(), "payments/cards", nil, EncryptOptions{}); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("Encrypt after a denial = %v", err)
		}
		w.mend()
	}
}

// TestRewrap moves an object to another key, body untouched.
func TestRewrap(t *testing.T) {
	w := newWorld(t)
	w.domain.AddKey("archive")
	sealed := w.seal("4111")
	header, err := envelope.ReadHeader(bytes.NewReader(sealed))
	if err != nil {
		t.Fatal(err)
	}
	next, opened, err := w.client.Rewrap(t.Context(), header, "archive", DecryptOptions{Keys: []string{"payments/cards"}}, EncryptOptions{})
	if err != nil || opened.Key != "payments/cards" {
		t.Fatalf("Rewrap: %+v, %v", opened, err)
	}
	got, opened, err := w.client.Decrypt(t.Context(), append(next, sealed[len(header):]...), DecryptOptions{Keys: []string{"archive"}})
	if err != nil || string(got) != "4111" || opened.Key != "archive" {
		t.Errorf("Decrypt = %q by %+v, %v", got, opened, err)
	}
}
