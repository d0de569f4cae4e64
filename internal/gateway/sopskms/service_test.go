// SPDX-License-Identifier: Apache-2.0

package sopskms

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"claviger/client"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/gateway/localrpc"
	"claviger/internal/testkit"
)

const dataKey = "a data key of 32 bytes, a canary"

// world is a domain with a few keys, and a key service that may use most of them.
type world struct {
	*testkit.Domain
	t      *testing.T
	clock  *clock.Manual
	socket string
	log    bytes.Buffer
}

func newWorld(t *testing.T, only ...string) *world {
	t.Helper()
	w := &world{t: t, clock: clock.NewManual(time.Now()), socket: filepath.Join(t.TempDir(), "s")}
	w.Domain = testkit.New(t, testkit.Options{Clock: w.clock})
	profile := w.Enroll("ops")
	for _, key := range []string{"files/prod", "files/deep/er", "toplevel", "forbidden"} {
		w.CreateKey(key, authority.AES256)
		if key != "forbidden" {
			w.Allow(testkit.ID("ops"), key)
		}
	}
	w.serve(New(Options{Keys: w.Dial(profile), Only: only, Log: slog.New(slog.NewTextHandler(&w.log, nil))}))
	return w
}

func (w *world) serve(s *Service) {
	l, err := localrpc.Listen(localrpc.Socket{Address: w.socket, Group: -1})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	server := localrpc.Server{Methods: s.Methods(), MaxMessage: MaxMessage, Timeout: time.Minute, Log: slog.New(slog.DiscardHandler)}
	go func() { ended <- server.Serve(ctx, l) }()
	w.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	})
}

// vault is a key of sops's Vault kind.
func vault(address, engine, name string) []byte {
	key := localrpc.AppendBytes(localrpc.AppendBytes(localrpc.AppendBytes(nil, 1, address), 2, engine), 3, name)
	return localrpc.AppendBytes(nil, 5, key)
}

func asked(key []byte, data string) []byte {
	return localrpc.AppendBytes(localrpc.AppendBytes(nil, 1, key), 2, data)
}

func (w *world) call(path string, message []byte) (string, error) {
	answer, err := localrpc.Call(w.t.Context(), w.socket, path, message)
	if err != nil {
		return "", err
	}
	var out []byte
	err = localrpc.Decode(answer, map[int]localrpc.Field{1: localrpc.Bytes(&out)})
	return string(out), err
}

func (w *world) refuses(what string, err error, code localrpc.Code) {
	w.t.Helper()
	if got, ok := errors.AsType[*localrpc.Error](err); !ok || got.Code != code {
		w.t.Errorf("%s: %v, want code %d", what, err, code)
	}
}

func TestWrapAndUnwrap(t *testing.T) {
	w := newWorld(t)
	for _, key := range [][]byte{
		vault("claviger://local", "files", "prod"), vault("claviger://local", "files/deep", "er"), vault("claviger://", ".", "toplevel"),
	} {
		sealed, err := w.call(PathEncrypt, asked(key, dataKey))
		if err != nil || !strings.HasPrefix(sealed, "claviger:") || strings.ContainsAny(sealed, "\n\x00 ") {
			t.Fatalf("Encrypt = %q, %v", sealed, err)
		}
		w.Rotate("files/prod")
		if got, err := w.call(PathDecrypt, asked(key, sealed)); err != nil || got != dataKey {
			t.Errorf("Decrypt = %q, %v", got, err)
		}
		_, err = w.call(PathDecrypt, asked(vault("claviger://local", "files", "other"), sealed))
		w.refuses("under another key's name", err, localrpc.NotFound)
		_, err = w.call(PathDecrypt, asked(key, sealed[:len(sealed)-4]+"AAAA"))
		w.refuses("changed", err, localrpc.InvalidArgument)
	}
	if strings.Contains(w.log.String(), "canary") {
		t.Error("the log holds a data key")
	}
}

// TestOtherKinds: what isn't ours is refused by name, whatever it is called.
func TestOtherKinds(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		key  []byte
		code localrpc.Code
		says string
	}{
		"Vault":       {vault("https://vault.example", "files", "prod"), localrpc.NotOffered, "key of Vault"},
		"no address":  {vault("", "files", "prod"), localrpc.NotOffered, "key of Vault"},
		"AWS":         {localrpc.AppendBytes(nil, 1, localrpc.AppendBytes(nil, 1, "arn:aws:kms:x")), localrpc.NotOffered, "AWS KMS"},
		"age":         {localrpc.AppendBytes(nil, 6, localrpc.AppendBytes(nil, 1, "age1x")), localrpc.NotOffered, "age"},
		"two":         {append(vault("claviger://local", "files", "prod"), localrpc.AppendBytes(nil, 6, "x")...), localrpc.InvalidArgument, "2 keys"},
		"none":        {nil, localrpc.InvalidArgument, "0 keys"},
		"a new kind":  {localrpc.AppendBytes(nil, 99, "x"), localrpc.InvalidArgument, "0 keys"},
		"no name":     {vault("claviger://local", "files", ""), localrpc.InvalidArgument, "names no key"},
		"a way out":   {vault("claviger://local", "files/..", "prod"), localrpc.InvalidArgument, "names no key"},
		"capitals":    {vault("claviger://local", "files", "PROD"), localrpc.InvalidArgument, "names no key"},
		"forbidden":   {vault("claviger://local", ".", "forbidden"), localrpc.PermissionDenied, "no policy allows it"},
		"not there":   {vault("claviger://local", ".", "nothing"), localrpc.PermissionDenied, "no policy allows it"},
		"key as text": {[]byte("prod"), localrpc.InvalidArgument, "malformed"},
	} {
		_, err := w.call(PathEncrypt, asked(c.key, dataKey))
		w.refuses(name, err, c.code)
		if err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %q doesn't say %q", name, err, c.says)
		}
	}
	if w.Decisions("denied", testkit.ID("ops"), "forbidden") == 0 {
		t.Error("no refusal stands in the server's log")
	}
}

