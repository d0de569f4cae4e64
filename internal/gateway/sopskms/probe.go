// SPDX-License-Identifier: Apache-2.0

package sopskms

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"net/url"
	"strings"

	"claviger/internal/clock"
	"claviger/internal/gateway/leased"
	"claviger/internal/gateway/localrpc"
	"claviger/internal/secret"
)

// Probe asks the key service at a socket what sops asks it: to wrap a data key with a
// key, and to unwrap it.
func Probe(ctx context.Context, c clock.Clock, socket, key string) []leased.Check {
	dataKey := make([]byte, 32)
	rand.Read(dataKey)
	defer secret.Wipe(dataKey)
	var sealed []byte
	check := leased.Try(c, "encrypt", func() (note string, err error) {
		sealed, err = ask(ctx, socket, PathEncrypt, key, dataKey)
		return fmt.Sprintf("%d characters", len(sealed)), err
	})
	if check.Err != nil {
		return []leased.Check{check}
	}
	return []leased.Check{check, leased.Try(c, "decrypt", func() (string, error) {
		got, err := ask(ctx, socket, PathDecrypt, key, sealed)
		defer secret.Wipe(got)
		if err == nil && subtle.ConstantTimeCompare(got, dataKey) != 1 {
			err = errProbe
		}
		return "the same data key", err
	})}
}

// ask sends a request as sops makes it of a key's URI.
func ask(ctx context.Context, socket, path, key string, data []byte) ([]byte, error) {
	u, err := url.Parse(URI(key))
	if err != nil {
		return nil, fmt.Errorf("write %s as a URI: %w", key, err)
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	engine, name := strings.Join(parts[1:len(parts)-2], "/"), parts[len(parts)-1]
	vault := localrpc.AppendBytes(localrpc.AppendBytes(localrpc.AppendBytes(nil, 1, scheme+u.Host), 2, engine), 3, name)
	request := localrpc.AppendBytes(localrpc.AppendBytes(nil, 1, localrpc.AppendBytes(nil, 5, vault)), 2, data)
	defer secret.Wipe(request)
	answer, err := localrpc.Call(ctx, socket, path, request)
	if err != nil {
		return nil, err
	}
	var out []byte
	err = localrpc.Decode(answer, map[int]localrpc.Field{1: localrpc.Bytes(&out)})
	return out, err
}
