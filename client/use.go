// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"claviger/client/internal/ways"
	"claviger/internal/wire"
)

// Limits of the calls that a server answers without a release.
const (
	maxKeysAnswer = 4 << 20
	maxUseAnswer  = 8 << 20
)

// KeyInfo is a key that this client may use.
type KeyInfo struct {
	Name       string   `json:"name"`
	ID         string   `json:"id"` // hexadecimal
	Algorithm  string   `json:"algorithm"`
	Version    uint64   `json:"version"` // the current one
	Operations []string `json:"operations"`
}

// Keys lists the keys that this client may use, in the server's order. The answer
// is as true as the pinned connection; it is not signed and pins nothing.
func (c *Client) Keys(ctx context.Context) ([]KeyInfo, error) {
	if c.isClosed() {
		return nil, ErrClosed
	}
	c.renewIfDue(ctx)
	data, err := c.net.Call(ctx, http.MethodGet, "/v1/keys", nil, maxKeysAnswer)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	var answer struct {
		Schema int       `json:"schema"`
		Keys   []KeyInfo `json:"keys"`
	}
	if err := json.Unmarshal(data, &answer); err != nil || answer.Schema != schema {
		return nil, fmt.Errorf("list keys: %w", ways.Unavailable(wire.ErrMalformed))
	}
	return answer.Keys, nil
}

// UseItem is one operation that a server does with a key that doesn't leave it.
type UseItem struct {
	// Operation is encrypt, decrypt, sign, verify, mac, verify-mac or public-key.
	Operation string `json:"op"`
	Key       string `json:"key"`               // path name
	Version   uint64 `json:"version,omitempty"` // 0 = the current one
	Partition []byte `json:"partition,omitempty"`
	Context   []byte `json:"context,omitempty"`
	// Scheme chooses a signature scheme where the key's algorithm has several, such
	// as "rsa-pss-sha256"; empty means the server's first.
	Scheme string `json:"scheme,omitempty"`

	Plaintext  []byte `json:"plaintext,omitempty"`  // encrypt
	Ciphertext []byte `json:"ciphertext,omitempty"` // decrypt: a field
	Message    []byte `json:"message,omitempty"`    // sign, verify, mac, verify-mac
	Signature  []byte `json:"signature,omitempty"`  // verify
	MAC        []byte `json:"mac,omitempty"`        // verify-mac
}

// UseResult is the result of the UseItem of the same index. Which fields are
// filled depends on the operation.
type UseResult struct {
	Key        string `json:"key"`
	ID         string `json:"id"`
	Version    uint64 `json:"version"`
	Ciphertext []byte `json:"ciphertext,omitempty"`
	Plaintext  []byte `json:"plaintext,omitempty"`
	Signature  []byte `json:"signature,omitempty"`
	MAC        []byte `json:"mac,omitempty"`
	PublicKey  []byte `json:"public_key,omitempty"` // PKIX DER
	Verified   bool   `json:"verified,omitempty"`   // whether verify or verify-mac found it right
	Err        error  `json:"-"`                    // why this item failed: a *DeniedError or another
}

type useError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// MaxUseItems is how many items one Use takes.
const MaxUseItems = 256

// Use has a server do operations with keys that stay there: up to MaxUseItems,
// each with its own result or error. Data goes to the server and comes back over the
// pinned connection.
func (c *Client) Use(ctx context.Context, items []UseItem) ([]UseResult, error) {
	if c.isClosed() {
		return nil, ErrClosed
	}
	if len(items) == 0 || len(items) > MaxUseItems {
		return nil, fmt.Errorf("use keys: %d items, want 1 to %d", len(items), MaxUseItems)
	}
	c.renewIfDue(ctx)
	body, err := json.Marshal(map[string]any{"items": items})
	if err != nil {
		return nil, fmt.Errorf("use keys: %w", err)
	}
	data, err := c.net.Call(ctx, http.MethodPost, "/v1/use", body, maxUseAnswer)
	if err != nil {
		return nil, fmt.Errorf("use keys: %w", err)
	}
	var answer struct {
		Items []struct {
			UseResult
			Error *useError `json:"error"`
		} `json:"items"`
	}
	if err := json.Unmarshal(data, &answer); err != nil || len(answer.Items) != len(items) {
		return nil, fmt.Errorf("use keys: %w", ways.Unavailable(wire.ErrMalformed))
	}
	out := make([]UseResult, len(items))
	for i, got := range answer.Items {
		out[i] = got.UseResult
		if got.Error != nil {
			out[i] = UseResult{Err: c.useFailure(items[i], *got.Error)}
		}
	}
	return out, nil
}

// useFailure is the error of one item.
func (c *Client) useFailure(item UseItem, e useError) error {
	if e.Code == "denied" {
		return &DeniedError{Client: c.profile.Client, Operation: item.Operation, Key: item.Key, Reason: e.Message}
	}
	return fmt.Errorf("%s with key %s: %s: %s", item.Operation, item.Key, e.Code, e.Message)
}
