// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"claviger/internal/authority/endpoints"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// PutMaterial has the server keep what a credential of an endpoint is made of,
// and gives the hash by which the endpoint's record names it. It travels inside
// TLS to the server that the domain vouches for, in no record and no file.
func (s *Session) PutMaterial(ctx context.Context, m *secret.Bytes) (wire.Hash, error) {
	data, err := s.call(ctx, request{
		method: http.MethodPost, target: "/v1/admin/material", body: m.Expose(), write: true, limit: maxAnswer,
	})
	if err != nil {
		return wire.Hash{}, err
	}
	var answer struct {
		Hash string `json:"hash"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return wire.Hash{}, fmt.Errorf("%w: its answer to a credential: %w", ErrIntegrity, err)
	}
	// Security: what people are about to sign is what they made.
	h := endpoints.MaterialHash(m.Expose())
	if answer.Hash != h.String() {
		return wire.Hash{}, fmt.Errorf("%w: it keeps another credential than it was given", ErrIntegrity)
	}
	return h, nil
}
