// SPDX-License-Identifier: Apache-2.0

package keywork

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"testing"

	"claviger/internal/hierarchy"
	"claviger/internal/kdf"
	"claviger/internal/wire"
)

func do(t *testing.T, w *Worker, task Task) []byte {
	t.Helper()
	out, _, err := w.Do(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRaw: what is sealed has the length that protocols count on, opens with the
// same context and nothing else, and is what the specification says.
func TestRaw(t *testing.T) {
	w, v := newWorker(t, hierarchy.AlgAES256)
	seal := Task{Operation: "seal", Version: v, Input: []byte("data key"), Context: []byte("bound")}
	sealed := do(t, w, seal)
	if len(sealed) != len(seal.Input)+RawOverhead || bytes.Equal(sealed, do(t, w, seal)) {
		t.Fatalf("%d bytes, or twice the same", len(sealed))
	}
	open := Task{Operation: "open", Version: v, Input: sealed, Context: seal.Context}
	if got := do(t, w, open); !bytes.Equal(got, seal.Input) {
		t.Errorf("opened %q", got)
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if out, _, err := w.Do(t.Context(), Task{Operation: "open", Version: v, Input: changed, Context: seal.Context}); out != nil || !errors.Is(err, ErrInput) {
			t.Fatalf("byte %d: %q, %v", i, out, err)
		}
	}
	for name, bad := range map[string]Task{
		"context":   {Version: v, Input: sealed, Context: []byte("other")},
		"partition": {Version: v, Input: sealed, Context: seal.Context, Partition: []byte("p")},
		"version":   {Version: version(t, w.keys, 2, hierarchy.AlgAES256), Input: sealed, Context: seal.Context},
		"short":     {Version: v, Input: sealed[:RawOverhead-1], Context: seal.Context},
	} {
		bad.Operation = "open"
		if out, _, err := w.Do(t.Context(), bad); out != nil || !errors.Is(err, ErrInput) {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}

	leaf, err := w.keys.Leaf(t.Context(), v, wire.PurposeData, nil)
	if err != nil {
		t.Fatal(err)
	}
	key := kdf.RawKey(leaf, w.domain, sealed[:RawSalt])
	block, err := aes.NewCipher(key.Expose())
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := gcm.Open(nil, sealed[RawSalt:rawHead], sealed[rawHead:], seal.Context); err != nil || !bytes.Equal(got, seal.Input) {
		t.Errorf("by the specification: %q, %v", got, err)
	}
}

func TestHandOver(t *testing.T) {
	w, v := newWorker(t, hierarchy.AlgAES256)
	if got := do(t, w, Task{Operation: "hand-over", Version: v}); !bytes.Equal(got, derived(t, w, v, wire.PurposeWrap, nil)) {
		t.Error("another key than a release carries")
	}
}

func TestUnwrapRSA(t *testing.T) {
	w, v := newWorker(t, hierarchy.AlgRSA2048)
	pub, err := x509.ParsePKIXPublicKey(do(t, w, Task{Operation: "wrapping-key", Version: v}))
	if err != nil {
		t.Fatal(err)
	}
	text, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, pub.(*rsa.PublicKey), []byte("key"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := do(t, w, Task{Operation: "unwrap-rsa", Version: v, Input: text}); string(got) != "key" {
		t.Errorf("opened %q", got)
	}
	if _, _, err := w.Do(t.Context(), Task{Operation: "unwrap-rsa", Version: v, Input: text[1:]}); !errors.Is(err, ErrInput) {
		t.Errorf("cut: %v", err)
	}
}

// TestSecretsHaveKeysOfTheirOwn: what is sealed for a versioned secret does not
// open for who may use the key, and the key for it is no purpose of requests.
func TestSecretsHaveKeysOfTheirOwn(t *testing.T) {
	w, v := newWorker(t, hierarchy.AlgAES256)
	for _, own := range []bool{true, false} {
		sealed := do(t, w, Task{Operation: "seal", Version: v, Input: []byte("document"), Secret: own})
		if got := do(t, w, Task{Operation: "open", Version: v, Input: sealed, Secret: own}); string(got) != "document" {
			t.Errorf("opened %q", got)
		}
		if out, _, err := w.Do(t.Context(), Task{Operation: "open", Version: v, Input: sealed, Secret: !own}); out != nil || !errors.Is(err, ErrInput) {
			t.Errorf("secret %v opens as the other: %q, %v", own, out, err)
		}
	}
	if wire.ValidPurpose(hierarchy.PurposeSecret) {
		t.Error("a request can name the purpose")
	}
}
