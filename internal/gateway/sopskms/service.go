// SPDX-License-Identifier: Apache-2.0

package sopskms

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"

	"claviger/client"
	"claviger/internal/gateway/leased"
	"claviger/internal/gateway/localrpc"
	"claviger/internal/secret"
)

// Paths of the methods.
const (
	PathEncrypt = "/KeyService/Encrypt"
	PathDecrypt = "/KeyService/Decrypt"
)

// bound is the context of what is sealed here: it opens nowhere else.
const bound = "sops data key\x00"

// Options of a Service.
type Options struct {
	Keys leased.Keys
	// Only are the keys that may be named: path names, or folders that end in "/". None:
	// all that policy permits.
	Only []string
	Log  *slog.Logger
}

// Service wraps and unwraps data keys. It is safe for concurrent use.
type Service struct{ o Options }

// New makes a Service. It asks nobody.
func New(o Options) *Service { return &Service{o} }

// Methods are what is served.
func (s *Service) Methods() map[string]localrpc.Method {
	return map[string]localrpc.Method{PathEncrypt: s.encrypt, PathDecrypt: s.decrypt}
}

func (s *Service) encrypt(ctx context.Context, message []byte) ([]byte, error) {
	r, err := s.read(message)
	if err != nil {
		return nil, err
	}
	if len(r.data) > maxPlaintext {
		return nil, localrpc.Errorf(localrpc.InvalidArgument, "at most %d bytes can be wrapped", maxPlaintext)
	}
	out, err := s.seal(ctx, r.key, r.data)
	s.log("encrypt", r.key, err)
	if err != nil {
		return nil, leased.Refusal(err)
	}
	return localrpc.AppendBytes(nil, 1, out), nil
}

func (s *Service) decrypt(ctx context.Context, message []byte) ([]byte, error) {
	r, err := s.read(message)
	if err != nil {
		return nil, err
	}
	plain, err := s.open(ctx, r.key, r.data)
	defer secret.Wipe(plain)
	s.log("decrypt", r.key, err)
	if err != nil {
		return nil, leased.Refusal(err)
	}
	return localrpc.AppendBytes(nil, 1, plain), nil
}

// read reads a request for a key that may be named.
func (s *Service) read(message []byte) (request, error) {
	r, err := read(message)
	if err == nil && !s.offers(r.key) {
		err = localrpc.Errorf(localrpc.PermissionDenied, "this key service was not started for %s", r.key)
	}
	return r, err
}

func (s *Service) offers(key string) bool {
	for _, o := range s.o.Only {
		if o == key || strings.HasSuffix(o, "/") && strings.HasPrefix(key, o) {
			return true
		}
	}
	return len(s.o.Only) == 0
}

func (s *Service) seal(ctx context.Context, key string, plain []byte) ([]byte, error) {
	ctx, cancel := leased.Within(ctx, s.o.Keys.Freshness(), leased.Use{Key: key, Operation: "encrypt"})
	defer cancel()
	field, err := s.o.Keys.SealField(ctx, key, plain, client.EncryptOptions{Context: []byte(bound)})
	if err != nil {
		return nil, err
	}
	return write(field), nil
}

func (s *Service) open(ctx context.Context, key string, ciphertext []byte) ([]byte, error) {
	field, err := readText(ciphertext)
	if err != nil {
		return nil, err
	}
	ctx, cancel := leased.Within(ctx, s.o.Keys.Freshness(), leased.Use{Key: key, Operation: "decrypt"})
	defer cancel()
	plain, _, err := s.o.Keys.OpenField(ctx, field, client.DecryptOptions{Keys: []string{key}, Context: []byte(bound)})
	return plain, err
}

// log writes a line for each data key.
func (s *Service) log(what, key string, err error) {
	if err != nil {
		s.o.Log.Warn(what+" failed", "key", key, "error", err.Error())
		return
	}
	s.o.Log.Info(what, "key", key)
}

var errProbe = errors.New("what was sealed opens as something else")

// Check seals and opens a test value with a key, as Encrypt and Decrypt do.
func (s *Service) Check(ctx context.Context, key string) error {
	probe := []byte("claviger")
	sealed, err := s.seal(ctx, key, probe)
	if err != nil {
		return err
	}
	plain, err := s.open(ctx, key, sealed)
	if err != nil {
		return err
	}
	if !bytes.Equal(plain, probe) {
		return errProbe
	}
	return nil
}
