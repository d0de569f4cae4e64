// SPDX-License-Identifier: Apache-2.0

package k8skms

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"

	"claviger/internal/clock"
	"claviger/internal/gateway/leased"
	"claviger/internal/gateway/localrpc"
	"claviger/internal/secret"
)

// Probe asks the plugin at a socket what an API server asks it: for its status, to wrap
// a seed, to unwrap it. A step that another one needs is left out when that failed.
func Probe(ctx context.Context, c clock.Clock, socket string) []leased.Check {
	var keyID string
	var sealed wrapped
	seed := make([]byte, 32)
	rand.Read(seed)
	defer secret.Wipe(seed)
	steps := []struct {
		name string
		do   func() (string, error)
	}{
		{"status", func() (note string, err error) {
			keyID, err = askStatus(ctx, socket)
			return keyID, err
		}},
		{"encrypt", func() (note string, err error) {
			if sealed, err = askEncrypt(ctx, socket, seed); err == nil && sealed.keyID != keyID {
				err = fmt.Errorf("encrypt names %s and status %s: an API server would go on with its old seed", sealed.keyID, keyID)
			}
			return fmt.Sprintf("%d bytes", len(sealed.ciphertext)), err
		}},
		{"decrypt", func() (string, error) {
			got, err := askDecrypt(ctx, socket, sealed)
			defer secret.Wipe(got)
			if err == nil && subtle.ConstantTimeCompare(got, seed) != 1 {
				err = errProbe
			}
			return "the same seed", err
		}},
	}
	var out []leased.Check
	for _, s := range steps {
		check := leased.Try(c, s.name, s.do)
		out = append(out, check)
		if check.Err != nil {
			break
		}
	}
	return out
}

func askStatus(ctx context.Context, socket string) (keyID string, err error) {
	answer, err := localrpc.Call(ctx, socket, PathStatus, nil)
	if err != nil {
		return "", err
	}
	var s status
	fields := map[int]localrpc.Field{1: localrpc.String(&s.version), 2: localrpc.String(&s.healthz), 3: localrpc.String(&s.keyID)}
	if err := localrpc.Decode(answer, fields); err != nil {
		return "", err
	}
	if s.version != apiVersion {
		return "", fmt.Errorf("the plugin speaks version %q", s.version)
	}
	if s.healthz != healthy {
		return "", errors.New(s.healthz)
	}
	return s.keyID, nil
}

func askEncrypt(ctx context.Context, socket string, seed []byte) (out wrapped, err error) {
	request := localrpc.AppendBytes(localrpc.AppendBytes(nil, 1, seed), 2, "probe")
	defer secret.Wipe(request)
	answer, err := localrpc.Call(ctx, socket, PathEncrypt, request)
	if err != nil {
		return out, err
	}
	out.annotations = map[string][]byte{}
	err = localrpc.Decode(answer, map[int]localrpc.Field{1: localrpc.Bytes(&out.ciphertext), 2: localrpc.String(&out.keyID), 3: {Many: true, Take: func(entry []byte) error {
		return readAnnotation(entry, out.annotations)
	}}})
	return out, err
}

func askDecrypt(ctx context.Context, socket string, s wrapped) (seed []byte, err error) {
	request := localrpc.AppendBytes(localrpc.AppendBytes(nil, 1, s.ciphertext), 2, "probe")
	request = localrpc.AppendBytes(request, 3, s.keyID)
	for name, value := range s.annotations {
		request = localrpc.AppendBytes(request, 4, localrpc.AppendBytes(localrpc.AppendBytes(nil, 1, name), 2, value))
	}
	answer, err := localrpc.Call(ctx, socket, PathDecrypt, request)
	if err != nil {
		return nil, err
	}
	err = localrpc.Decode(answer, map[int]localrpc.Field{1: localrpc.Bytes(&seed)})
	return seed, err
}
