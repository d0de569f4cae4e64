// SPDX-License-Identifier: Apache-2.0

package kacls

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"claviger/internal/authn"
	"claviger/internal/gateway"
	"claviger/internal/secret"
	"claviger/internal/strictjson"
)

const (
	migration = 5 * time.Minute // for how long another service believes us
	maxGiven  = 4 << 10         // bytes of its answer
)

// rewrap fetches a key from the service that wrapped it, and wraps it itself.
func (d *door) rewrap(ctx context.Context, r *asked) (*gateway.Response, error) {
	g, caller, err := d.google(ctx, r, roleMigrator)
	if err != nil {
		return nil, err
	}
	// Security: nothing but what the record names is ever asked, letter by letter: a
	// request can't make this server ask others (T-95).
	old := strings.TrimSuffix(r.Original, "/")
	if !slices.Contains(d.peers, old) {
		return nil, forbidden("the record names no such key service")
	}
	r.Note("from", old)
	if _, err := binary("wrapped_key", r.Wrapped, maxWrapped); err != nil {
		return nil, err
	}
	t := thing{label: labelDocument, name: g.resource, perimeter: g.perimeter}
	if t.key, err = d.fetch(ctx, caller, r, old, g.resource); err != nil {
		return nil, err
	}
	defer secret.Wipe(t.key)
	hash := resourceKeyHash(t.key, t.name, t.perimeter)
	wrapped, err := d.seal(ctx, caller, r, t)
	if err != nil {
		return nil, err
	}
	return d.answer(r.Request.Request, keyHash{hash, wrapped}, false)
}

// fetch has another service unwrap a key of its.
func (d *door) fetch(ctx context.Context, caller *authn.Caller, r *asked, old, resource string) ([]byte, error) {
	now := d.site.Clock.Now()
	token, err := d.token(ctx, caller, r, map[string]any{
		"iss": d.url, "aud": audienceMigration, "iat": now.Unix(), "exp": now.Add(migration).Unix(),
		"kacls_url": old, "resource_name": resource,
	})
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]string{
		"authentication": token, "reason": r.Reason, "resource_name": resource, "wrapped_key": r.Wrapped,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: encode a request", gateway.ErrInternal)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, old+"/privilegedunwrap", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: make a request", gateway.ErrInternal)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := d.client.Do(req)
	if err != nil {
		d.site.Logger.Warn("Another key service can't be reached", "url", old, "error", err)
		return nil, errElsewhere("the other key service can't be reached")
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxGiven+1))
	defer secret.Wipe(data)
	var given struct {
		Key string `json:"key"`
	}
	switch {
	case err != nil || len(data) > maxGiven:
		return nil, errElsewhere("the other key service's answer did not come whole, or is too long")
	case resp.StatusCode != http.StatusOK:
		return nil, errElsewhere(fmt.Sprintf("the other key service answers %d", resp.StatusCode))
	case strictjson.DecodeForeign(data, &given, true) != nil:
		return nil, errElsewhere("the other key service's answer is malformed")
	}
	key, err := binary("key", given.Key, maxKey)
	if err != nil {
		return nil, errElsewhere("the other key service's answer holds no key")
	}
	return key, nil
}

func errElsewhere(details string) *failure {
	return &failure{http.StatusBadGateway, "The other key service failed", details}
}
