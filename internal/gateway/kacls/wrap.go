// SPDX-License-Identifier: Apache-2.0

package kacls

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"claviger/internal/authn"
	"claviger/internal/gateway"
	"claviger/internal/keyserver"
	"claviger/internal/secret"
	"claviger/internal/wire"
)

// What a wrapped key is.
const (
	labelDocument = "document key" // named by its resource
	labelPrivate  = "private key"  // named by the hash of its public half, in Base64
)

const formatOne = 1

// thing is a key that is wrapped: of a kind, and whose.
type thing struct {
	label, name string
	perimeter   string
	key         []byte
}

// bound is the context of a wrapped key:
//
//	"claviger kacls" ‖ length of label (1) ‖ label ‖ length of name (1) ‖ name
func bound(label, name string) []byte {
	out := append([]byte("claviger kacls"), byte(len(label)))
	out = append(out, label...)
	out = append(out, byte(len(name)))
	return append(out, name...)
}

// pack is what is encrypted: format (1) ‖ length of perimeter (1) ‖ perimeter ‖ key.
func (t *thing) pack() []byte {
	out := make([]byte, 0, 2+len(t.perimeter)+len(t.key))
	out = append(out, formatOne, byte(len(t.perimeter)))
	out = append(out, t.perimeter...)
	return append(out, t.key...)
}

var errPacked = errors.New("it is no key of this door")

// unpack reads it; the key lies within packed.
func (t *thing) unpack(packed []byte) error {
	if len(packed) < 2 || packed[0] != formatOne || len(packed) <= 2+int(packed[1]) {
		return errPacked
	}
	n := 2 + int(packed[1])
	t.perimeter, t.key = string(packed[2:n]), packed[n:]
	return nil
}

// inPerimeter holds that data may lie in perimeters.
func (d *door) inPerimeter(ids ...string) error {
	for _, id := range ids {
		if d.perimeters != nil && !slices.Contains(d.perimeters, id) {
			return forbidden("the data lies outside of the perimeter")
		}
	}
	return nil
}

// use has a key used, with what is known of every request.
func (d *door) use(ctx context.Context, caller *authn.Caller, r *asked, op *keyserver.Use) (*keyserver.Used, error) {
	op.Route, op.Reason, op.Request = d.site.Endpoint.Kind, r.Reason, wire.Sum("kacls request", r.Body)
	a, err := d.site.Do(ctx, caller, op)
	if err != nil {
		return nil, err
	}
	used, ok := a.(*keyserver.Used)
	if !ok {
		return nil, fmt.Errorf("%w: no result", gateway.ErrInternal)
	}
	return used, nil
}

// seal wraps a key.
func (d *door) seal(ctx context.Context, caller *authn.Caller, r *asked, t thing) ([]byte, error) {
	if err := d.inPerimeter(t.perimeter); err != nil {
		return nil, err
	}
	packed := t.pack()
	defer secret.Wipe(packed)
	used, err := d.use(ctx, caller, r, &keyserver.Use{
		Operation: "encrypt", Item: wire.Item{Name: d.key}, Input: packed, Context: bound(t.label, t.name),
	})
	if err != nil {
		return nil, err
	}
	return used.Output, nil
}

// open unwraps a key into t, whose label and name say which it has to be. The caller
// wipes the key.
func (d *door) open(ctx context.Context, caller *authn.Caller, r *asked, t *thing, wrapped []byte) error {
	used, err := d.use(ctx, caller, r, &keyserver.Use{
		Operation: "decrypt", Item: wire.Item{Name: d.key}, Input: wrapped, Context: bound(t.label, t.name),
	})
	if errors.Is(err, keyserver.ErrMalformed) {
		return invalid("the wrapped key is not of this key service, or not of this resource")
	}
	if err != nil {
		return err
	}
	if err := t.unpack(used.Output); err != nil {
		secret.Wipe(used.Output)
		return invalid("the wrapped key is not of this key service, or not of this resource")
	}
	if err := d.inPerimeter(t.perimeter); err != nil {
		secret.Wipe(used.Output)
		return err
	}
	return nil
}

type wrappedKey struct {
	Wrapped []byte `json:"wrapped_key"`
}

