// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"claviger/internal/authority"
	"claviger/internal/policy"
)

// maxStatus and maxLeaves bound answers in JSON; pageLeaves is how many leaves a
// server shows at once.
const (
	maxStatus  = 1 << 20
	maxLeaves  = 32 << 20
	pageLeaves = 1000
)

// Status is what a server says of itself and of the domain. It is the server's
// word: what the log says is in Session.State.
type Status struct {
	Server  string `json:"server"`
	Epoch   string `json:"epoch"`
	Head    string `json:"head"`
	Strict  bool   `json:"strict"`
	Erasure uint64 `json:"erasure_epoch"`
	Audit   struct {
		Log     uint64 `json:"log"`
		Leaves  uint64 `json:"leaves"`
		GivenUp string `json:"given_up"`
	} `json:"audit"`
	Protection  string `json:"memory_protection"` // memfd_secret, mlock or none
	Unprotected int    `json:"unprotected_bytes"`
	Root        struct {
		Kind string `json:"kind"` // passphrase, shares or key file
		Need int    `json:"need"` // of shares: how many open it
		Of   int    `json:"of"`
	} `json:"root"`
	Standing int      `json:"standing_requests"`
	Forks    []string `json:"contradicting_servers"` // ids
	Problems []string `json:"problems"`
}

// Status asks the server how it is.
func (s *Session) Status(ctx context.Context) (*Status, error) {
	data, err := s.call(ctx, request{method: http.MethodGet, target: "/v1/admin/status", limit: maxStatus})
	if err != nil {
		return nil, err
	}
	var out Status
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, fmt.Errorf("%w: its status: %w", ErrIntegrity, err)
	}
	return &out, nil
}

// Leaf is one leaf of a server's audit log as the server shows it. docs/audit.md
// explains the fields.
type Leaf struct {
	Log        uint64   `json:"log"`
	Index      uint64   `json:"index"`
	Time       string   `json:"time"` // RFC 3339, UTC
	Kind       string   `json:"kind"`
	Caller     string   `json:"caller,omitempty"`
	Action     string   `json:"action,omitempty"`
	Operations []string `json:"operations,omitempty"`
	Resource   string   `json:"resource,omitempty"`
	KeyID      string   `json:"key_id,omitempty"`
	Version    uint64   `json:"version,omitempty"`
	Purpose    string   `json:"purpose,omitempty"`
	Partition  []byte   `json:"partition,omitempty"` // base64
	Route      string   `json:"route,omitempty"`
	Stated     string   `json:"stated_reason,omitempty"`
	Epoch      string   `json:"epoch"`
	Decision   string   `json:"decision,omitempty"`
	Reason     string   `json:"reason,omitempty"`
	Policies   []string `json:"policies,omitempty"`
	PolicySet  string   `json:"policy_set,omitempty"`
	KC         string   `json:"kc,omitempty"`
	Lease      uint64   `json:"lease_seconds,omitempty"`
	Of         string   `json:"outcome_of,omitempty"`
	Count      uint64   `json:"count,omitempty"`
	Request    string   `json:"request,omitempty"`

	Attributes *Attributes `json:"attributes,omitempty"` // what the decision knew of a subject
}

// Attributes are what a decision knew of an endpoint's subject: what its credential
// proved and what the door said of the request.
type Attributes struct {
	Principal string            `json:"principal"`
	Proved    map[string]any    `json:"proved,omitempty"` // texts, and lists of texts
	Asked     map[string]string `json:"asked,omitempty"`
}

// Leaves reads up to n leaves of the server's audit log from an index on. They
// are shown, not proved: Export and package audit do that.
func (s *Session) Leaves(ctx context.Context, log, from uint64, n int) ([]Leaf, error) {
	target := "/v1/admin/audit?log=" + strconv.FormatUint(log, 10) + "&from=" + strconv.FormatUint(from, 10) + "&n=" + strconv.Itoa(n)
	data, err := s.call(ctx, request{method: http.MethodGet, target: target, limit: maxLeaves})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Leaves []Leaf `json:"leaves"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, fmt.Errorf("%w: its audit log: %w", ErrIntegrity, err)
	}
	return answer.Leaves, nil
}

// Recent reads the newest leaves, up to n, oldest first. Reading is recorded too:
// what it adds itself is left out, or it would never come to an end.
func (s *Session) Recent(ctx context.Context, n int) ([]Leaf, error) {
	status, err := s.Status(ctx)
	if err != nil {
		return nil, err
	}
	end := status.Audit.Leaves
	var out []Leaf
	for from := end - min(uint64(n), end); from < end; {
		page, err := s.Leaves(ctx, status.Audit.Log, from, int(min(end-from, pageLeaves)))
		if err != nil {
			return nil, err
		}
		if len(page) == 0 || page[0].Index < from {
			break
		}
		out, from = append(out, page...), page[len(page)-1].Index+1
	}
	return out, nil
}

// UseRequest is the question whether somebody may do action with a key, as a key
// server puts it. The caller sets the context.
func UseRequest(who policy.Principal, action string, key *authority.Key) policy.Request {
	res := policy.Resource{Type: "Key", Name: key.Name, Attributes: map[string]any{"algorithm": key.Algorithm}}
	if level := map[string]int64{"software": 1, "tpm": 2, "tee": 3}[key.Settings.Attestation]; level > 0 {
		res.Attributes["attestation"] = level
	}
	for _, t := range key.Settings.Tags {
		if res.Tags == nil {
			res.Tags = map[string]string{}
		}
		res.Tags[t.Name] = t.Value
	}
	return policy.Request{Principal: who, Action: action, Resource: res}
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

// Health asks one address, without believing it, what it says of itself: "ok",
// "sealed" or "failing".
func Health(ctx context.Context, address string) (string, error) {
	client := newHTTP(anyServer())
	defer client.CloseIdleConnections()
	data, err := get(ctx, client, "https://"+address+"/v1/health", maxStatus)
	if err != nil {
		return "", err
	}
	var answer struct {
		Status string `json:"status"`
	}
	if err := json.Unmarshal(bytes.TrimSpace(data), &answer); err != nil || answer.Status == "" {
		return "", fmt.Errorf("%w: no key server answers at %s", ErrUnreachable, address)
	}
	return answer.Status, nil
}