// TestOnly: a service that was started for some keys serves no others.
func TestOnly(t *testing.T) {
	w := newWorld(t, "files/", "other")
	if _, err := w.call(PathEncrypt, asked(vault("claviger://local", "files", "prod"), dataKey)); err != nil {
		t.Error(err)
	}
	_, err := w.call(PathEncrypt, asked(vault("claviger://local", ".", "toplevel"), dataKey))
	w.refuses("another key", err, localrpc.PermissionDenied)
}

// TestDisabled: a key that is switched off opens no file, and says so.
func TestDisabled(t *testing.T) {
	w := newWorld(t)
	key := vault("claviger://local", "files", "prod")
	sealed, err := w.call(PathEncrypt, asked(key, dataKey))
	if err != nil {
		t.Fatal(err)
	}
	w.Propose(authority.KindKeyDisable, authority.KeyRef{ID: w.Key("files/prod").ID, Reason: "test"})
	w.clock.Advance(40 * time.Second)
	_, err = w.call(PathDecrypt, asked(key, sealed))
	w.refuses("Decrypt", err, localrpc.PermissionDenied)
	if err != nil && !strings.Contains(err.Error(), "the key is disabled") {
		t.Error(err)
	}
}

func TestURI(t *testing.T) {
	for key, want := range map[string]string{
		"files/prod": "claviger://local/v1/files/keys/prod", "a/b/c": "claviger://local/v1/a/b/keys/c", "top": "claviger://local/v1/./keys/top",
	} {
		if got := URI(key); got != want {
			t.Errorf("URI(%s) = %s", key, got)
		}
	}
}

func TestLimits(t *testing.T) {
	w := newWorld(t)
	key := vault("claviger://local", "files", "prod")
	for name, c := range map[string]struct {
		path    string
		message []byte
		code    localrpc.Code
	}{
		"plaintext":    {PathEncrypt, asked(key, strings.Repeat("x", 2000)), localrpc.InvalidArgument},
		"ciphertext":   {PathDecrypt, asked(key, "claviger:"+strings.Repeat("A", 5000)), localrpc.InvalidArgument},
		"not ours":     {PathDecrypt, asked(key, "vault:v1:AAAA"), localrpc.InvalidArgument},
		"no base64":    {PathDecrypt, asked(key, "claviger:%%%%"), localrpc.InvalidArgument},
		"with a line":  {PathDecrypt, asked(key, "claviger:AA\nAA"), localrpc.InvalidArgument},
		"message":      {PathEncrypt, asked(key, strings.Repeat("x", MaxMessage)), localrpc.ResourceExhausted},
		"key twice":    {PathEncrypt, append(asked(key, "x"), localrpc.AppendBytes(nil, 1, key)...), localrpc.InvalidArgument},
		"other method": {"/KeyService/Rotate", nil, localrpc.NotOffered},
	} {
		_, err := w.call(c.path, c.message)
		w.refuses(name, err, c.code)
	}
}

// mute are keys that nobody gives.
type mute struct{}

func (mute) SealField(context.Context, string, []byte, client.EncryptOptions) ([]byte, error) {
	return nil, client.ErrUnavailable
}

func (mute) OpenField(context.Context, []byte, client.DecryptOptions) ([]byte, client.Opened, error) {
	return nil, client.Opened{}, client.ErrUnavailable
}

func (mute) Freshness() client.Freshness { return client.Freshness{} }

// FuzzMessages: whatever comes over the socket, the answer is a refusal and no panic.
func FuzzMessages(f *testing.F) {
	s := New(Options{Keys: mute{}, Log: slog.New(slog.DiscardHandler)})
	f.Add(asked(vault("claviger://local", "files", "prod"), "claviger:AAAA"))
	f.Add(asked(localrpc.AppendBytes(nil, 1, "x"), ""))
	f.Add([]byte{0x0a, 0x02, 0x2a})
	f.Fuzz(func(t *testing.T, message []byte) {
		for path, method := range s.Methods() {
			if _, err := method(t.Context(), message); err == nil {
				t.Errorf("%s answers", path)
			} else if _, ok := errors.AsType[*localrpc.Error](err); !ok && !errors.Is(err, localrpc.ErrMessage) {
				t.Errorf("%s: %v is no refusal", path, err)
			}
		}
	})
}

// TestProbe: the probe takes the steps of sops, and says which one fails.
func TestProbe(t *testing.T) {
	w := newWorld(t)
	for _, key := range []string{"files/prod", "files/deep/er", "toplevel"} {
		checks := Probe(t.Context(), w.clock, w.socket, key)
		for _, c := range checks {
			if c.Err != nil || c.Note == "" {
				t.Errorf("%s: %+v", key, c)
			}
		}
		if len(checks) != 2 {
			t.Errorf("%d checks", len(checks))
		}
	}
	if checks := Probe(t.Context(), w.clock, w.socket, "forbidden"); len(checks) != 1 || checks[0].Err == nil {
		t.Errorf("of a forbidden key: %+v", checks)
	}
}
