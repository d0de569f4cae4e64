// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"claviger/internal/keyserver"
	"claviger/internal/root"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

func health(c *call) error {
	status, code := "ok", http.StatusOK
	err := c.server.With(c.Context(), func(_ context.Context, core *keyserver.Core) error { return core.Usable() })
	switch {
	case errors.Is(err, keyserver.ErrSealed):
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
		return keyserver.ErrSealed
	}
	return health(c)
}

func introduction(c *call) error {
	in, err := c.core.Introduction()
	if err != nil {
		return err
	}
	return writeCBOR(c.w, wire.Marshal(in))
}

func statement(c *call) error {
	s, err := c.core.Statement()
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
	if err := c.server.enrolls.Take(c.RemoteAddr); err != nil {
		return err
	}
	answer, err := c.core.Enroll(c.Context(), c.data)
	if err != nil {
		return err
	}
	return writeCBOR(c.w, answer)
}

func listKeys(c *call) error {
	a, err := c.core.Do(c.Context(), c.caller, &keyserver.List{})
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, map[string]any{"schema": 1, "keys": keysOf(a.(*keyserver.Listed))})
	return nil
}

// keyInfo is one key in GET /v1/keys.
type keyInfo struct {
	Name       string   `json:"name"`
	ID         string   `json:"id"` // 16 bytes in hex
	Algorithm  string   `json:"algorithm"`
	Version    uint64   `json:"version"` // the current one
	Operations []string `json:"operations"`
}

func keysOf(l *keyserver.Listed) []keyInfo {
	out := make([]keyInfo, 0, len(l.Keys))
	for _, k := range l.Keys {
		out = append(out, keyInfo{k.Name, k.ID.String(), k.Algorithm, k.Version, k.Operations})
	}
	return out
}

// decodeJSON is strict: unknown fields and trailing data are refused.
func decodeJSON(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: JSON: %w", keyserver.ErrMalformed, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: JSON: something follows the value", keyserver.ErrMalformed)
	}
	return nil
}

func readRecords(c *call) error {
	from, err := number(c, "from", 1)
	if err != nil {
		return err
	}
	a, err := c.core.Do(c.Context(), c.caller, &keyserver.ReadRecords{From: from})
	if err != nil {
		return err
	}
	records := a.(*keyserver.Records).Records
	if records == nil {
		records = []wire.Opened{}
	}
	return writeCBOR(c.w, wire.Marshal(records))
}

func readPending(c *call) error {
	a, err := c.core.Do(c.Context(), c.caller, &keyserver.ReadPending{})
	if err != nil {
		return err
	}
	entries := a.(*keyserver.PendingBodies).Entries
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
	a, err := c.core.Do(c.Context(), c.caller, &keyserver.Propose{Entry: c.data})
	if err != nil {
		return err
	}
	out := a.(*keyserver.Proposed).Outcome
	body := map[string]any{"schema": 1, "applied": out.Applied}
	if note := a.(*keyserver.Proposed).Note; note != "" {
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

// putMaterial takes the bytes as they are; what the route got of them is wiped.
func putMaterial(c *call) error {
	defer secret.Wipe(c.data)
	a, err := c.core.Do(c.Context(), c.caller, &keyserver.PutMaterial{Data: c.data})
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, map[string]any{"schema": 1, "hash": a.(*keyserver.MaterialKept).Hash.String()})
	return nil
}

func readStatus(c *call) error {
	a, err := c.core.Do(c.Context(), c.caller, &keyserver.ReadStatus{})
	if err != nil {
		return err
	}
	info, err := root.Describe(c.server.unseal.dir)
	if err != nil {
		return err
	}
	out := statusOf(a.(*keyserver.Status))
	out.Root = rootStatus{Kind: string(info.Kind), Need: info.Threshold, Of: len(info.Custodians)}
	writeJSON(c.w, http.StatusOK, out)
	return nil
}

func readReach(c *call) error {
	a, err := c.core.Do(c.Context(), c.caller, &keyserver.ReadReach{})
	if err != nil {
		return err
	}
	r := a.(*keyserver.Reach)
	body := map[string]any{"schema": 1, "addresses": append([]string{}, r.Addresses...)}
	if len(r.Token) > 0 {
		body["send_token"] = r.Token
	}
	writeJSON(c.w, http.StatusOK, body)
	return nil
}

func readAudit(c *call) error {
	op := &keyserver.ReadAudit{}
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
	for _, e := range a.(*keyserver.Leaves).Entries {
		leaves = append(leaves, leafOf(e))
	}
	writeJSON(c.w, http.StatusOK, map[string]any{"schema": 1, "leaves": leaves})
	return nil
}

func exportAudit(c *call) error {
	c.w.Header().Set("Content-Type", "application/x-tar")
	return stream(c, &keyserver.ExportAudit{To: c.w})
}

func makeBackup(c *call) error {
	c.w.Header().Set("Content-Type", "application/octet-stream")
	return stream(c, &keyserver.MakeBackup{To: c.w})
}

// stream answers with what an operation writes. If it fails on the way the
// connection is cut, so that nobody takes half of it for the whole.
func stream(c *call, op keyserver.Op) error {
	w := &counter{Writer: c.w}
	switch op := op.(type) {
	case *keyserver.ExportAudit:
		op.To = w
	case *keyserver.MakeBackup:
		op.To = w
	}
	_, err := c.core.Do(c.Context(), c.caller, op)
	if err != nil && w.n > 0 {
		c.server.logger.Error("Stream failed", "error", err)
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
		return 0, fmt.Errorf("%w: %s is not a number", keyserver.ErrMalformed, name)
	}
	return n, nil
}
