// SPDX-License-Identifier: Apache-2.0

package kes

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"claviger/internal/authority"
	"claviger/internal/gateway"
	"claviger/internal/keyserver"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// create makes a key, where policy permits key:create.
func (d *door) create(ctx context.Context, c *call) (*gateway.Response, error) {
	_, err := do[*keyserver.Done](ctx, d, c, &keyserver.CreateKey{Name: c.name, Algorithm: authority.AES256, Route: name})
	if errors.Is(err, keyserver.ErrRefused) {
		return nil, failure{http.StatusBadRequest, "key already exists"} // a name once used stays taken
	}
	return nothing(err)
}

// nothing is the answer that has none.
func nothing(err error) (*gateway.Response, error) {
	if err != nil {
		return nil, err
	}
	return &gateway.Response{}, nil
}

// importKey refuses, once the request is one.
func (d *door) importKey(_ context.Context, c *call) (*gateway.Response, error) {
	if _, err := parseImport(c.Request); err != nil {
		return nil, err
	}
	return nil, failure{http.StatusNotImplemented, "import is not supported: keys are derived under the customer's root and never come from outside"}
}

// remove disables a key, where policy permits key:retire.
func (d *door) remove(ctx context.Context, c *call) (*gateway.Response, error) {
	_, err := do[*keyserver.Done](ctx, d, c, &keyserver.RetireKey{Name: c.name, Route: name})
	if errors.Is(err, keyserver.ErrRefused) {
		return nil, noKey // or it is disabled already
	}
	return nothing(err)
}

// describe tells what a key is, to whoever may use it.
func (d *door) describe(ctx context.Context, c *call) (*gateway.Response, error) {
	a, err := do[*keyserver.Described](ctx, d, c, &keyserver.Describe{Name: c.name, Route: name})
	if err != nil {
		return nil, err
	}
	algorithm := "" // of MACs: KES has no name for a key that is for nothing else
	switch a.Algorithm {
	case authority.AES256:
		algorithm = "AES256"
	case authority.HMACSHA:
	default:
		return nil, failure{http.StatusConflict, "the key is of a kind that KES doesn't know"}
	}
	return reply(struct {
		Name      string    `json:"name"`
		ID        string    `json:"id"`
		Algorithm string    `json:"algorithm,omitempty"`
		CreatedAt time.Time `json:"created_at"`
		CreatedBy string    `json:"created_by"`
	}{c.PathValue("name"), a.ID.String(), algorithm, a.Created.UTC(), ""}, false)
}

// maxListed names are what an answer of the size that clients take holds.
const maxListed = 10_000

// list names the keys that the client may use now.
func (d *door) list(ctx context.Context, c *call) (*gateway.Response, error) {
	prefix, ok := listPrefix(c.PathValue("pattern"))
	if !ok {
		return nil, failure{http.StatusBadRequest, "the listing pattern is too long or has other characters than 0-9, A-Z, a-z, - and _, and * at the end"}
	}
	a, err := do[*keyserver.Listed](ctx, d, c, &keyserver.List{})
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, k := range a.Keys {
		foreign, inside := strings.CutPrefix(k.Name, d.site.Option(gateway.OptionFolder))
		if inside && validName(foreign) && strings.HasPrefix(foreign, prefix) && k.Algorithm == authority.AES256 {
			names = append(names, foreign)
		}
	}
	if len(names) > maxListed {
		return nil, failure{http.StatusBadRequest, "there are more keys than one answer holds: list with a longer pattern"}
	}
	slices.Sort(names)
	return reply(struct {
		Names []string `json:"names"`
	}{names}, false)
}

// listPrefix is what names begin with that a pattern means.
func listPrefix(pattern string) (string, bool) {
	prefix := strings.TrimSuffix(pattern, "*")
	return prefix, prefix == "" || validName(strings.Trim(prefix, "-")) && len(prefix) <= maxName
}

// generate makes a data key and seals it.
func (d *door) generate(ctx context.Context, c *call) (*gateway.Response, error) {
	m, err := parseGenerate(c.Request)
	if err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	defer secret.Wipe(key)
	rand.Read(key)
	used, err := d.use(ctx, c, "encrypt", key, m.Context)
	if err != nil {
		return nil, err
	}
	return reply(struct {
		Plaintext  []byte `json:"plaintext"`
		Ciphertext []byte `json:"ciphertext"`
		Version    string `json:"version"`
	}{key, used.Output, versionText(used.Version)}, true)
}

// encrypt seals what the client brings.
func (d *door) encrypt(ctx context.Context, c *call) (*gateway.Response, error) {
	m, err := parseEncrypt(c.Request)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(m.Plaintext)
	used, err := d.use(ctx, c, "encrypt", m.Plaintext, m.Context)
	if err != nil {
		return nil, err
	}
	return reply(struct {
		Ciphertext []byte `json:"ciphertext"`
		Version    string `json:"version"`
	}{used.Output, versionText(used.Version)}, false)
}

// decrypt opens a ciphertext of this key, of the version that the client names if it
// names one.
func (d *door) decrypt(ctx context.Context, c *call) (*gateway.Response, error) {
	m, err := parseDecrypt(c.Request)
	if err != nil {
		return nil, err
	}
	used, err := d.use(ctx, c, "decrypt", m.Ciphertext, m.Context)
	if errors.Is(err, keyserver.ErrMalformed) {
		return nil, errDecrypt
	}
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(used.Output)
	if m.Version != "" && m.Version != versionText(used.Version) {
		return nil, errDecrypt
	}
	return reply(struct {
		Plaintext []byte `json:"plaintext"`
	}{used.Output}, true)
}

var errDecrypt = failure{http.StatusBadRequest, "decryption failed: ciphertext is not authentic"}

// hmac computes a MAC with a key that is for MACs.
func (d *door) hmac(ctx context.Context, c *call) (*gateway.Response, error) {
	m, err := parseHMAC(c.Request)
	if err != nil {
		return nil, err
	}
	used, err := d.use(ctx, c, "mac", m.Message, nil)
	if gateway.FailureOf(err) == gateway.KeyState { // it is for something else
		return nil, failure{http.StatusConflict, "key does not support HMAC"}
	}
	if err != nil {
		return nil, err
	}
	return reply(struct {
		Sum     []byte `json:"hmac"`
		Version string `json:"version"`
	}{used.Output, versionText(used.Version)}, true)
}

// use has the key used once.
func (d *door) use(ctx context.Context, c *call, operation string, input, bound []byte) (*keyserver.Used, error) {
	return do[*keyserver.Used](ctx, d, c, &keyserver.Use{
		Operation: operation, Item: wire.Item{Name: c.name}, Request: wire.Sum("kes", []byte(c.URL.Path), c.Body),
		Input: input, Context: bound, Route: name,
	})
}

func versionText(n uint64) string { return "v" + strconv.FormatUint(n, 10) }
