// SPDX-License-Identifier: Apache-2.0

package k8skms

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"claviger/client"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/gateway/localrpc"
	"claviger/internal/testkit"
)

const key = "k8s/prod"

// world is a domain with one key, and a plugin that may use it, on a socket.
type world struct {
	*testkit.Domain
	t       *testing.T
	clock   *clock.Manual
	profile *client.Profile
	plugin  *Plugin
	socket  string
	log     *logged
}

// logged is a log that several write to.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func newWorld(t *testing.T) *world { return newWorldWith(t, testkit.Options{}) }

func newWorldWith(t *testing.T, o testkit.Options) *world {
	t.Helper()
	w := &world{t: t, clock: clock.NewManual(time.Now()), log: &logged{}}
	o.Clock = w.clock
	w.Domain = testkit.New(t, o)
	w.CreateKey(key, authority.AES256)
	w.profile = w.Enroll("apiserver")
	w.Allow(testkit.ID("apiserver"), key)
	w.restart()
	return w
}

// restart begins the plugin anew, on a new socket: without any lease.
func (w *world) restart() {
	w.t.Helper()
	w.plugin, w.socket = w.beside()
}

func (w *world) beside() (*Plugin, string) {
	w.t.Helper()
	log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	plugin := New(Options{Keys: w.Dial(w.profile), Key: key, Log: log})
	socket := filepath.Join(w.t.TempDir(), "s")
	l, err := localrpc.Listen(localrpc.Socket{Address: socket, Group: -1})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	server := localrpc.Server{Methods: plugin.Methods(), MaxMessage: MaxMessage, Timeout: time.Minute, Log: log}
	go func() { ended <- server.Serve(ctx, l) }()
	w.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	})
	return plugin, socket
}

// status asks for Status.
func (w *world) status() (s status) {
	w.t.Helper()
	answer, err := localrpc.Call(w.t.Context(), w.socket, PathStatus, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	fields := map[int]localrpc.Field{1: localrpc.String(&s.version), 2: localrpc.String(&s.healthz), 3: localrpc.String(&s.keyID)}
	if err := localrpc.Decode(answer, fields); err != nil || s.version != "v2" {
		w.t.Fatalf("status %+v, %v", s, err)
	}
	return s
}

// seal asks for Encrypt.
func (w *world) seal(plain string) (out wrapped, err error) {
	request := localrpc.AppendBytes(localrpc.AppendBytes(nil, 1, plain), 2, "uid-1")
	answer, err := localrpc.Call(w.t.Context(), w.socket, PathEncrypt, request)
	if err != nil {
		return out, err
	}
	out.annotations = map[string][]byte{}
	err = localrpc.Decode(answer, map[int]localrpc.Field{1: localrpc.Bytes(&out.ciphertext), 2: localrpc.String(&out.keyID), 3: {Many: true, Take: func(entry []byte) error {
		var name string
		var value []byte
		err := localrpc.Decode(entry, map[int]localrpc.Field{1: localrpc.String(&name), 2: localrpc.Bytes(&value)})
		out.annotations[name] = value
		return err
	}}})
	return out, err
}

func (w *world) mustSeal(plain string) wrapped {
	w.t.Helper()
	out, err := w.seal(plain)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (s wrapped) request() []byte {
	out := localrpc.AppendBytes(localrpc.AppendBytes(nil, 1, s.ciphertext), 2, "uid-2")
	out = localrpc.AppendBytes(out, 3, s.keyID)
	for name, value := range s.annotations {
		out = localrpc.AppendBytes(out, 4, localrpc.AppendBytes(localrpc.AppendBytes(nil, 1, name), 2, value))
	}
	return out
}

// open asks for Decrypt.
func (w *world) open(s wrapped) (string, error) {
	answer, err := localrpc.Call(w.t.Context(), w.socket, PathDecrypt, s.request())
	if err != nil {
		return "", err
	}
	var plain []byte
	err = localrpc.Decode(answer, map[int]localrpc.Field{1: localrpc.Bytes(&plain)})
	return string(plain), err
}

// refuses wants an error with a code.
func (w *world) refuses(what string, err error, code localrpc.Code) {
	w.t.Helper()
	if got, ok := errors.AsType[*localrpc.Error](err); !ok || got.Code != code {
		w.t.Errorf("%s: %v, want code %d", what, err, code)
	}
}
