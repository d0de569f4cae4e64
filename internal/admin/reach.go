// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// Reach asks at which relays and directories the server stands, and for the send
// token that opens its mailbox there. Nobody signed the answer: what it leads to
// proves itself or is of no use.
func (s *Session) Reach(ctx context.Context) (addresses []string, token []byte, err error) {
	data, err := s.call(ctx, request{method: http.MethodGet, target: "/v1/admin/reach", limit: maxAnswer})
	if err != nil {
		return nil, nil, err
	}
	var answer struct {
		Addresses []string `json:"addresses"`
		SendToken []byte   `json:"send_token"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, nil, fmt.Errorf("%w: its answer about relays: %w", ErrIntegrity, err)
	}
	return answer.Addresses, answer.SendToken, nil
}
