// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"claviger/internal/gateway/vaultapi/call"
	"claviger/internal/keyserver/secretwork"
	"claviger/internal/secret"
	"claviger/internal/secrets"
)

// read gives a version's data: GET data.
func (m *Mount) read(ctx context.Context, c *call.Call) (*call.Reply, error) {
	out, err := m.find(ctx, c)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(out.Data)
	return versionReply("data", out, out.Data)
}

// find reads the version that a query names.
func (m *Mount) find(ctx context.Context, c *call.Call) (*secretwork.Result, error) {
	if err := noPath(c, false); err != nil {
		return nil, err
	}
	op := m.ask(c, secretwork.Read)
	var err error
	if op.Version, err = number(c, "version"); err != nil {
		return nil, err
	}
	return m.do(ctx, c, op)
}

// versionReply is data, or what is left of it, with what there is to say of its
// version; 404 if it is deleted or destroyed.
func versionReply(name string, out *secretwork.Result, data []byte) (*call.Reply, error) {
	about, err := json.Marshal(sayVersion(out))
	if err != nil {
		return nil, err
	}
	status := 0
	if data == nil {
		status, data = http.StatusNotFound, []byte("null")
	}
	raw := bytes.NewBuffer(make([]byte, 0, len(data)+len(about)+64))
	raw.WriteString(`{"` + name + `":`)
	raw.Write(data)
	raw.WriteString(`,"metadata":`)
	raw.Write(about)
	raw.WriteString(`}`)
	return &call.Reply{Status: status, Raw: raw.Bytes(), Secret: true}, nil
}

// subkeys gives the names in a version's data without its values: GET subkeys.
func (m *Mount) subkeys(ctx context.Context, c *call.Call) (*call.Reply, error) {
	depth, err := number(c, "depth")
	if err != nil {
		return nil, err
	}
	out, err := m.find(ctx, c)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(out.Data)
	var names []byte
	if out.Data != nil {
		if names, err = secrets.Subkeys(out.Data, int(min(depth, 1000))); err != nil {
			return nil, err
		}
	}
	return versionReply("subkeys", out, names)
}

// body is that of a new version.
type body struct {
	Data    json.RawMessage `json:"data"`
	Options json.RawMessage `json:"options"`
}

// change reads the body of a new version into an operation; the caller wipes its
// data.
func (m *Mount) change(c *call.Call, o secretwork.Operation) (*secretwork.Ask, error) {
	var b body
	err := c.Decode(&b)
	switch {
	case err != nil:
	case len(b.Data) == 0 || string(b.Data) == "null":
		err = call.Bad("no data provided")
	case !isObject(b.Data):
		err = call.Bad("Field validation failed: error converting input for field \"data\"")
	}
	op := m.ask(c, o)
	op.Data = b.Data
	if err == nil {
		op.CAS, err = cas(b.Options)
	}
	if err != nil {
		secret.Wipe(b.Data)
		return nil, err
	}
	return &op.Ask, nil
}

// cas is the word on which version is changed.
func cas(options json.RawMessage) (secrets.CAS, error) {
	if len(options) == 0 || string(options) == "null" {
		return nil, nil
	}
	if !isObject(options) {
		return nil, call.Bad("Field validation failed: error converting input for field \"options\"")
	}
	var o struct {
		CAS json.RawMessage `json:"cas"`
	}
	if err := json.Unmarshal(options, &o); err != nil {
		return nil, call.Bad("failed to parse JSON input")
	}
	if o.CAS == nil || string(o.CAS) == "null" {
		return nil, nil
	}
	text := string(o.CAS)
	if plain, err := strconv.Unquote(text); err == nil && text[0] == '"' {
		text = plain
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, call.Bad("error parsing check-and-set parameter")
	}
	if n < 0 {
		return nil, call.Bad("check-and-set parameter did not match the current version")
	}
	return new(uint64(n)), nil
}

// write adds a version: POST data.
func (m *Mount) write(ctx context.Context, c *call.Call) (*call.Reply, error) {
	if err := noPath(c, true); err != nil {
		return nil, err
	}
	return m.add(ctx, c, secretwork.Put)
}

// patch adds a version with a merge patch applied: PATCH data.
func (m *Mount) patch(ctx context.Context, c *call.Call) (*call.Reply, error) {
	if err := mergePatch(c); err != nil {
		return nil, err
	}
	if err := noPath(c, true); err != nil {
		return nil, err
	}
	return m.add(ctx, c, secretwork.Patch)
}

func (m *Mount) add(ctx context.Context, c *call.Call, o secretwork.Operation) (*call.Reply, error) {
	op, err := m.change(c, o)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(op.Data)
	out, err := m.doAsk(ctx, c, op)
	if gone, ok := errors.AsType[*secretwork.Gone](err); ok {
		return &call.Reply{Status: http.StatusNotFound, Data: sayVersion(gone.Result)}, nil
	}
	if err != nil {
		return nil, err
	}
	return &call.Reply{Data: sayVersion(out)}, nil
}

// remove deletes the newest version: DELETE data.
func (m *Mount) remove(ctx context.Context, c *call.Call) (*call.Reply, error) {
	if err := noPath(c, true); err != nil {
		return nil, err
	}
	_, err := m.do(ctx, c, m.ask(c, secretwork.Delete))
	return nil, err
}

// versions deletes, undeletes or destroys versions: POST delete, undelete, destroy.
func (m *Mount) versions(o secretwork.Operation) func(context.Context, *call.Call) (*call.Reply, error) {
	return func(ctx context.Context, c *call.Call) (*call.Reply, error) {
		if err := noPath(c, true); err != nil {
			return nil, err
		}
		var b struct {
			Versions json.RawMessage `json:"versions"`
		}
		if err := c.Decode(&b); err != nil {
			return nil, err
		}
		op := m.ask(c, o)
		var err error
		if op.Versions, err = numbers(b.Versions); err != nil {
			return nil, err
		}
		_, err = m.do(ctx, c, op)
		return nil, err
	}
}