type plainKey struct {
	Key []byte `json:"key"`
}

// wrap wraps a document's key for a user who writes it.
func (d *door) wrap(ctx context.Context, r *asked) (*gateway.Response, error) {
	g, caller, err := d.user(ctx, r, roleWriter, roleUpgrader)
	if err != nil {
		return nil, err
	}
	return d.wrapFor(ctx, caller, r, thing{label: labelDocument, name: g.resource, perimeter: g.perimeter})
}

// privilegedWrap is wrap for imports: an admin says which resource it is.
func (d *door) privilegedWrap(ctx context.Context, r *asked) (*gateway.Response, error) {
	caller, err := d.admin(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := d.resource(r); err != nil {
		return nil, err
	}
	return d.wrapFor(ctx, caller, r, thing{label: labelDocument, name: r.Resource, perimeter: r.Perimeter})
}

// resource holds that a request names one.
func (d *door) resource(r *asked) error {
	r.Note("resource", r.Resource)
	if !named(r.Resource, false) || !named(r.Perimeter, true) {
		return invalid("resource_name or perimeter_id is missing, or longer than 128 bytes")
	}
	return nil
}

func (d *door) wrapFor(ctx context.Context, caller *authn.Caller, r *asked, t thing) (*gateway.Response, error) {
	var err error
	if t.key, err = binary("key", r.Key, maxKey); err != nil {
		return nil, err
	}
	defer secret.Wipe(t.key)
	wrapped, err := d.seal(ctx, caller, r, t)
	if err != nil {
		return nil, err
	}
	return d.answer(r.Request.Request, wrappedKey{wrapped}, false)
}

// unwrap gives a document's key to a user who reads it.
func (d *door) unwrap(ctx context.Context, r *asked) (*gateway.Response, error) {
	g, caller, err := d.user(ctx, r, roleReader, roleWriter)
	if err != nil {
		return nil, err
	}
	if g.perimeter != "" {
		if err := d.inPerimeter(g.perimeter); err != nil {
			return nil, err
		}
	}
	return d.unwrapFor(ctx, caller, r, g.resource)
}

// privilegedUnwrap gives it to an admin who exports, or to another service that it
// moves to.
func (d *door) privilegedUnwrap(ctx context.Context, r *asked) (*gateway.Response, error) {
	judge := d.admin
	if slices.Contains(d.peers, issuer(r.Authentication)) {
		judge = d.peer
	}
	caller, err := judge(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := d.resource(r); err != nil {
		return nil, err
	}
	return d.unwrapFor(ctx, caller, r, r.Resource)
}

func (d *door) unwrapFor(ctx context.Context, caller *authn.Caller, r *asked, resource string) (*gateway.Response, error) {
	wrapped, err := binary("wrapped_key", r.Wrapped, maxWrapped)
	if err != nil {
		return nil, err
	}
	t := thing{label: labelDocument, name: resource}
	if err := d.open(ctx, caller, r, &t, wrapped); err != nil {
		return nil, err
	}
	defer secret.Wipe(t.key)
	return d.answer(r.Request.Request, plainKey{t.key}, true)
}

type keyHash struct {
	Hash    []byte `json:"resource_key_hash"`
	Wrapped []byte `json:"wrapped_key,omitempty"`
}

// resourceKeyHash lets Google compare keys that it doesn't know.
func resourceKeyHash(key []byte, resource, perimeter string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("ResourceKeyDigest:" + resource + ":" + perimeter))
	return h.Sum(nil)
}

// digest says which key a wrapped one is, to Google, and not the key.
func (d *door) digest(ctx context.Context, r *asked) (*gateway.Response, error) {
	g, caller, err := d.google(ctx, r, roleVerifier)
	if err != nil {
		return nil, err
	}
	wrapped, err := binary("wrapped_key", r.Wrapped, maxWrapped)
	if err != nil {
		return nil, err
	}
	t := thing{label: labelDocument, name: g.resource}
	if err := d.open(ctx, caller, r, &t, wrapped); err != nil {
		return nil, err
	}
	defer secret.Wipe(t.key)
	return d.answer(r.Request.Request, keyHash{Hash: resourceKeyHash(t.key, g.resource, t.perimeter)}, false)
}
