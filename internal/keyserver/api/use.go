// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"net/http"
	"slices"

	"golang.org/x/sync/errgroup"

	"claviger/internal/keyserver"
	"claviger/internal/wire"
)

// maxUseItems bounds a batch of server-side operations.
const maxUseItems = 256

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
	items, err := useItems(c.data)
	if err != nil {
		return err
	}
	if len(items) == 0 || len(items) > maxUseItems {
		return fmt.Errorf("%w: 1 to %d items", keyserver.ErrMalformed, maxUseItems)
	}
	request := wire.Sum("use", c.data)
	leave, err := c.core.Admit()
	if err != nil {
		return err
	}
	defer leave()
	out, err := c.useAll(request, items)
	if err != nil {
		return err
	}
	if data, ok := appendAnswer(make([]byte, 0, 256*len(out)), out); ok {
		write(c.w, "application/json", http.StatusOK, append(data, '\n'))
		return nil
	}
	writeJSON(c.w, http.StatusOK, useAnswer{1, out})
	return nil
}

func useItems(data []byte) ([]useItem, error) {
	if items, ok := plainItems(data); ok {
		return items, nil
	}
	var in struct {
		Items []useItem `json:"items"`
	}
	err := decodeJSON(data, &in)
	return in.Items, err
}

// useAnswer is the answer to POST /v1/use.
type useAnswer struct {
	Schema int         `json:"schema"`
	Items  []useResult `json:"items"`
}

// useAll has the items done, as many together as the choke point takes, and those
// groups at once, so that few syncs of the audit log cover them all. An error is
// that of the whole request.
func (c *call) useAll(request wire.Hash, items []useItem) ([]useResult, error) {
	out := make([]useResult, len(items))
	if len(items) <= keyserver.MaxTogether {
		return out, c.useTogether(request, 0, items, out)
	}
	var whole errgroup.Group
	first := 0
	for group := range slices.Chunk(items, keyserver.MaxTogether) {
		at := first
		whole.Go(func() error { return c.useTogether(request, at, group, out[at:]) })
		first += len(group)
	}
	return out, whole.Wait()
}

// useTogether does some items, of which the first is that of the given index in
// the request, and fills in their results.
func (c *call) useTogether(request wire.Hash, first int, items []useItem, out []useResult) error {
	op := &keyserver.UseAll{Uses: make([]*keyserver.Use, len(items))}
	for i := range items {
		op.Uses[i] = items[i].asOp(request, uint64(first+i))
	}
	a, err := c.core.Do(c.Context(), c.caller, op)
	if err != nil {
		return err
	}
	for i, r := range a.(*keyserver.UsedAll).Results {
		if r.Err == nil {
			out[i] = resultOf(items[i].Op, r.Used)
			continue
		}
		status, e := classify(r.Err)
		if status == http.StatusInternalServerError {
			c.server.logger.Error("Request failed", "error", r.Err)
		}
		out[i].Error = &e
	}
	return nil
}

func (i *useItem) asOp(request wire.Hash, index uint64) *keyserver.Use {
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
