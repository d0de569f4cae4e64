// SPDX-License-Identifier: Apache-2.0

package keyserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"golang.org/x/sync/errgroup"

	"claviger/internal/wire"
)

// Bounds of a batch of server-side operations.
const (
	maxUseItems = 256
	useAtOnce   = 32
)

func health(c *call) error {
	status, code := "ok", http.StatusOK
	err := c.server.with(c.Context(), func(_ context.Context, core *Core) error { return core.usable() })
	switch {
	case errors.Is(err, ErrSealed):
		status = "sealed"
	case err != nil:
		status, code = "failing", http.StatusServiceUnavailable
	}
	writeJSON(c.w, code, map[string]any{"schema": 1, "status": status})
	return nil
}

// ready differs from health on a sealed server: it runs as it should, but sends
// nobody there.
func ready(c *call) error {
	if c.server.Sealed() {
		return ErrSealed
	}
	return health(c)
}

func introduction(c *call) error {
	in, err := c.core.own.introduction()
	if err != nil {
		return err
	}
	return writeCBOR(c.w, wire.Marshal(in))
}

func statement(c *call) error {
	s, err := c.core.own.newestStatement()
	if err != nil {
		return err
	}
	return writeCBOR(c.w, s)
}

func exchange(c *call) error {
	answer, err := c.core.Exchange(c.Context(), c.data)
	if err != nil {
		return err
	}
	return writeCBOR(c.w, answer)
}

// enroll is for anyone, so an address is asked to slow down before anything of
// its message is opened.
func enroll(c *call) error {
	if err := c.server.enrolls.take(c.RemoteAddr); err != nil {
		return err
	}
	answer, err := c.core.Enroll(c.Context(), c.data)
	if err != nil {
		return err
	}
	return writeCBOR(c.w, answer)
}

func listKeys(c *call) error {
	a, err := c.core.Do(c.Context(), c.caller, &List{})
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, map[string]any{"schema": 1, "keys": a.(*Listed).Keys})
	return nil
}

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
		return fmt.Errorf("%w: 1 to %d items", ErrMalformed, maxUseItems)
	}
	request := wire.Sum("use", c.data)
	leave, err := admit(c.core.gate.all)
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
			if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnproved) || errors.Is(err, ErrSealed) {
				return err
			}
			if err != nil {
				status, e := classify(err)
				if status == http.StatusInternalServerError {
					c.server.o.Logger.Error("Request failed", "error", err)
				}
				out[i].Error = &e
				return nil
			}
			out[i] = resultOf(item.Op, a.(*Used))
			return nil
		})
	}
	return out, whole.Wait()
}

func (i useItem) asOp(request wire.Hash, index uint64) *Use {
	op := &Use{
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

func resultOf(operation string, u *Used) useResult {
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

// decodeJSON is strict: unknown fields and trailing data are refused.
func decodeJSON(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: JSON: %w", ErrMalformed, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: JSON: something follows the value", ErrMalformed)
	}
	return nil
}

func readRecords(c *call) error {
	from, err := number(c, "from", 1)
	if err != nil {
		return err
	}
	a, err := c.core.Do(c.Context(), c.caller, &ReadRecords{From: from})
	if err != nil {
		return err
	}
	records := a.(*Records).Records
	if records == nil {
		records = []wire.Opened{}
	}
	return writeCBOR(c.w, wire.Marshal(records))
}

func readPending(c *call) error {
	a, err := c.core.Do(c.Context(), c.caller, &ReadPending{})
	if err != nil {
		return err
	}
	entries := a.(*PendingBodies).Entries
	if entries == nil {
		entries = [][]byte{}
	}
	return writeCBOR(c.w, wire.Marshal(entries))
}

// pendingInfo describes a body that waits, in POST /v1/admin/entries.
type pendingInfo struct {
	ID      string   `json:"id"`
	Kind    string   `json:"kind"`
	Signed  []string `json:"signed"`
	Missing string   `json:"missing"`
	Expires int64    `json:"expires"` // Unix milliseconds
}

func postEntry(c *call) error {
	a, err := c.core.Do(c.Context(), c.caller, &Propose{Entry: c.data})
	if err != nil {
		return err
	}
	out := a.(*Proposed).Outcome
	body := map[string]any{"schema": 1, "applied": out.Applied}
	if note := a.(*Proposed).Note; note != "" {
		body["note"] = note
	}
	if out.Applied {
		body["epoch"] = out.Epoch.String()
	}
	if p := out.Pending; p != nil {
		body["pending"] = pendingInfo{p.ID.String(), p.Body.Kind, p.Signed, p.Missing, p.Body.Expires}
	}
	writeJSON(c.w, http.StatusOK, body)
	return nil
}

func readStatus(c *call) error {
	a, err := c.core.Do(c.Context(), c.caller, &ReadStatus{})
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, a)
	return nil
}

func readAudit(c *call) error {
	op := &ReadAudit{}
	var err error
	if op.From.Log, err = number(c, "log", 1); err != nil {
		return err
	}
	if op.From.Index, err = number(c, "from", 0); err != nil {
		return err
	}
	if op.N, err = number(c, "n", 100); err != nil {
		return err
	}
	a, err := c.core.Do(c.Context(), c.caller, op)
	if err != nil {
		return err
	}
	leaves := []LeafInfo{}
	for _, e := range a.(*Leaves).Entries {
		leaves = append(leaves, leafOf(e))
	}
	writeJSON(c.w, http.StatusOK, map[string]any{"schema": 1, "leaves": leaves})
	return nil
}

func exportAudit(c *call) error {
	c.w.Header().Set("Content-Type", "application/x-tar")
	return stream(c, &ExportAudit{To: c.w})
}

func makeBackup(c *call) error {
	c.w.Header().Set("Content-Type", "application/octet-stream")
	return stream(c, &MakeBackup{To: c.w})
}

// stream answers with what an operation writes. If it fails on the way the
// connection is cut, so that nobody takes half of it for the whole.
func stream(c *call, op Op) error {
	w := &counter{Writer: c.w}
	switch op := op.(type) {
	case *ExportAudit:
		op.To = w
	case *MakeBackup:
		op.To = w
	}
	_, err := c.core.Do(c.Context(), c.caller, op)
	if err != nil && w.n > 0 {
		c.server.o.Logger.Error("Stream failed", "error", err)
		panic(http.ErrAbortHandler)
	}
	return err
}

type counter struct {
	io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n += int64(n)
	return n, err
}

func number(c *call, name string, otherwise uint64) (uint64, error) {
	s := c.URL.Query().Get(name)
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %s is not a number", ErrMalformed, name)
	}
	return n, nil
}
