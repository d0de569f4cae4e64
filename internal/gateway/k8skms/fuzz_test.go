// SPDX-License-Identifier: Apache-2.0

package k8skms

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"

	"claviger/client"
	"claviger/envelope"
	"claviger/internal/gateway/localrpc"
)

// mute are keys that open nothing.
type mute struct{}

func (mute) SealField(context.Context, string, []byte, client.EncryptOptions) ([]byte, error) {
	return nil, client.ErrUnavailable
}

func (mute) OpenField(_ context.Context, ciphertext []byte, _ client.DecryptOptions) ([]byte, client.Opened, error) {
	if _, err := envelope.InspectField(ciphertext); err != nil {
		panic("a ciphertext that is none came so far")
	}
	return nil, client.Opened{}, envelope.ErrIntegrity
}

func (mute) Freshness() client.Freshness { return client.Freshness{} }

// FuzzDecrypt: whatever comes over the socket, the answer is a refusal and no panic.
func FuzzDecrypt(f *testing.F) {
	p := New(Options{Keys: mute{}, Key: key, Log: slog.New(slog.DiscardHandler)})
	good := wrapped{bytes.Repeat([]byte{0xcf}, 100), keyIDPrefix + "00000000000000000000000000000000/1", annotations()}
	f.Add(good.request())
	f.Add([]byte{})
	f.Add(localrpc.AppendBytes(nil, 4, localrpc.AppendBytes(nil, 1, "x")))
	f.Fuzz(func(t *testing.T, message []byte) {
		for path, method := range p.Methods() {
			if out, err := method(t.Context(), message); err == nil && path != PathStatus {
				t.Errorf("%s answers %x", path, out)
			} else if _, ok := errors.AsType[*localrpc.Error](err); err != nil && !ok && !errors.Is(err, localrpc.ErrMessage) {
				t.Errorf("%s: %v is no refusal", path, err)
			}
		}
	})
}

// FuzzKeyID: what is taken for a key_id is written in one way only.
func FuzzKeyID(f *testing.F) {
	f.Add("claviger/00112233445566778899aabbccddeeff/7")
	f.Add("claviger/00112233445566778899aabbccddeeff/+7")
	f.Add("claviger//")
	f.Fuzz(func(t *testing.T, s string) {
		if isKeyID(s) && (len(s) > 80 || bytes.ContainsAny([]byte(s), " +ABCDEF")) {
			t.Errorf("%q is taken", s)
		}
	})
}
