// SPDX-License-Identifier: Apache-2.0

package k8skms

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"claviger/client"
	"claviger/envelope"
	"claviger/internal/gateway/leased"
	"claviger/internal/gateway/localrpc"
	"claviger/internal/secret"
)

const (
	apiVersion = "v2"
	healthy    = "ok"

	// The annotation of a ciphertext, and its one value so far.
	annotation = "format.claviger.internal"
	format     = "1"

	// service is the protocol's name for itself.
	service = "/v2.KeyManagementService/"
)

// Paths of the methods.
const (
	PathStatus  = service + "Status"
	PathEncrypt = service + "Encrypt"
	PathDecrypt = service + "Decrypt"
)

// Options of a Plugin.
type Options struct {
	Keys leased.Keys
	Key  string // path name of the key that wraps
	Log  *slog.Logger
}

// Plugin wraps and unwraps with one key. It is safe for concurrent use.
type Plugin struct {
	o Options

	mu    sync.Mutex
	known []sample // versions whose leases are kept, the one used last first
	told  string   // what Status said last
}

// New makes a Plugin. It asks nobody.
func New(o Options) *Plugin { return &Plugin{o: o} }

// Methods are what is served.
func (p *Plugin) Methods() map[string]localrpc.Method {
	return map[string]localrpc.Method{PathStatus: p.status, PathEncrypt: p.encrypt, PathDecrypt: p.decrypt}
}

func annotations() map[string][]byte { return map[string][]byte{annotation: []byte(format)} }

func (p *Plugin) encrypt(ctx context.Context, message []byte) ([]byte, error) {
	r, err := readEncrypt(message)
	if err != nil {
		return nil, err
	}
	if len(r.plaintext) > MaxCiphertext-envelope.FieldOverhead {
		return nil, localrpc.Errorf(localrpc.InvalidArgument, "at most %d bytes can be wrapped", MaxCiphertext-envelope.FieldOverhead)
	}
	out, err := p.wrap(ctx, r.plaintext)
	p.log("encrypt", r.uid, out.keyID, err)
	if err != nil {
		return nil, leased.Refusal(err)
	}
	return out.encode(), nil
}

func (p *Plugin) decrypt(ctx context.Context, message []byte) ([]byte, error) {
	r, err := readDecrypt(message)
	if err != nil {
		return nil, err
	}
	plain, err := p.unwrap(ctx, r)
	defer secret.Wipe(plain)
	p.log("decrypt", r.uid, r.keyID, err)
	if err != nil {
		return nil, leased.Refusal(err)
	}
	return localrpc.AppendBytes(nil, 1, plain), nil
}

func (p *Plugin) status(ctx context.Context, message []byte) ([]byte, error) {
	if err := localrpc.Decode(message, nil); err != nil {
		return nil, err
	}
	out := status{version: apiVersion, healthz: healthy}
	var err error
	if out.keyID, err = p.Check(ctx); err != nil {
		// Security: without a name the API server doesn't prolong the use of its seed.
		out.keyID, out.healthz = "", leased.Refusal(err).Text
	}
	p.tell(out, err)
	return out.encode(), nil
}

// tell logs what Status says when it says something new.
func (p *Plugin) tell(s status, err error) {
	now := s.healthz + s.keyID
	p.mu.Lock()
	changed := p.told != now
	p.told = now
	p.mu.Unlock()
	switch {
	case !changed:
	case err != nil:
		p.o.Log.Error("the key can't be used", "key", p.o.Key, "error", err.Error())
	default:
		p.o.Log.Info("the key can be used", "key", p.o.Key, "key_id", s.keyID)
	}
}

// log writes a line for each seed. The uid is what the API server logs too.
func (p *Plugin) log(what, uid, keyID string, err error) {
	if err != nil {
		p.o.Log.Warn(what+" failed", "uid", line(uid), "key_id", line(keyID), "error", err.Error())
		return
	}
	p.o.Log.Info(what, "uid", line(uid), "key_id", line(keyID))
}

// wrap seals with the current version.
func (p *Plugin) wrap(ctx context.Context, plain []byte) (wrapped, error) {
	ctx, cancel := leased.Within(ctx, p.o.Keys.Freshness(), leased.Use{Key: p.o.Key, Operation: "encrypt"})
	defer cancel()
	out := wrapped{annotations: annotations()}
	var err error
	if out.ciphertext, err = p.o.Keys.SealField(ctx, p.o.Key, plain, client.EncryptOptions{Context: bind(out.annotations)}); err != nil {
		return wrapped{}, err
	}
	ref, err := envelope.InspectField(out.ciphertext)
	if err != nil {
		return wrapped{}, fmt.Errorf("read own ciphertext: %w", err)
	}
	out.keyID = keyID(ref)
	return out, nil
}

// unwrap opens what any version sealed.
func (p *Plugin) unwrap(ctx context.Context, r decryptRequest) ([]byte, error) {
	if !isKeyID(r.keyID) {
		return nil, localrpc.Errorf(localrpc.InvalidArgument, "this key_id is none of this plugin's")
	}
	if got, ok := r.annotations[annotation]; !ok || string(got) != format {
		return nil, localrpc.Errorf(localrpc.InvalidArgument, "the annotations are none of this plugin's")
	}
	ref, err := envelope.InspectField(r.ciphertext)
	if err != nil {
		return nil, err
	}
	// Security: else a key_id that was changed in etcd would go unnoticed.
	if keyID(ref) != r.keyID || ref.HidePartition || len(ref.Partition) > 0 {
		return nil, localrpc.Errorf(localrpc.InvalidArgument, "the ciphertext is not of this key_id")
	}
	plain, err := p.open(ctx, r.ciphertext, r.annotations)
	if err == nil {
		p.remember(r.keyID, r.ciphertext)
	}
	return plain, err
}

func (p *Plugin) open(ctx context.Context, ciphertext []byte, annotations map[string][]byte) ([]byte, error) {
	ref, err := envelope.InspectField(ciphertext)
	if err != nil {
		return nil, err
	}
	ctx, cancel := leased.Within(ctx, p.o.Keys.Freshness(), leased.Use{Key: p.o.Key, Operation: "decrypt", Version: ref.Version})
	defer cancel()
	plain, _, err := p.o.Keys.OpenField(ctx, ciphertext, client.DecryptOptions{Keys: []string{p.o.Key}, Context: bind(annotations)})
	return plain, err
}

var errProbe = errors.New("what was sealed opens as something else")

// Check seals and opens a test value, as Encrypt and Decrypt do, and says with which
// version it sealed, also if it didn't open.
func (p *Plugin) Check(ctx context.Context) (keyID string, err error) {
	probe := []byte("claviger")
	out, err := p.wrap(ctx, probe)
	if err != nil {
		return "", err
	}
	plain, err := p.open(ctx, out.ciphertext, out.annotations)
	if err == nil && !bytes.Equal(plain, probe) {
		err = errProbe
	}
	return out.keyID, err
}
