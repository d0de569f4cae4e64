// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// Status is what the server says of itself, as JSON: its members are documented
// with `claviger status`. It is the server's word and no more.
func (s *Session) Status(ctx context.Context) (json.RawMessage, error) {
	data, err := s.call(ctx, request{method: http.MethodGet, target: "/v1/admin/status", limit: maxAnswer})
	if err != nil {
		return nil, err
	}
	if !json.Valid(data) {
		return nil, fmt.Errorf("%w: its status is no JSON", ErrIntegrity)
	}
	return bytes.TrimSpace(data), nil
}

// AuditLeaf is one leaf of a server's audit log as the server shows it.
type AuditLeaf struct {
	Log   uint64          `json:"log"`
	Index uint64          `json:"index"`
	Leaf  json.RawMessage `json:"leaf"`
}

// AuditQuery says which leaves are wanted.
type AuditQuery struct {
	Log  uint64 // 0: the newest log
	From int64  // index of the first; below 0 counts from the end
	N    int    // at most
}

// Audit reads leaves of the server's audit log. They are shown, not proved:
// Export and package audit do that.
func (s *Session) Audit(ctx context.Context, q AuditQuery) ([]AuditLeaf, error) {
	v := url.Values{"n": {strconv.Itoa(q.N)}}
	if q.Log > 0 {
		v.Set("log", strconv.FormatUint(q.Log, 10))
	}
	if q.From != 0 {
		v.Set("from", strconv.FormatInt(q.From, 10))
	}
	data, err := s.call(ctx, request{method: http.MethodGet, target: "/v1/admin/audit?" + v.Encode(), limit: 8 * maxAnswer})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Leaves []AuditLeaf `json:"leaves"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, fmt.Errorf("%w: its audit log: %w", ErrIntegrity, err)
	}
	return answer.Leaves, nil
}

// Export copies the server's audit archive to w (package audit checks it).
func (s *Session) Export(ctx context.Context, w io.Writer) (int64, error) {
	return s.copy(ctx, w, request{method: http.MethodGet, target: "/v1/admin/audit/export"})
}

// Backup lets the server make a backup and copies it to w. The log lists it.
func (s *Session) Backup(ctx context.Context, w io.Writer) (int64, error) {
	return s.copy(ctx, w, request{method: http.MethodPost, target: "/v1/admin/backup", write: true})
}

func (s *Session) copy(ctx context.Context, w io.Writer, r request) (int64, error) {
	body, err := s.stream(ctx, r)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	n, err := io.Copy(w, body)
	if err != nil {
		return n, fmt.Errorf("receive: %w", err)
	}
	return n, nil
}
