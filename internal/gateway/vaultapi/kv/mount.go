// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"claviger/internal/authority"
	"claviger/internal/gateway/vaultapi/call"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/secretwork"
	"claviger/internal/secrets"
	"claviger/internal/wire"
)

// OptionPrefix begins the names of options that make mounts: "kv.secret" is the
// mount "secret". Their value is the name of the key that backs it.
const OptionPrefix = "kv."

// Mount is one engine at one place.
type Mount struct{ at, key string }

// New reads the options of an endpoint.
func New(options []authority.Tag) ([]*Mount, error) {
	var out []*Mount
	for _, o := range options {
		at, ok := strings.CutPrefix(o.Name, OptionPrefix)
		if !ok {
			continue
		}
		if !wire.ValidNamePart(at) || !wire.ValidKeyName(o.Value) {
			return nil, fmt.Errorf("%s: after kv. stands the mount, a word of lower-case letters, digits, dots, dashes and underlines, and its value is the name of a key", o.Name)
		}
		if slices.ContainsFunc(out, func(m *Mount) bool { return m.key == o.Value }) {
			return nil, fmt.Errorf("%s: another mount has the key %s", o.Name, o.Value)
		}
		out = append(out, &Mount{at, o.Value})
	}
	return out, nil
}

// At is the mount's path, without slashes around it.
func (m *Mount) At() string { return m.at }

// Key is the name of the key that backs the mount.
func (m *Mount) Key() string { return m.key }

// maxBody is that of data: the data, and what stands around it.
const maxBody = secrets.MaxData + 64<<10

// Routes are all that the mount answers.
func (m *Mount) Routes() []call.Route {
	route := func(name string, op call.Op, path string, h func(context.Context, *call.Call) (*call.Reply, error)) call.Route {
		return call.Route{Name: "kv-" + name, Op: op, Path: "/" + m.at + path, Handle: h}
	}
	large := func(r call.Route) call.Route { r.Limit = maxBody; return r }
	return []call.Route{
		route("read", call.Read, "/data/{path...}", m.read),
		large(route("write", call.Write, "/data/{path...}", m.write)),
		large(route("patch", call.Patch, "/data/{path...}", m.patch)),
		route("delete", call.Delete, "/data/{path...}", m.remove),
		route("delete-versions", call.Write, "/delete/{path...}", m.versions(secretwork.Delete)),
		route("undelete", call.Write, "/undelete/{path...}", m.versions(secretwork.Undelete)),
		route("destroy", call.Write, "/destroy/{path...}", m.versions(secretwork.Destroy)),
		route("subkeys", call.Read, "/subkeys/{path...}", m.subkeys),
		route("list", call.List, "/metadata/{path...}", m.list),
		route("list-top", call.List, "/metadata", m.list),
		route("metadata-read", call.Read, "/metadata/{path...}", m.metadata),
		route("metadata-write", call.Write, "/metadata/{path...}", m.configure),
		route("metadata-patch", call.Patch, "/metadata/{path...}", m.reconfigure),
		route("metadata-delete", call.Delete, "/metadata/{path...}", m.forget),
		route("config-read", call.Read, "/config", m.config),
		route("config-write", call.Write, "/config", m.setConfig),
	}
}

// route is what policies and audit leaves know this door as.
const route = "vault"

// ask starts an operation on the secret of a request's path.
func (m *Mount) ask(c *call.Call, o secretwork.Operation) *keyserver.Secret {
	path := c.PathValue("path")
	if o == secretwork.List {
		path = strings.TrimSuffix(path, "/")
	}
	c.Note("secret", m.key+"/"+path)
	return &keyserver.Secret{Ask: secretwork.Ask{
		Operation: o, Key: m.key, Path: path, Request: sha256.Sum256(c.Body), Route: route,
	}}
}

// do has the key server do it, and words what went wrong.
func (m *Mount) do(ctx context.Context, c *call.Call, op *keyserver.Secret) (*secretwork.Result, error) {
	answer, err := c.Do(ctx, op)
	if err != nil {
		return nil, worded(err)
	}
	return answer.(*keyserver.SecretDone).Result, nil
}

// worded gives errors of secrets Vault's words. The others are worded by package
// call.
func worded(err error) error {
	switch {
	case errors.Is(err, secrets.ErrNoVersion):
		return call.Missing().Because(err)
	case errors.Is(err, secrets.ErrMismatch):
		return call.Bad("check-and-set parameter did not match the current version").Because(err)
	case errors.Is(err, secrets.ErrCASRequired):
		return call.Bad("check-and-set parameter required for this call").Because(err)
	case errors.Is(err, secrets.ErrTooLarge):
		e := call.Badf("the secret is too large: a version has at most %d bytes, all that are kept %d", secrets.MaxData, secrets.MaxDocument)
		e.Status = http.StatusRequestEntityTooLarge
		return e.Because(err)
	case errors.Is(err, secretwork.ErrTooMany):
		return call.Bad("the folder is too large to list; list a folder in it").Because(err)
	}
	return err
}

// noPath refuses what has no secret's name.
func noPath(c *call.Call, writes bool) error {
	path := c.PathValue("path")
	switch {
	case path == "" && writes:
		return call.Bad("missing path")
	case strings.HasSuffix(path, "/") && writes:
		return call.Bad("cannot write to a path ending in '/'")
	case path == "" || strings.HasSuffix(path, "/"):
		return call.Missing()
	}
	return nil
}

// mergePatch refuses a PATCH of another kind.
func mergePatch(c *call.Call) error {
	const want = "application/merge-patch+json"
	kind, _, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil || kind != want {
		e := call.Bad("PATCH requires Content-Type of " + want)
		e.Status = http.StatusUnsupportedMediaType
		return e
	}
	return nil
}

// number is a query's number, 0 if it isn't there.
func number(c *call.Call, name string) (uint64, error) {
	text := c.URL.Query().Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, call.Badf("Field validation failed: error converting input for field %q", name)
	}
	return uint64(max(n, 0)), nil
}

// isObject reports whether a member is there and is an object.
func isObject(v json.RawMessage) bool { return len(v) > 0 && bytes.TrimSpace(v)[0] == '{' }

// said is what Vault says of a version.
type said struct {
	Created   string            `json:"created_time"`
	Custom    map[string]string `json:"custom_metadata"` // null without any
	Deletion  string            `json:"deletion_time"`
	Destroyed bool              `json:"destroyed"`
	Version   uint64            `json:"version"`
}

func sayVersion(r *secretwork.Result) said {
	v := r.Version
	return said{when(v.Created), custom(r.Tags), when(v.Deletes), v.Destroyed, v.Number}
}

func custom(tags []secrets.Tag) map[string]string {
	if len(tags) == 0 {
		return nil
	}
	out := make(map[string]string, len(tags))
	for _, t := range tags {
		out[t.Name] = t.Value
	}
	return out
}

// when is a time as Vault writes it; none is an empty text.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
