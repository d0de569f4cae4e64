// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"fmt"
	"net/http"

	"golang.org/x/sync/errgroup"

	"claviger/internal/keyserver"
	"claviger/internal/wire"
)

// Bounds of a batch of server-side operations.
const (
	maxUseItems = 256
	useAtOnce   = 32
)

// useItem is one item of POST /v1/use; bytes are base64.
type useItem struct {
	Op         string `json:"op"`
	Key        string `json:"key,omitempty"`
	Version    uint64 `json:"version,omitempty"`
	Partition  []byte `json:"partition,omitempty"`
	Context    []byte `json:"context,omitempty"`
	Scheme     string `json:"scheme,omitempty"`
	Plaintext  []byte `json:"plaintext,omitempty"`
	Ciphertext []byte `json:"ciphertext,omitempty"`
	Message    []byte `json:"message,omitempty"`
	Signature  []byte `json:"signature,omitempty"`
	MAC        []byte `json:"mac,omitempty"`
}

// useResult answers the item of the same index: a result or an error.
type useResult struct {
	Key        string    `json:"key,omitempty"`
	ID         string    `json:"id,omitempty"`
	Version    uint64    `json:"version,omitempty"`
	Ciphertext []byte    `json:"ciphertext,omitempty"`
	Plaintext  []byte    `json:"plaintext,omitempty"`
	Signature  []byte    `json:"signature,omitempty"`
	MAC        []byte    `json:"mac,omitempty"`
	PublicKey  []byte    `json:"public_key,omitempty"`
	Verified   *bool     `json:"verified,omitempty"`
	Error      *apiError `json:"error,omitempty"`
}

func useKeys(c *call) error {
	var in struct {
		Items []useItem `json:"items"`
	}
	if err := decodeJSON(c.data, &in); err != nil {
		return err
	}
	if len(in.Items) == 0 || len(in.Items) > maxUseItems {
		return fmt.Errorf("%w: 1 to %d items", keyserver.ErrMalformed, maxUseItems)
	}
	request := wire.Sum("use", c.data)
	leave, err := c.core.Admit()
	if err != nil {
		return err
	}
	defer leave()
	out, err := c.useAll(request, in.Items)
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, map[string]any{"schema": 1, "items": out})
	return nil
}

// useAll works on several items at once, so that one sync of the audit log
// covers them together. An error is that of the whole request.
func (c *call) useAll(request wire.Hash, items []useItem) ([]useResult, error) {
	out := make([]useResult, len(items))
	var whole errgroup.Group
	whole.SetLimit(useAtOnce)
	for i, item := range items {
		whole.Go(func() error {
			a, err := c.core.Do(c.Context(), c.caller, item.asOp(request, uint64(i)))
			if errors.Is(err, keyserver.ErrUnavailable) || errors.Is(err, keyserver.ErrUnproved) || errors.Is(err, keyserver.ErrSealed) {
				return err
			}
			if err != nil {
				status, e := classify(err)
				if status == http.StatusInternalServerError {
					c.server.logger.Error("Request failed", "error", err)
				}
				out[i].Error = &e
				return nil
			}
			out[i] = resultOf(item.Op, a.(*keyserver.Used))
			return nil
		})
	}
	return out, whole.Wait()
}

func (i useItem) asOp(request wire.Hash, index uint64) *keyserver.Use {
	op := &keyserver.Use{
		Operation: i.Op, Request: request, Index: index, Context: i.Context, Scheme: i.Scheme, Route: "native",
		Item: wire.Item{Name: i.Key, Version: i.Version, Partition: i.Partition},
	}
	switch i.Op {
	case "encrypt":
		op.Input = i.Plaintext
	case "decrypt":
		op.Input = i.Ciphertext
	case "verify":
		op.Input, op.Proof = i.Message, i.Signature
	case "verify-mac":
		op.Input, op.Proof = i.Message, i.MAC
	default:
		op.Input = i.Message
	}
	return op
}

func resultOf(operation string, u *keyserver.Used) useResult {
	r := useResult{Key: u.Key, ID: u.ID.String(), Version: u.Version}
	switch operation {
	case "encrypt":
		r.Ciphertext = u.Output
	case "decrypt":
		r.Plaintext = u.Output
	case "sign":
		r.Signature = u.Output
	case "mac":
		r.MAC = u.Output
	case "public-key":
		r.PublicKey = u.Output
	default:
		r.Verified = &u.Verified
	}
	return r
}
