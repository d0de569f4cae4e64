// SPDX-License-Identifier: Apache-2.0

// Package leased is what the services of a local socket have in common that use the
// keys of the SDK: keys leased to this process, so that wrapping and unwrapping go on
// while no key server can be reached, for as long as lease and staleness bound allow.
//
//   - [Keys] is the part of *client.Client that they use.
//   - [Within] bounds how long a call waits for a server: briefly if a lease is at
//     hand, because its caller waits for seconds only.
//   - [Refusal] is what a caller hears of an error of the SDK.
//
// It decides nothing: who may use a key is decided by the key server, when it leases.
package leased

import (
	"context"
	"errors"
	"time"

	"claviger/client"
	"claviger/envelope"
	"claviger/internal/gateway/localrpc"
)

// Keys is *client.Client.
type Keys interface {
	SealField(ctx context.Context, key string, plaintext []byte, o client.EncryptOptions) ([]byte, error)
	OpenField(ctx context.Context, ciphertext []byte, o client.DecryptOptions) ([]byte, client.Opened, error)
	Freshness() client.Freshness
}

const (
	// atHand is for how long a call may ask servers if a lease is at hand that counts:
	// callers such as the Kubernetes API server wait 3 s in all.
	atHand = 1500 * time.Millisecond
	// spare is what is left of a caller's time for the answer.
	spare = 250 * time.Millisecond
)

// Use is what a call does with a key.
type Use struct {
	Key, Operation string // "encrypt" or "decrypt"
	Version        uint64 // 0: whichever
}

// Within bounds a use of a key whose leases are among those of f. The SDK then goes on
// with what is at hand, if it counts, when time is over.
func Within(ctx context.Context, f client.Freshness, u Use) (context.Context, context.CancelFunc) {
	for _, k := range f.Keys {
		fits := k.Key == u.Key && k.Operation == u.Operation && (u.Version == 0 || k.Version == u.Version) && len(k.Partition) == 0
		if fits && k.Lease > 0 && k.Staleness > 0 {
			return context.WithTimeout(ctx, atHand)
		}
	}
	if end, ok := ctx.Deadline(); ok {
		return context.WithDeadline(ctx, end.Add(-spare))
	}
	return context.WithCancel(ctx)
}

// Refusal is what the caller of a socket hears of an error. It names the key and why,
// which are no secret to who may open the socket.
func Refusal(err error) *localrpc.Error {
	if r, ok := errors.AsType[*localrpc.Error](err); ok {
		return r
	}
	if d, ok := errors.AsType[*client.DeniedError](err); ok {
		if d.Reason == noVersion {
			return localrpc.Errorf(localrpc.NotFound, "%s: %s", d.Key, d.Reason)
		}
		return localrpc.Errorf(localrpc.PermissionDenied, "%s", d)
	}
	for _, row := range rows() {
		if errors.Is(err, row.err) {
			return localrpc.Errorf(row.code, "%s", row.text)
		}
	}
	return localrpc.Errorf(localrpc.Internal, "the key could not be used; the log says more")
}

// noVersion is a key server's reason.
const noVersion = "the key has no such version"

type row struct {
	err  error
	code localrpc.Code
	text string
}

// rows is searched in order: what is more certain stands first.
func rows() []row {
	return []row{
		{client.ErrIntegrity, localrpc.Internal, "a key server or relay doesn't tell the truth; the log says more"},
		{client.ErrRollback, localrpc.Internal, "a key server shows an older state than one seen before; the log says more"},
		{client.ErrUnexpectedKey, localrpc.NotFound, "this is of another key than the one expected"},
		{client.ErrCompromised, localrpc.PermissionDenied, "the key version is compromised"},
		{client.ErrStale, localrpc.Unavailable, "no key server has said recently enough that the key may be used"},
		{client.ErrUnavailable, localrpc.Unavailable, "no key server gave an answer"},
		{client.ErrClosed, localrpc.Unavailable, "this service is ending"},
		{envelope.ErrVersion, localrpc.InvalidArgument, "the ciphertext is of another format"},
		{envelope.ErrFormat, localrpc.InvalidArgument, "the ciphertext is malformed"},
		{envelope.ErrNoKey, localrpc.NotFound, "this is of another key than the one expected"},
		{envelope.ErrIntegrity, localrpc.InvalidArgument, "the ciphertext was changed, or is of another place"},
		{context.DeadlineExceeded, localrpc.DeadlineExceeded, "the key was not to be had in time"},
		{context.Canceled, localrpc.Canceled, "the call was given up"},
	}
}
